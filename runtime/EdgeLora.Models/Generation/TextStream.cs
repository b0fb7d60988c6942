using System.Runtime.CompilerServices;

namespace EdgeLora.Models;

/// <summary>Tokens as text, while they come.</summary>
public static class TextStream
{
    /// <summary>Streams text: computes off the caller's thread, ends within one token of a cancellation, never splits a character.</summary>
    /// <param name="generator">The generation.</param>
    /// <param name="tokenizer">Decodes the tokens.</param>
    /// <param name="cancellation">Ends the stream with <see cref="StopReason.Cancelled"/>.</param>
    public static async IAsyncEnumerable<GeneratedPiece> StreamAsync(this Generator generator, Tokenizer tokenizer, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        TokenStream decoder = tokenizer.CreateStream(!generator.Options.IgnoreEnd);
        StopStrings? stops = generator.Options.StopStrings.Count > 0 ? new(generator.Options.StopStrings) : null;
        while (true)
        {
            if (cancellation.IsCancellationRequested)
                generator.End(StopReason.Cancelled);
            (bool more, int token) = await Task.Run(() => (generator.Next(out int t), t), CancellationToken.None).ConfigureAwait(false);
            if (!more)
                break;
            string text = decoder.Push(token) ?? "";
            if (stops is not null)
            {
                text = stops.Push(text);
                if (stops.Stopped)
                    generator.End(StopReason.StopString);
            }
            yield return new(token, text, generator.Stop);
            if (generator.Stop == StopReason.StopString)
                yield break;
        }
        string rest = decoder.Flush();
        if (stops is not null)
            rest = stops.Push(rest) + stops.Flush();
        yield return new(-1, rest, generator.Stop);
    }
}
