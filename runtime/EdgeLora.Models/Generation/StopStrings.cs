using System.Text;

namespace EdgeLora.Models;

/// <summary>Cuts streamed text before the first stop string. Text that may still become a stop string is held back until it cannot, or until the stream ends.</summary>
/// <remarks>The match that starts first wins, looked for after each piece; the stop string itself is not given out.</remarks>
public sealed class StopStrings
{
    private readonly string[] stops;
    private readonly StringBuilder text = new();
    private string held = "";

    /// <summary>Watches for these texts, compared code unit by code unit. Empty ones never match.</summary>
    /// <param name="stops">The stop strings; may be none.</param>
    /// <exception cref="ArgumentException">A stop string is null.</exception>
    public StopStrings(IReadOnlyList<string> stops)
    {
        ArgumentNullException.ThrowIfNull(stops);
        for (int i = 0; i < stops.Count; i++)
            if (stops[i] is null)
                throw new ArgumentException($"{nameof(stops)}[{i}]: expected a text, found null", nameof(stops));
        this.stops = [.. stops.Where(s => s.Length > 0)];
    }

    /// <summary>True once a stop string was met: nothing more comes out.</summary>
    public bool Stopped => Matched is not null;

    /// <summary>The stop string that was met, the first of the list among those that start at the same place; null before.</summary>
    public string? Matched { get; private set; }

    /// <summary>Takes the next piece of text.</summary>
    /// <param name="piece">What the next token decodes to; may be empty.</param>
    /// <returns>The text that is certain to stand before any stop string; often empty.</returns>
    public string Push(string piece)
    {
        ArgumentNullException.ThrowIfNull(piece);
        if (Stopped)
            return "";
        if (stops.Length == 0)
            return piece;

        // Only the held text can be the beginning of a match: what was given out before it cannot.
        text.Clear().Append(held).Append(piece);
        string window = text.ToString();
        int first = -1;
        foreach (string stop in stops)
        {
            int at = window.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && (first < 0 || at < first))
                (first, Matched) = (at, stop);
        }
        int end = Stopped ? first : window.Length - HoldBack(window);
        held = Stopped ? "" : window[end..];
        return window[..end];
    }

    /// <summary>Ends the stream: gives out what was held back.</summary>
    public string Flush()
    {
        string rest = held;
        held = "";
        return rest;
    }

    /// <summary>Forgets all text, for the next answer.</summary>
    public void Reset()
    {
        held = "";
        Matched = null;
    }

    // The longest end of the text that is a proper beginning of a stop string.
    private int HoldBack(string window)
    {
        int longest = 0;
        foreach (string stop in stops)
            for (int length = Math.Min(stop.Length - 1, window.Length); length > longest; length--)
                if (window.AsSpan(window.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                    longest = length;
        return longest;
    }
}
