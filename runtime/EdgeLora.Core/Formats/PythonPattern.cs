using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>
/// A regular expression that a file brought along, in Python's spelling. Nearly all run by themselves, in time and memory of their length (<see cref="LinearPattern"/>); the others (look-around, back references, flags) are short ones
/// and run on .NET's engine under a time limit. Python: docs.python.org/3/library/re.html.
/// </summary>
public sealed class PythonPattern
{
    private const int MaxLength = 8192, MaxEngineLength = 512, MaxRepeats = 20_000;

    private static readonly TimeSpan s_limit = TimeSpan.FromMilliseconds(150);

    // Only patterns that need an engine have one: it costs a hundred bytes a letter and more.
    private readonly Regex? _regex;
    private readonly LinearPattern? _linear;
    private readonly Frame _frame;

    private PythonPattern(string source, Frame frame, LinearPattern? linear)
    {
        (Source, _frame, _linear) = (source, frame, linear);
        if (linear is null)
            _regex = Create(source, frame);
    }

    private enum Frame
    {
        Whole,
        DottedEnd,
        LayerContainer,
    }

    /// <summary>The pattern as it stands in the file.</summary>
    public string Source { get; }

    /// <summary>Whether it runs without a regular expression engine.</summary>
    public bool IsLinear => _linear is not null;

    /// <summary>A pattern that must match a whole name: <c>re.fullmatch(source, name)</c>.</summary>
    public static PythonPattern Whole(string source) => new(source, Frame.Whole, Linear(source));

    /// <summary>A pattern that must match a name's end from a dot on: <c>re.match(rf"(.*\.)?({source})$", name)</c>.</summary>
    public static PythonPattern DottedEnd(string source) => new(source, Frame.DottedEnd, Linear(source));

    /// <summary>The text as a pattern that matches it and nothing else: Python's re.escape.</summary>
    public static string Escape(string text)
    {
        StringBuilder escaped = new(text.Length);
        foreach (char c in text)
            escaped.Append(c is '.' or '\\' || LinearPattern.IsSign(c) ? "\\" : "").Append(c);
        return escaped.ToString();
    }

    /// <summary>A pattern for the container of numbered layers: <c>re.match(rf".*?\.{source}\.(\d+)\.", name)</c>.</summary>
    public static PythonPattern LayerContainer(string source) => new(source, Frame.LayerContainer, Linear(source) is { IsWord: true } word ? word : null);

    /// <summary>Whether a pattern would need the engine: <see cref="LayerContainer"/> does for anything but letters.</summary>
    internal static bool NeedsEngine(string source, bool isContainer) => LinearPattern.Of(source) is not { } linear || isContainer && !linear.IsWord;

    /// <summary>Whether it matches. Throws <see cref="RegexMatchTimeoutException"/> past the time limit.</summary>
    public bool IsMatch(string name) => _frame switch
    {
        Frame.LayerContainer => LayerOf(name) >= 0,
        _ when _linear is null => _regex!.IsMatch(name),
        Frame.Whole => _linear!.IsWhole(name),
        _ => _linear!.IsEnd(name),
    };

    /// <summary>The layer's number, or -1. Throws <see cref="RegexMatchTimeoutException"/> past the time limit.</summary>
    public int LayerOf(string name)
    {
        if (_regex is not null)
        {
            Match match = _regex.Match(name);
            return match.Success && int.TryParse(match.Groups["edgelora_index"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : -1;
        }
        string container = $".{Source}.";
        for (int at = name.IndexOf(container, StringComparison.Ordinal); at >= 0 && !name.AsSpan(0, at).Contains('\n'); at = name.IndexOf(container, at + 1, StringComparison.Ordinal))
        {
            int from = at + container.Length, end = from;
            while (end < name.Length && char.IsDigit(name[end]))
                end++;
            if (end > from && end < name.Length && name[end] == '.')
                return int.TryParse(name.AsSpan(from, end - from), NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : -1;
        }
        return -1;
    }

    private static LinearPattern? Linear(string source) => source.Length <= MaxLength ? LinearPattern.Of(source) : throw new ArgumentException($"a pattern of {source.Length} characters; at most {MaxLength} are read");

    // Throws ArgumentException for what is no pattern.
    private static Regex Create(string source, Frame frame)
    {
        if (source.Length > MaxEngineLength)
            throw new ArgumentException($"a pattern of {source.Length} characters that needs a regular expression engine (look-around, back references, flags, many repeats); at most {MaxEngineLength} are read");
        string translated = Translate(source);
        // Alone first: a frame must not balance what the pattern left open.
        _ = new Regex(translated, RegexOptions.CultureInvariant, s_limit);
        return new(frame switch
        {
            Frame.Whole => $@"\A(?:{translated})\z",
            Frame.DottedEnd => $@"\A(?:.*\.)?(?:{translated})$",
            _ => $@"\A.*?\.{translated}\.(?<edgelora_index>\d+)\.",
        }, RegexOptions.CultureInvariant, s_limit);
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
        // What stands in a counted repeat is laid out anew for its least count: nested ones would fill the memory.
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
