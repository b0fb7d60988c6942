namespace EdgeLora.Training;

/// <summary>What is read, and how it becomes rows of tokens.</summary>
public sealed record DataOptions
{
    /// <summary>The <see cref="DocumentSeparator"/> that stands for one or more blank lines.</summary>
    public const string BlankLine = "blank_line";

    /// <summary>Files to train on: .jsonl, .ndjson, .json, .csv, .tsv, .txt, .md.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>Files to validate on, of the same kinds. Not together with <see cref="ValidationSize"/>.</summary>
    public IReadOnlyList<string> ValidationFiles { get; init; } = [];

    /// <summary>alpaca, sharegpt, messages (or openai), text or tokens; null or auto tells it from each file's first row.</summary>
    public string? Format { get; init; }

    /// <summary>A chat template: a <see cref="BuiltInTemplate"/>'s name or the path of a Jinja file; null takes the model's own.</summary>
    public string? Template { get; init; }

    /// <summary>Names of the fields.</summary>
    public DataColumns Columns { get; init; } = new();

    /// <summary>Trains every token of a dialogue, not the answers alone.</summary>
    public bool TrainOnPrompt { get; init; }

    /// <summary>Most tokens in a row; longer examples are cut at the end.</summary>
    public int CutoffLength { get; init; } = 2048;

    /// <summary>Puts several examples into one row of <see cref="CutoffLength"/> tokens; they do not see each other.</summary>
    public bool Packing { get; init; }

    /// <summary>What of the training data is kept for validation: below 1 a fraction of the rows, from 1 on their number.</summary>
    public double ValidationSize { get; init; }

    /// <summary>Chooses the rows for validation.</summary>
    public int Seed { get; init; } = 42;

    /// <summary>Takes only so many rows from the start of each file.</summary>
    public int? MaxSamples { get; init; }

    /// <summary>Where one document of a plain text file ends: null at the file's end, <see cref="BlankLine"/>, or a text such as <c>&lt;|endoftext|&gt;</c>.</summary>
    public string? DocumentSeparator { get; init; }

    /// <summary>Begins each document with the tokenizer's bos_token also where the tokenizer itself does not.</summary>
    public bool DocumentStart { get; init; }

    /// <summary>The model's vocabulary: tokenised rows with ids beyond it are refused. Null does not check.</summary>
    public int? VocabularySize { get; init; }

    /// <summary>Checks the options against each other.</summary>
    /// <exception cref="ArgumentException">Names every option that cannot be.</exception>
    public void Validate()
    {
        List<string> faults = [];
        if (Files.Count == 0)
            faults.Add("files: expected at least one, found none");
        if (CutoffLength < 2)
            faults.Add($"cutoff length: expected at least 2 tokens, found {CutoffLength}");
        if (!(ValidationSize >= 0) || (ValidationSize >= 1 && ValidationSize != Math.Floor(ValidationSize)))
            faults.Add(FormattableString.Invariant($"validation size: expected a fraction below 1 or a whole number of rows, found {ValidationSize}"));
        if (ValidationSize > 0 && ValidationFiles.Count > 0)
            faults.Add("validation: expected files or a size, found both");
        if (MaxSamples <= 0)
            faults.Add($"max samples: expected at least 1, found {MaxSamples}");
        if (DocumentSeparator is "")
            faults.Add("document separator: expected a text, found none");
        if (!RowFormats.TryParse(Format, out _))
            faults.Add($"format: expected {RowFormats.Names}, found \"{Format}\"");
        if (faults.Count > 0)
            throw new ArgumentException(string.Join("; ", faults));
    }
}
