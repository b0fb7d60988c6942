namespace EdgeLora.Cli.Converting;

/// <summary>What <c>convert</c> was asked for. Null: the option was not given.</summary>
/// <param name="Source">File or folder to read.</param>
/// <param name="Target">File or new folder to write.</param>
internal sealed record ConvertRequest(string Source, string Target)
{
    /// <summary><c>--to</c>: the format's name.</summary>
    public string? To { get; init; }

    /// <summary><c>--type</c>, as it was typed.</summary>
    public string? Type { get; init; }

    /// <summary><c>--fold</c>.</summary>
    public bool Fold { get; init; }

    /// <summary><c>--rank</c>.</summary>
    public int? Rank { get; init; }

    /// <summary><c>--alpha</c>.</summary>
    public double? Alpha { get; init; }

    /// <summary><c>--enable-lora</c>: true,false,true.</summary>
    public string? EnableLora { get; init; }

    /// <summary><c>--base</c>: a model folder or .gguf file.</summary>
    public string? Base { get; init; }

    /// <summary><c>--without-embeddings</c>.</summary>
    public bool WithoutEmbeddings { get; init; }

    /// <summary><c>--split-experts</c>.</summary>
    public bool SplitExperts { get; init; }

    /// <summary><c>--without-texts</c>.</summary>
    public bool WithoutTexts { get; init; }

    /// <summary><c>--tokenizer</c>.</summary>
    public string? Tokenizer { get; init; }

    /// <summary><c>--pre</c>: the name of a GGUF vocabulary's rules.</summary>
    public string? PreTokenizer { get; init; }

    /// <summary><c>--split-size</c>: bytes of tensors of each piece.</summary>
    public long? SplitBytes { get; init; }

    /// <summary>Told how far it is: what is counted, done, total.</summary>
    public Action<string, long, long>? Progress { get; init; }

    /// <summary>Whether the target's name ends so.</summary>
    public bool TargetHas(string extension) => Has(Target, extension);

    /// <summary>Whether the source's name ends in one of these.</summary>
    public bool SourceHas(params ReadOnlySpan<string> extensions)
    {
        foreach (string extension in extensions)
            if (Has(Source, extension))
                return true;
        return false;
    }

    private static bool Has(string path, string extension) => path.EndsWith(extension, StringComparison.OrdinalIgnoreCase);
}
