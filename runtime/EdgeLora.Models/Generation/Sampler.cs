using System.Numerics;
using System.Runtime.InteropServices;

namespace EdgeLora.Models;

/// <summary>What a sampler may choose from: the tokens in ascending order and the probability of each.</summary>
/// <param name="Ids">Token ids, ascending.</param>
/// <param name="Probabilities">One for each id; they sum to 1.</param>
public sealed record TokenDistribution(IReadOnlyList<int> Ids, IReadOnlyList<double> Probabilities);

/// <summary>Chooses the next token from logits by <see cref="SamplingOptions"/>. Allocates nothing after the first call. Serves one session: it holds a random stream and is not for two threads at once.</summary>
public sealed class Sampler
{
    // More are not worth it: the device finds them one after the other, and a read costs little more for all.
    private const int MostCandidates = 128;

    private readonly int vocabularySize;
    private readonly LogitProcessors processors;
    private readonly Xoshiro256 random;
    private double[] scores = [];
    private int[] candidates = [];
    private TokenFilters? filters;

    /// <summary>Prepares the options for a vocabulary.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="vocabularySize">V, the number of logits of every call.</param>
    /// <exception cref="ArgumentException">A setting is malformed; each is named with what was expected and found.</exception>
    public Sampler(SamplingOptions options, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate(vocabularySize);
        Options = options;
        this.vocabularySize = vocabularySize;
        processors = new(options, vocabularySize);
        random = new(options.Seed);
        int wanted = options.Temperature == 0 ? 1 : options.TopK is > 0 and < MostCandidates ? options.TopK + 1 : 0;
        Candidates = processors.Any || 8 * wanted > vocabularySize ? 0 : wanted;
    }

    /// <summary>The settings in use.</summary>
    public SamplingOptions Options { get; }

    /// <summary>How many of the best scores are enough to choose, as a rule: 1 where it is greedy, one more than top_k where that keeps only a few; 0 where all are needed.</summary>
    public int Candidates { get; }

    /// <summary>Starts the random stream over from <see cref="SamplingOptions.Seed"/>.</summary>
    public void Reset() => random.Restart(Options.Seed);

    /// <summary>The next token.</summary>
    /// <param name="logits">The model's scores of the next token, [V]. Negative infinity forbids a token.</param>
    /// <param name="prompt">The tokens before the answer.</param>
    /// <param name="generated">The answer so far.</param>
    /// <returns>A token id in [0, V).</returns>
    /// <exception cref="ArgumentException">A span does not fit the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">A logit is not a number, or every token is forbidden.</exception>
    public int Next(ReadOnlySpan<float> logits, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        Check(logits, prompt, generated);
        if (Options.Temperature == 0)
            return processors.Any ? ArgMax.Of<double>(Process(logits, prompt, generated)) : ArgMax.Of(logits);
        return Draw(Filter(logits, prompt, generated));
    }

    /// <summary>The next token, from the best scores where they decide, else from all: the same token either way.</summary>
    /// <param name="scores">The model's scores of the next token.</param>
    /// <param name="prompt">The tokens before the answer.</param>
    /// <param name="generated">The answer so far.</param>
    /// <returns>A token id in [0, V).</returns>
    /// <exception cref="ArgumentException">A span does not fit the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">A logit is not a number, or every token is forbidden.</exception>
    public int Next(TokenScores scores, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        ReadOnlySpan<TokenScore> best = scores.Best;
        // What makes choosing fail is told as it is with all scores.
        if (Candidates == 0 || best.Length < Candidates || float.IsNaN(best[0].Score) || float.IsNegativeInfinity(best[0].Score))
            return Next(scores.All, prompt, generated);
        if (Options.Temperature == 0)
            return best[0].Token;
        return Filter(best) is { } left ? Draw(left) : Next(scores.All, prompt, generated);
    }

