namespace EdgeLora.Models;

/// <summary>A bias for a token that would complete a sequence: added to the last token of <paramref name="Tokens"/> where the others end the history.</summary>
/// <param name="Tokens">The sequence; one token is biased always. A sequence longer than the history never matches.</param>
/// <param name="Bias">Added to the logit; negative infinity forbids.</param>
public sealed record SequenceBias(IReadOnlyList<int> Tokens, double Bias);

/// <summary>How the next token is chosen. Settings act in the order of the properties below, which is that of Hugging Face's generate; the defaults change nothing and pick greedily.</summary>
/// <remarks>frequency and presence penalty follow OpenAI's formula and stand after the repetition penalty.</remarks>
public sealed record SamplingOptions
{
    /// <summary>Added to the logit of each token named.</summary>
    public IReadOnlyDictionary<int, double> LogitBias { get; init; } = new Dictionary<int, double>();

    /// <summary>Biases on token sequences. Of two entries for the same sequence the last one counts.</summary>
    public IReadOnlyList<SequenceBias> SequenceBias { get; init; } = [];

    /// <summary>p: a token of prompt or answer gets score &lt; 0 ? score·p : score/p, once however often it occurs. 1 is off.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted for every occurrence in the answer so far. 0 is off.</summary>
    public double FrequencyPenalty { get; init; }

    /// <summary>Subtracted once for a token that occurs in the answer so far. 0 is off.</summary>
    public double PresencePenalty { get; init; }

    /// <summary>No run of so many tokens may occur twice in prompt and answer. 0 is off.</summary>
    public int NoRepeatNgramSize { get; init; }

    /// <summary>Sequences that may not be completed. An entry of one end token is ignored.</summary>
    public IReadOnlyList<IReadOnlyList<int>> BadWordsIds { get; init; } = [];

    /// <summary>The answer's end tokens are forbidden until it has so many tokens. 0 is off.</summary>
    public int MinNewTokens { get; init; }

    /// <summary>The tokens that end an answer; used by <see cref="MinNewTokens"/> and <see cref="BadWordsIds"/>.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];

    /// <summary>Tokens that are never chosen.</summary>
    public IReadOnlyList<int> SuppressTokens { get; init; } = [];

    /// <summary>Divides the scores. 0 picks the largest score, the lowest id among equals, and looks at no setting below.</summary>
    public double Temperature { get; init; }

    /// <summary>Keeps the k largest scores and every score equal to the k-th. 0 is off.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the fewest most probable tokens that reach this mass; at least one. 1 is off.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Keeps tokens at least this fraction as probable as the most probable one. 0 is off.</summary>
    public double MinP { get; init; }

    /// <summary>Keeps the tokens whose surprise is nearest the entropy until they reach this mass (arXiv:2202.00666). 1 is off.</summary>
    public double TypicalP { get; init; } = 1;

    /// <summary>Where the random numbers start: the same seed, options and logits give the same tokens.</summary>
    public ulong Seed { get; init; }

    /// <summary>Throws when a setting cannot be used with a vocabulary of this size, naming each such setting, what was expected and what was found.</summary>
    /// <param name="vocabularySize">V, the number of logits.</param>
    /// <exception cref="ArgumentException">At least one setting is malformed.</exception>
    public void Validate(int vocabularySize)
    {
        List<string> faults = [];
        void Expect(bool holds, string option, string expected, object? found)
        {
            if (!holds)
                faults.Add(FormattableString.Invariant($"{option}: expected {expected}, found {found ?? "null"}"));
        }
        void Tokens(string option, IReadOnlyList<int>? tokens, bool mayBeEmpty)
        {
            Expect(tokens is not null, option, "a list of tokens", null);
            Expect(mayBeEmpty || tokens is not { Count: 0 }, option, "at least one token", "none");
            foreach (int token in tokens ?? [])
                Expect((uint)token < (uint)vocabularySize, option, $"token ids in [0, {vocabularySize})", token);
        }

        Expect(vocabularySize > 0, nameof(vocabularySize), "at least 1", vocabularySize);
        Expect(LogitBias is not null, nameof(LogitBias), "a dictionary", null);
        foreach ((int token, double bias) in LogitBias ?? new Dictionary<int, double>())
        {
            Expect((uint)token < (uint)vocabularySize, nameof(LogitBias), $"token ids in [0, {vocabularySize})", token);
            Expect(bias < double.PositiveInfinity, $"{nameof(LogitBias)}[{token}]", "a number or -infinity", bias);
        }
        Expect(SequenceBias is not null, nameof(SequenceBias), "a list", null);
        for (int i = 0; i < (SequenceBias?.Count ?? 0); i++)
        {
            Tokens($"{nameof(SequenceBias)}[{i}]", SequenceBias![i]?.Tokens, mayBeEmpty: false);
            Expect(SequenceBias[i]?.Bias < double.PositiveInfinity, $"{nameof(SequenceBias)}[{i}]", "a bias that is a number or -infinity", SequenceBias[i]?.Bias);
        }
        Expect(RepetitionPenalty > 0 && double.IsFinite(RepetitionPenalty), nameof(RepetitionPenalty), "a number above 0", RepetitionPenalty);
        Expect(double.IsFinite(FrequencyPenalty), nameof(FrequencyPenalty), "a finite number", FrequencyPenalty);
        Expect(double.IsFinite(PresencePenalty), nameof(PresencePenalty), "a finite number", PresencePenalty);
        Expect(NoRepeatNgramSize >= 0, nameof(NoRepeatNgramSize), "0 or more", NoRepeatNgramSize);
        Expect(BadWordsIds is not null, nameof(BadWordsIds), "a list", null);
        for (int i = 0; i < (BadWordsIds?.Count ?? 0); i++)
            Tokens($"{nameof(BadWordsIds)}[{i}]", BadWordsIds![i], mayBeEmpty: false);
        Expect(MinNewTokens >= 0, nameof(MinNewTokens), "0 or more", MinNewTokens);
        Tokens(nameof(EosTokenIds), EosTokenIds, mayBeEmpty: true);
        Expect(MinNewTokens <= 0 || EosTokenIds is not { Count: 0 }, nameof(EosTokenIds), $"at least one token with {nameof(MinNewTokens)} {MinNewTokens}", "none");
        Tokens(nameof(SuppressTokens), SuppressTokens, mayBeEmpty: true);
        Expect(Temperature >= 0 && double.IsFinite(Temperature), nameof(Temperature), "0 (greedy) or more", Temperature);
        Expect(TopK >= 0, nameof(TopK), "0 (off) or more", TopK);
        Expect(TopP is >= 0 and <= 1, nameof(TopP), "a number in [0, 1]", TopP);
        Expect(MinP is >= 0 and <= 1, nameof(MinP), "a number in [0, 1]", MinP);
        Expect(TypicalP is > 0 and <= 1, nameof(TypicalP), "a number in (0, 1]", TypicalP);

        if (faults.Count > 0)
            throw new ArgumentException($"sampling options: {faults.Count} fault{(faults.Count == 1 ? "" : "s")}\n" + string.Join('\n', faults));
    }
}
