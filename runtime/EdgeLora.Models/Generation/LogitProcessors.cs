namespace EdgeLora.Models;

/// <summary>The settings that look at the history: they change scores before the temperature. Prepared once for a vocabulary, applied without allocating.</summary>
internal sealed class LogitProcessors
{
    private readonly SamplingOptions options;
    private readonly (int[] Tokens, double Bias)[] biases;
    private readonly int[][] badWords;
    private readonly int[] eos, suppressed;
    private readonly int[] counts;

    public LogitProcessors(SamplingOptions options, int vocabularySize)
    {
        this.options = options;
        eos = [.. options.EosTokenIds];
        suppressed = [.. options.SuppressTokens];
        badWords = [.. options.BadWordsIds.Select(w => w.ToArray()).Where(w => w.Length > 1 || !eos.Contains(w[0]))];

        Dictionary<string, (int[], double)> last = [];
        foreach (SequenceBias bias in options.SequenceBias)
            last[string.Join(',', bias.Tokens)] = ([.. bias.Tokens], bias.Bias);
        biases = [.. options.LogitBias.Select(b => (new[] { b.Key }, b.Value)), .. last.Values];

        bool counting = options.RepetitionPenalty != 1 || options.FrequencyPenalty != 0 || options.PresencePenalty != 0;
        counts = counting ? new int[vocabularySize] : [];
        Any = biases.Length > 0 || counting || options.NoRepeatNgramSize > 0 || badWords.Length > 0 || options.MinNewTokens > 0 || suppressed.Length > 0;
    }

    /// <summary>False when every setting is off: the scores are the logits.</summary>
    public bool Any { get; }

    /// <summary>Changes the scores of one step in place.</summary>
    /// <param name="scores">[V].</param>
    /// <param name="prompt">The tokens before the answer.</param>
    /// <param name="generated">The answer so far.</param>
    public void Apply(Span<double> scores, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        foreach ((int[] tokens, double bias) in biases)
            if (Completes(tokens, prompt, generated))
                scores[tokens[^1]] += bias;
        if (options.RepetitionPenalty != 1)
        {
            PenaliseRepetition(scores, prompt);
            PenaliseRepetition(scores, generated);
            Forget(prompt);
            Forget(generated);
        }
        if (options.FrequencyPenalty != 0 || options.PresencePenalty != 0)
            PenaliseFrequency(scores, generated);
        if (options.NoRepeatNgramSize > 0)
            ForbidRepeatedNgrams(scores, prompt, generated, options.NoRepeatNgramSize);
        foreach (int[] word in badWords)
            if (Completes(word, prompt, generated))
                scores[word[^1]] = double.NegativeInfinity;
        if (generated.Length < options.MinNewTokens)
            foreach (int token in eos)
                scores[token] = double.NegativeInfinity;
        foreach (int token in suppressed)
            scores[token] = double.NegativeInfinity;
    }

    private void PenaliseRepetition(Span<double> scores, ReadOnlySpan<int> tokens)
    {
        double penalty = options.RepetitionPenalty;
        foreach (int token in tokens)
            if (counts[token]++ == 0)
                scores[token] = scores[token] < 0 ? scores[token] * penalty : scores[token] / penalty;
    }

    private void PenaliseFrequency(Span<double> scores, ReadOnlySpan<int> generated)
    {
        foreach (int token in generated)
            counts[token]++;
        foreach (int token in generated)
        {
            if (counts[token] > 0)
                scores[token] -= counts[token] * options.FrequencyPenalty + options.PresencePenalty;
            counts[token] = 0;
        }
    }

    // The counts go back to zero by the tokens that raised them: cheaper than clearing a vocabulary at every step.
    private void Forget(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
            counts[token] = 0;
    }

    private static void ForbidRepeatedNgrams(Span<double> scores, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated, int size)
    {
        int length = prompt.Length + generated.Length;
        for (int start = 0; start + size <= length; start++)
        {
            int same = 0;
            while (same < size - 1 && At(prompt, generated, start + same) == At(prompt, generated, length - size + 1 + same))
                same++;
            if (same == size - 1)
                scores[At(prompt, generated, start + same)] = double.NegativeInfinity;
        }
    }

    private static bool Completes(int[] tokens, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        int length = prompt.Length + generated.Length;
        if (tokens.Length == 1)
            return true;
        // An entry as long as the history plus one could match by its beginning; transformers ignores it and so do we.
        if (tokens.Length > length)
            return false;
        for (int i = 0; i < tokens.Length - 1; i++)
            if (tokens[i] != At(prompt, generated, length - tokens.Length + 1 + i))
                return false;
        return true;
    }

    private static int At(ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated, int i) => i < prompt.Length ? prompt[i] : generated[i - prompt.Length];
}