    /// <summary>The tokens that <see cref="Next(ReadOnlySpan{float}, ReadOnlySpan{int}, ReadOnlySpan{int})"/> may choose and their probabilities. Leaves the random stream where it is.</summary>
    /// <param name="logits">The model's scores of the next token, [V].</param>
    /// <param name="prompt">The tokens before the answer.</param>
    /// <param name="generated">The answer so far.</param>
    /// <exception cref="ArgumentException">A span does not fit the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">A logit is not a number, or every token is forbidden.</exception>
    public TokenDistribution Distribution(ReadOnlySpan<float> logits, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        if (Options.Temperature == 0)
            return new([Next(logits, prompt, generated)], [1.0]);
        Check(logits, prompt, generated);
        TokenFilters left = Filter(logits, prompt, generated);
        int[] ids = left.Ids.ToArray();
        double[] probabilities = left.Weights.ToArray();
        Array.Sort(ids, probabilities);
        for (int i = 0; i < probabilities.Length; i++)
            probabilities[i] /= left.Mass;
        return new(ids, probabilities);
    }

    private TokenFilters Filter(ReadOnlySpan<float> logits, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        filters ??= new(Options, vocabularySize);
        Span<double> processed = Process(logits, prompt, generated);
        if (Options.Temperature != 1)
            foreach (ref double score in processed)
                score /= Options.Temperature;
        _ = ArgMax.Of<double>(processed); // Throws where there is nothing to choose from.
        filters.Apply(processed);
        return filters;
    }

    // Null: others may share the least score that top_k keeps, and they are not among the best.
    private TokenFilters? Filter(ReadOnlySpan<TokenScore> best)
    {
        int k = Options.TopK, count = 0;
        if (Scaled(best[k]) == Scaled(best[k - 1]) && best[k - 1].Score > float.NegativeInfinity)
            return null;
        filters ??= new(Options, vocabularySize);
        if (candidates.Length == 0)
            (candidates, scores) = (new int[k], scores.Length == 0 ? new double[vocabularySize] : scores);
        foreach (TokenScore one in best[..k])
            if (one.Score > float.NegativeInfinity)
                scores[candidates[count++] = one.Token] = Scaled(one);
        // By id, as they are found among all scores: sums are added in one order.
        candidates.AsSpan(0, count).Sort();
        filters.Apply(scores, candidates.AsSpan(0, count));
        return filters;
    }

    private double Scaled(TokenScore one) => Options.Temperature == 1 ? one.Score : one.Score / Options.Temperature;

    private int Draw(TokenFilters left)
    {
        double target = random.NextDouble() * left.Mass;
        ReadOnlySpan<double> weights = left.Weights;
        int last = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            if (weights[i] == 0)
                continue;
            last = i;
            target -= weights[i];
            if (target < 0)
                break;
        }
        return left.Ids[last];
    }

    private Span<double> Process(ReadOnlySpan<float> logits, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        if (scores.Length == 0)
            scores = new double[vocabularySize];
        ReadOnlySpan<Vector<float>> blocks = MemoryMarshal.Cast<float, Vector<float>>(logits);
        for (int b = 0, at = 0; b < blocks.Length; b++, at += Vector<float>.Count)
        {
            Vector.Widen(blocks[b], out Vector<double> low, out Vector<double> high);
            low.CopyTo(scores, at);
            high.CopyTo(scores, at + Vector<double>.Count);
        }
        for (int i = blocks.Length * Vector<float>.Count; i < logits.Length; i++)
            scores[i] = logits[i];
        if (processors.Any)
            processors.Apply(scores, prompt, generated);
        return scores;
    }

    private void Check(ReadOnlySpan<float> logits, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated)
    {
        if (logits.Length != vocabularySize)
            throw new ArgumentException($"logits: expected {vocabularySize} values, found {logits.Length}", nameof(logits));
        if (processors.Any)
        {
            CheckTokens(prompt, nameof(prompt));
            CheckTokens(generated, nameof(generated));
        }
    }

    private void CheckTokens(ReadOnlySpan<int> tokens, string name)
    {
        foreach (int token in tokens)
            if ((uint)token >= (uint)vocabularySize)
                throw new ArgumentException($"{name}: expected token ids in [0, {vocabularySize}), found {token}", name);
    }
}
