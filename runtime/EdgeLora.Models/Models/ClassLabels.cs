using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What a classifier's rows are called: config.json's id2label.</summary>
public static class ClassLabels
{
    /// <summary>Classes that the config names, or null where it names none.</summary>
    public static int? Count(HfConfig config) =>
        config.TryGetObject("id2label", out HfConfig? labels) ? labels.Fields.Count() : config.TryGetInt("num_labels", 1, 1 << 24, out int count) ? count : null;

    /// <summary>A label for each of <paramref name="classes"/>; LABEL_0, … where the config has none. Throws <see cref="ModelFileException"/> where it has another number of them.</summary>
    /// <param name="config">The base's.</param>
    /// <param name="classes">Rows of the classifier.</param>
    /// <param name="ofAdapters">Whether the classes are the adapters': those of a base without a classifier may be others.</param>
    public static IReadOnlyList<string> Read(HfConfig config, int classes, bool ofAdapters = false)
    {
        if (!config.TryGetObject("id2label", out HfConfig? labels) || ofAdapters && labels.Fields.Count() != classes)
            return [.. Enumerable.Range(0, classes).Select(i => string.Create(CultureInfo.InvariantCulture, $"LABEL_{i}"))];
        int count = labels.Fields.Count();
        return count == classes
            ? [.. Enumerable.Range(0, classes).Select(i => labels.GetString(i.ToString(CultureInfo.InvariantCulture)))]
            : throw new ModelFileException(config.FilePath, $"id2label: expected {classes} labels, one a row of the classifier, found {count}");
    }
}
