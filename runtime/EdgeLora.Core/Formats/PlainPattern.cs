namespace EdgeLora.Core;

/// <summary>
/// A Python pattern of the kinds that nearly all files have, run without the regular expression engine: letters and whatever is no sign of the language, <c>.</c>, <c>\.</c> and <c>\d</c>, each with <c>*</c>, <c>+</c> or <c>?</c> or without,
/// between an optional <c>^</c> and an optional <c>$</c>. A name of M letters takes at most M times the pattern's length.
/// </summary>
internal sealed class PlainPattern
{
    // The dot that is any letter, and \d: no letters themselves.
    private const int Any = -1, Digit = -2;
    private const string Signs = "^$|?*+()[]{}";

    private readonly List<(int Letter, bool Optional, bool Repeats)> _atoms = [];
    private bool _fromStart;

    private PlainPattern()
    {
    }

    /// <summary>Letters alone: the name itself is the pattern.</summary>
    public bool IsWord { get; private set; } = true;

    /// <summary>Whether a character means more than itself.</summary>
    public static bool IsSign(char c) => Signs.Contains(c);

    /// <summary>The pattern, or null where it has more in it than this.</summary>
    public static PlainPattern? Of(string source)
    {
        PlainPattern pattern = new();
        int at = 0, end = source.Length;
        if (at < end && source[at] == '^')
        {
            pattern._fromStart = true;
            at++;
        }
        if (at < end && source[end - 1] == '$' && !(end - at > 1 && source[end - 2] == '\\'))
            end--;
        while (at < end)
        {
            int c = source[at++];
            if (c == '\\')
            {
                if (at == end)
                    return null;
                c = source[at++];
                if (c != 'd' && char.IsAsciiLetterOrDigit((char)c))
                    return null;
                c = c == 'd' ? Digit : c;
                pattern.IsWord = false;
            }
            else if (c == '.')
            {
                c = Any;
                pattern.IsWord = false;
            }
            else if (IsSign((char)c))
                return null;
            char times = at < end ? source[at] : ' ';
            if (times is '*' or '+' or '?')
            {
                at++;
                pattern.IsWord = false;
                // A second sign makes it lazy or possessive, or is none.
                if (at < end && source[at] is '*' or '+' or '?' or '{')
                    return null;
            }
            pattern._atoms.Add((c, times is '*' or '?', times is '*' or '+'));
        }
        pattern.IsWord &= !pattern._fromStart && end == source.Length;
        return pattern;
    }

    /// <summary>Whether it matches the name from its start, to its end.</summary>
    public bool IsWhole(ReadOnlySpan<char> name) => Matches(name);

    /// <summary>Whether it matches the whole name, or what stands behind one of its dots.</summary>
    public bool IsEnd(ReadOnlySpan<char> name)
    {
        if (Matches(name))
            return true;
        // Nor does .* cross the end of a line.
        for (int i = 0; i < name.Length && !_fromStart && name[i] != '\n'; i++)
            if (name[i] == '.' && Matches(name[(i + 1)..]))
                return true;
        // $ also stands before a last line end.
        return name.EndsWith("\n") && IsEnd(name[..^1]);
    }

    // All states at once: state i waits for atom i.
    private bool Matches(ReadOnlySpan<char> name)
    {
        Span<bool> now = _atoms.Count < 512 ? stackalloc bool[_atoms.Count + 1] : new bool[_atoms.Count + 1];
        now.Clear();
        Enter(now, 0);
        foreach (char c in name)
        {
            // From the back: a state is moved on before the one in front of it comes in.
            now[^1] = false;
            for (int i = _atoms.Count - 1; i >= 0; i--)
            {
                if (!now[i])
                    continue;
                (int letter, _, bool repeats) = _atoms[i];
                bool fits = letter == Any ? c != '\n' : letter == Digit ? char.IsDigit(c) : letter == c;
                now[i] = fits && repeats;
                if (fits)
                    Enter(now, i + 1);
            }
        }
        return now[^1];
    }

    private void Enter(Span<bool> states, int at)
    {
        states[at] = true;
        while (at < _atoms.Count && _atoms[at].Optional)
            states[++at] = true;
    }
}
