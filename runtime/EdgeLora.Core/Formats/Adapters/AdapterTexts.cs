using System.Globalization;

namespace EdgeLora.Core;

/// <summary>What an adapter says beside its numbers: no delta depends on it, and not every format has a place for it.</summary>
[Flags]
public enum AdapterTexts
{
    /// <summary>None of it.</summary>
    None = 0,
    /// <summary>base_model_name_or_path.</summary>
    BaseModel = 1,
    /// <summary>task_type, where it is another than CAUSAL_LM.</summary>
    TaskType = 2,
    /// <summary>lora_dropout.</summary>
    Dropout = 4,
    /// <summary>A file's free texts.</summary>
    Metadata = 8,
    /// <summary>All of it.</summary>
    All = BaseModel | TaskType | Dropout | Metadata,
}

/// <summary>Names what a conversion leaves behind without changing a number.</summary>
internal static class AdapterRemainder
{
    private const int Named = 6;

    /// <summary>One note, or none.</summary>
    /// <param name="adapter">What is converted.</param>
    /// <param name="kept">What the format holds.</param>
    /// <param name="keepsText">Whether it holds a free text of this name.</param>
    public static IReadOnlyList<string> Of(PeftAdapter adapter, AdapterTexts kept, Func<string, bool> keepsText)
    {
        PeftConfig config = adapter.Config;
        List<string> left = [];
        if (config.BaseModel is { Length: > 0 } model && !kept.HasFlag(AdapterTexts.BaseModel))
            left.Add($"base_model_name_or_path {model}");
        if (config.TaskType is { Length: > 0 } task && task != "CAUSAL_LM" && !kept.HasFlag(AdapterTexts.TaskType))
            left.Add($"task_type {task}");
        if (config.Dropout != 0 && !kept.HasFlag(AdapterTexts.Dropout))
            left.Add(string.Create(CultureInfo.InvariantCulture, $"lora_dropout {config.Dropout}"));
        left.AddRange(adapter.File.Metadata.Keys.Where(k => k != PeftAdapter.FormatKey && !(kept.HasFlag(AdapterTexts.Metadata) || keepsText(k))).Order(StringComparer.Ordinal).Select(k => "metadata " + k));
        left.AddRange(adapter.Unread);
        return left.Count == 0 ? [] : [$"left behind, no number depends on it: {string.Join(", ", left.Take(Named))}{(left.Count > Named ? $" and {left.Count - Named} more" : "")}"];
    }
}
