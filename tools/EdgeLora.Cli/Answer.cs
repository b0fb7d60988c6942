using System.Diagnostics;
using System.Text;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>One generated continuation.</summary>
/// <param name="Text">Exactly what follows the prompt; empty without a tokenizer.</param>
/// <param name="Tokens">The new tokens.</param>
/// <param name="Stop">Why it ended.</param>
/// <param name="PromptTokens">Tokens before it.</param>
/// <param name="Seconds">Prompt and answer together.</param>
internal sealed record Answer(string Text, int[] Tokens, StopReason Stop, int PromptTokens, double Seconds)
{
    /// <summary>The stop reason as JSON spells it.</summary>
    public string StopName => Stop switch
    {
        StopReason.EndOfSequence => "endOfSequence",
        StopReason.StopString => "stopString",
        StopReason.MaxTokens => "maxTokens",
        StopReason.ContextEnd => "contextEnd",
        StopReason.Cancelled => "cancelled",
        _ => "none",
    };

    /// <summary>Generates after the session's tokens; <paramref name="show"/> gets the text as it becomes certain.</summary>
    public static Answer Generate(EdgeHost host, Session session, GenerationOptions options, Action<string> show, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        int prompt = session.Count;
        TokenStream? decoder = host.Tokenizer?.CreateStream();
        // The first piece's leading space depends on what stands before it.
        foreach (int token in session.Tokens)
            decoder?.Push(token);
        StopStrings? stops = options.StopStrings.Count > 0 ? new(options.StopStrings) : null;
        Generator generator = new(host.Model, session, options);
        StringBuilder text = new();
        void Show(string piece)
        {
            if (piece.Length == 0)
                return;
            text.Append(piece);
            show(piece);
        }
        while (true)
        {
            if (cancellation.IsCancellationRequested)
                generator.End(StopReason.Cancelled);
            if (!generator.Next(out int token))
                break;
            string piece = decoder?.Push(token) ?? "";
            Show(stops is null ? piece : stops.Push(piece));
            if (stops is { Stopped: true })
                generator.End(StopReason.StopString);
        }
        if (stops is not { Stopped: true })
        {
            string rest = decoder?.Flush() ?? "";
            Show(stops is null ? rest : stops.Push(rest));
            StopReason stop = stops is { Stopped: true } ? StopReason.StopString : generator.Stop;
            if (stops is { Stopped: false })
                Show(stops.Flush());
            return new(text.ToString(), session.Tokens[prompt..].ToArray(), stop, prompt, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new(text.ToString(), session.Tokens[prompt..].ToArray(), StopReason.StopString, prompt, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }
}
