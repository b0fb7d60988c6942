using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>
/// A regular expression that a file brought along, in Python's spelling. It runs on the linear engine; what that cannot do (look-around, back references) runs
/// under a time limit. Python: docs.python.org/3/library/re.html.
/// </summary>
public sealed class PythonPattern
{
    private const int MaxLength = 8192, MaxRepeats = 20_000;

    private static readonly TimeSpan s_limit = TimeSpan.FromMilliseconds(150);

    private readonly Regex _regex;

    private PythonPattern(string source, Regex regex)
    {
        Source = source;
        _regex = regex;
    }

    /// <summary>The pattern as it stands in the file.</summary>
    public string Source { get; }

    /// <summary>A pattern that must match a whole name: <c>re.fullmatch(source, name)</c>.</summary>
    public static PythonPattern Whole(string source) => Create(source, t => $@"\A(?:{t})\z");

    /// <summary>A pattern that must match a name's end from a dot on: <c>re.match(rf"(.*\.)?({source})$", name)</c>.</summary>
    public static PythonPattern DottedEnd(string source) => Create(source, t => $@"\A(?:.*\.)?(?:{t})$");

    /// <summary>A pattern for the container of numbered layers: <c>re.match(rf".*?\.{source}\.(\d+)\.", name)</c>.</summary>
    public static PythonPattern LayerContainer(string source) => Create(source, t => $@"\A.*?\.{t}\.(?<edgelora_index>\d+)\.");

    /// <summary>Whether it matches. Throws <see cref="RegexMatchTimeoutException"/> past the time limit.</summary>
    public bool IsMatch(string name) => _regex.IsMatch(name);

    /// <summary>The layer's number, or -1. Throws <see cref="RegexMatchTimeoutException"/> past the time limit.</summary>
    public int LayerOf(string name)
    {
        Match match = _regex.Match(name);
        return match.Success && int.TryParse(match.Groups["edgelora_index"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : -1;
    }

    // Throws ArgumentException for what is no pattern.
    private static PythonPattern Create(string source, Func<string, string> frame)
    {
        if (source.Length > MaxLength)
            throw new ArgumentException($"a pattern of {source.Length} characters; at most {MaxLength} are read");
        string translated = Translate(source);
        const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.NonBacktracking;
        // Alone first: a frame must not balance what the pattern left open.
        _ = new Regex(translated, RegexOptions.CultureInvariant, s_limit);
        try
        {
            return new(source, new Regex(frame(translated), Options));
        }
        catch (NotSupportedException)
        {
            return new(source, new Regex(frame(translated), RegexOptions.CultureInvariant, s_limit));
        }
    }

    private static string Translate(string source)
    {
        StringBuilder text = new(source.Length);
        double repeats = 1;
        bool inClass = false;
        for (int i = 0; i < source.Length; i++)
        {
            char c = source[i];
            if (c == '\\' && i + 1 < source.Length)
            {
                char next = source[++i];
                text.Append('\\').Append(next == 'Z' && !inClass ? 'z' : next);
                continue;
            }
            if (inClass)
                inClass = c != ']';
            else if (c == '[')
                inClass = true;
            else if (c == '{')
                repeats *= LargestRepeat(source.AsSpan(i));
            if (!inClass && source.AsSpan(i).StartsWith("(?P<"))
            {
                text.Append("(?<");
                i += 3;
            }
            else if (!inClass && source.AsSpan(i).StartsWith("{,"))
            {
                text.Append("{0");
            }
            else
            {
                text.Append(c);
            }
        }
        // A counted repeat is unrolled by the linear engine: nested ones would fill the memory.
        if (repeats > MaxRepeats)
            throw new ArgumentException($"repeats of {repeats:g3} in all; at most {MaxRepeats} are run");
        return text.ToString();
    }

    private static double LargestRepeat(ReadOnlySpan<char> text)
    {
        int end = text.IndexOf('}');
        if (end < 0)
            return 1;
        double largest = 1;
        foreach (Range part in text[1..end].Split(','))
            if (double.TryParse(text[1..end][part], NumberStyles.None, CultureInfo.InvariantCulture, out double value))
                largest = Math.Max(largest, value);
        return largest;
    }
}
