namespace EdgeLora.Training;

/// <summary>What became of the data: nothing is dropped without a number here.</summary>
public sealed record DataReport
{
    /// <summary>Rows (of plain text: documents) that were read.</summary>
    public required int RowsRead { get; init; }

    /// <summary>Examples made of them, before packing; a long document makes several.</summary>
    public required int Examples { get; init; }

    /// <summary>Examples that were cut at the cutoff length.</summary>
    public required int Truncated { get; init; }

    /// <summary>Tokens that the cutting dropped.</summary>
    public required long TokensDropped { get; init; }

    /// <summary>Rows without an example, by the reason.</summary>
    public required IReadOnlyDictionary<string, int> Skipped { get; init; }

    /// <summary>Fields that no part of the training reads, in the order they were met.</summary>
    public required IReadOnlyList<string> IgnoredFields { get; init; }

    /// <summary>Rows of tokens to train on, after packing.</summary>
    public required int TrainRows { get; init; }

    /// <summary>Tokens in them.</summary>
    public required long TrainTokens { get; init; }

    /// <summary>Those of them that carry a loss.</summary>
    public required long TargetTokens { get; init; }

    /// <summary>Rows of tokens to validate on, after packing.</summary>
    public required int ValidationRows { get; init; }

    /// <summary>Tokens in them that carry a loss.</summary>
    public required long ValidationTargetTokens { get; init; }

    /// <summary>The report as lines of text.</summary>
    public IReadOnlyList<string> Lines()
    {
        List<string> lines =
        [
            $"{RowsRead} rows read, {Examples} examples; train: {TrainRows} rows, {TrainTokens} tokens, {TargetTokens} of them targets; validation: {ValidationRows} rows, {ValidationTargetTokens} targets",
        ];
        if (Truncated > 0)
            lines.Add($"{Truncated} examples cut at the cutoff length, {TokensDropped} tokens dropped");
        lines.AddRange(Skipped.Select(s => $"{s.Value} rows skipped: {s.Key}"));
        if (IgnoredFields.Count > 0)
            lines.Add($"fields not used: {string.Join(", ", IgnoredFields)}");
        return lines;
    }
}
