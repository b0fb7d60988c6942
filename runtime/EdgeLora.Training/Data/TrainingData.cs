using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Rows to train and to validate on. The same files, options, tokenizer and template give the same rows on any machine.</summary>
public sealed class TrainingData
{
    private TrainingData(IReadOnlyList<TrainingExample> train, IReadOnlyList<TrainingExample> validation, DataReport report) => (Train, Validation, Report) = (train, validation, report);

    /// <summary>Rows to train on, in the order of the files; <see cref="ExampleOrder"/> shuffles them.</summary>
    public IReadOnlyList<TrainingExample> Train { get; }

    /// <summary>Rows to validate on; empty where none were asked for.</summary>
    public IReadOnlyList<TrainingExample> Validation { get; }

    /// <summary>What became of the files.</summary>
    public DataReport Report { get; }

    /// <summary>Reads the files.</summary>
    /// <param name="options">What to read and how.</param>
    /// <param name="tokenizer">The model's; null where it has none and the rows are tokenised.</param>
    /// <param name="chatTemplate">The model's own; null where it has none. <see cref="DataOptions.Template"/> counts before it.</param>
    /// <exception cref="ModelFileException">A file cannot be read or has bad rows: each is named by its line.</exception>
    /// <exception cref="ArgumentException">The options, the tokenizer or the template do not fit.</exception>
    /// <exception cref="InvalidDataException">Nothing is left to train or to validate on.</exception>
    public static TrainingData Load(DataOptions options, Tokenizer? tokenizer, ChatTemplate? chatTemplate = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        ExampleReader reader = new(options, tokenizer, chatTemplate);
        List<(int Row, TrainingExample Example)> train = reader.Read(options.Files), validation = reader.Read(options.ValidationFiles);
        string lost = string.Join("; ", reader.Skipped.Select(s => $"{s.Value} rows: {s.Key}"));
        if (train.Count == 0)
            throw new InvalidDataException($"{string.Join(", ", options.Files)}: no example to train on in {reader.Rows} rows{(lost.Length > 0 ? $" ({lost})" : "")}");
        if (options.ValidationFiles.Count > 0 && validation.Count == 0)
            throw new InvalidDataException($"{string.Join(", ", options.ValidationFiles)}: no example to validate on{(lost.Length > 0 ? $" ({lost})" : "")}");
        if (options.ValidationSize > 0)
            (train, validation) = Split(train, options);
        IReadOnlyList<TrainingExample> trainRows = Rows(train, options), validationRows = Rows(validation, options);
        return new(trainRows, validationRows, new()
        {
            RowsRead = reader.Rows,
            Examples = reader.Examples,
            Truncated = reader.Truncated,
            TokensDropped = reader.TokensDropped,
            Skipped = reader.Skipped,
            IgnoredFields = reader.IgnoredFields,
            TrainRows = trainRows.Count,
            TrainTokens = trainRows.Sum(e => (long)e.InputIds.Length),
            TargetTokens = trainRows.Sum(e => (long)e.Targets),
            ValidationRows = validationRows.Count,
            ValidationTargetTokens = validationRows.Sum(e => (long)e.Targets),
        });
    }

    private static IReadOnlyList<TrainingExample> Rows(List<(int Row, TrainingExample Example)> examples, DataOptions options)
    {
        TrainingExample[] rows = [.. examples.Select(e => e.Example)];
        return options.Packing ? Packing.Pack(rows, options.CutoffLength) : rows;
    }

    // Whole rows go to one side, so that no document is trained and validated on; blocks where there is one document alone.
    private static (List<(int, TrainingExample)> Train, List<(int, TrainingExample)> Validation) Split(List<(int Row, TrainingExample Example)> examples, DataOptions options)
    {
        int[] groups = [.. examples.Select(e => e.Row)];
        if (groups[0] == groups[^1])
            groups = [.. Enumerable.Range(0, groups.Length)];
        int[] distinct = [.. groups.Distinct()];
        // A fraction is rounded up, as scikit-learn's train_test_split does.
        double size = options.ValidationSize < 1 ? Math.Ceiling(options.ValidationSize * distinct.Length) : options.ValidationSize;
        if (size >= distinct.Length)
            throw new InvalidDataException($"validation size: expected fewer than the {distinct.Length} rows, found {size}");
        HashSet<int> kept = [.. ExampleOrder.Permutation(distinct.Length, options.Seed, stream: -1).Take((int)size).Select(i => distinct[i])];
        ILookup<bool, (int, TrainingExample)> sides = examples.Zip(groups).ToLookup(e => kept.Contains(e.Second), e => e.First);
        return ([.. sides[false]], [.. sides[true]]);
    }
}
