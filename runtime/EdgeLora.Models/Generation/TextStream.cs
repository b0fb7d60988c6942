using System.Runtime.CompilerServices;

namespace EdgeLora.Models;

/// <summary>The text of a generation, token by token: whole characters only, cut before a stop string.</summary>
/// <param name="tokenizer">Decodes the tokens.</param>
/// <param name="options">Those of the generation.</param>
public sealed class GeneratedText(Tokenizer tokenizer, GenerationOptions options)
{
    private readonly TokenStream _decoder = tokenizer.CreateStream(!options.IgnoreEnd);
    private readonly StopStrings? _stops = options.StopStrings.Count > 0 ? new(options.StopStrings) : null;

    /// <summary>The text that became certain with a token; may be empty. Ends <paramref name="generator"/> where a stop string came.</summary>
    public string Push(int token, Generator generator)
    {
        string text = _decoder.Push(token) ?? "";
        if (_stops is null)
            return text;
        text = _stops.Push(text);
        if (_stops.Stopped)
            generator.End(StopReason.StopString);
        return text;
    }

    /// <summary>What was held back.</summary>
    public string Flush()
    {
        string rest = _decoder.Flush();
        return _stops is null ? rest : _stops.Push(rest) + _stops.Flush();
    }
}

/// <summary>Tokens as text, while they come.</summary>
public static class TextStream
{
    /// <summary>Streams text: computes off the caller's thread, ends within one token of a cancellation, never splits a character.</summary>
    /// <param name="generator">The generation.</param>
    /// <param name="tokenizer">Decodes the tokens.</param>
    /// <param name="cancellation">Ends the stream with <see cref="StopReason.Cancelled"/>.</param>
    public static async IAsyncEnumerable<GeneratedPiece> StreamAsync(this Generator generator, Tokenizer tokenizer, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        GeneratedText text = new(tokenizer, generator.Options);
        while (true)
        {
            if (cancellation.IsCancellationRequested)
                generator.End(StopReason.Cancelled);
            (bool more, int token) = await Task.Run(() => (generator.Next(out int t), t), CancellationToken.None).ConfigureAwait(false);
            if (!more)
                break;
            yield return new(token, text.Push(token, generator), generator.Stop);
            if (generator.Stop == StopReason.StopString)
                yield break;
        }
        yield return new(-1, text.Flush(), generator.Stop);
    }
}
