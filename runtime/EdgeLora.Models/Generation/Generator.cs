namespace EdgeLora.Models;

/// <summary>Why a generation ended.</summary>
public enum StopReason
{
    /// <summary>It has not.</summary>
    None,
    /// <summary>The model gave an end-of-sequence token.</summary>
    EndOfSequence,
    /// <summary>A stop string appeared.</summary>
    StopString,
    /// <summary>As many tokens as were asked for.</summary>
    MaxTokens,
    /// <summary>The model's context is full.</summary>
    ContextEnd,
    /// <summary>The caller cancelled.</summary>
    Cancelled,
}

/// <summary>How to generate.</summary>
public sealed record GenerationOptions
{
    /// <summary>How the next token is chosen; greedy by default.</summary>
    public SamplingOptions Sampling { get; init; } = new();
    /// <summary>Most new tokens.</summary>
    public int MaxTokens { get; init; } = 128;
    /// <summary>Texts that end the generation and are not part of it.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];
    /// <summary>Go on past an end-of-sequence token, which is then a token like any other.</summary>
    public bool IgnoreEnd { get; init; }
    /// <summary>Ids that end the sequence; null: those of the model's config and tokenizer.</summary>
    public IReadOnlyList<int>? EndIds { get; init; }
}

/// <summary>A piece of a stream: the token, the text that became certain with it (may be empty), and the reason on the last piece.</summary>
/// <param name="Token">The new token; -1 on a last piece that only flushes.</param>
/// <param name="Text">Whole characters only.</param>
/// <param name="Stop">None until the last piece.</param>
public readonly record struct GeneratedPiece(int Token, string Text, StopReason Stop);

/// <summary>Token by token on one session. <see cref="Next"/> allocates nothing once warm.</summary>
public sealed class Generator
{
    private readonly Session _session;
    private readonly Batch _batch;
    private readonly Sampler _sampler;
    private readonly GenerationOptions _options;
    private readonly IReadOnlyList<int> _endIds;
    private readonly int _promptTokens;

    /// <summary>Generates after the session's tokens so far.</summary>
    public Generator(ICausalLM model, Session session, GenerationOptions options, Batch? batch = null)
    {
        _session = session;
        _batch = batch ?? new Batch(model);
        _sampler = new(options.Sampling, model.Config.Vocabulary);
        _options = options;
        _endIds = options.EndIds ?? model.Config.EndIds;
        _promptTokens = session.Count;
        session.Scores.Wanted = _sampler.Candidates;
    }

    /// <summary>How it generates.</summary>
    public GenerationOptions Options => _options;

    /// <summary>Tokens generated so far.</summary>
    public int Generated => _session.Count - _promptTokens;

    /// <summary>Why it ended, or None.</summary>
    public StopReason Stop { get; private set; }

    /// <summary>Chooses the next token and appends it; false when the generation has ended.</summary>
    public bool Next(out int token)
    {
        token = -1;
        if (!HasNext())
            return false;
        _batch.Run(_session);
        return Choose(out token);
    }

    /// <summary>Whether there is a next token to ask for: not stopped, not too long, and the context has room.</summary>
    public bool HasNext()
    {
        if (Stop == StopReason.None && (Generated >= _options.MaxTokens || _session.ContextLeft <= 0))
            Stop = Generated >= _options.MaxTokens ? StopReason.MaxTokens : StopReason.ContextEnd;
        return Stop == StopReason.None;
    }

    /// <summary>As <see cref="Next"/>, for who ran the session's tokens already: chooses from its scores.</summary>
    public bool Choose(out int token)
    {
        token = -1;
        ReadOnlySpan<int> tokens = _session.Tokens;
        int chosen = _sampler.Next(_session.Scores, tokens[.._promptTokens], tokens[_promptTokens..]);
        if (!_options.IgnoreEnd && _endIds.Contains(chosen))
        {
            Stop = StopReason.EndOfSequence;
            return false;
        }
        _session.Append(chosen);
        token = chosen;
        return true;
    }

    /// <summary>Ends the generation for the caller's reason.</summary>
    public void End(StopReason reason) => Stop = reason;
}
