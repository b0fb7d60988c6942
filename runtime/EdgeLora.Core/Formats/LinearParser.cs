using System.Globalization;

namespace EdgeLora.Core;

/// <summary>Reads a pattern into the steps of a <see cref="LinearPattern"/>, the last of them <see cref="LinearKind.Match"/>. Whatever it is not sure of is null: the engine decides about it, and refuses what is no pattern.</summary>
internal ref struct LinearParser
{
    private const int MaxDepth = 64, MaxRepeat = 1000;

    // A file may bring hundreds of patterns: what they are put together in is used again.
    [ThreadStatic]
    private static List<LinearStep>? t_steps;

    [ThreadStatic]
    private static List<(char First, char Last)>? t_ranges;

    private readonly ReadOnlySpan<char> _source;
    private readonly List<LinearStep> _steps = t_steps ??= [];
    private readonly List<(char First, char Last)> _ranges = t_ranges ??= [];
    private int _at, _depth;

    private LinearParser(ReadOnlySpan<char> source)
    {
        _source = source;
        _steps.Clear();
        _ranges.Clear();
    }

    /// <summary>The steps, and the ranges of its classes: one whose first is above its last stands for the escape of that letter.</summary>
    public static (LinearStep[] Steps, (char First, char Last)[] Ranges)? Parse(string source)
    {
        LinearParser parser = new(source);
        if (!parser.Choice() || parser._at < source.Length)
            return null;
        parser.Add(new(LinearKind.Match));
        return ([.. parser._steps], [.. parser._ranges]);
    }

    private readonly int Add(LinearStep step)
    {
        _steps.Add(step);
        return _steps.Count - 1;
    }

    private readonly bool Sees(char c) => _at < _source.Length && _source[_at] == c;

    private bool Take(char c)
    {
        if (!Sees(c))
            return false;
        _at++;
        return true;
    }

    // A first alternative stands behind a step that is nothing, or the way to the second.
    private bool Choice()
    {
        if (++_depth > MaxDepth)
            return false;
        // Each end of an alternative holds the one before until all know where they lead.
        int ends = -1;
        while (true)
        {
            int before = Add(new(LinearKind.Nothing));
            if (!Sequence() || _steps.Count > LinearPattern.MaxSteps)
                return false;
            if (!Take('|'))
                break;
            ends = Add(new(LinearKind.Jump, ends));
            _steps[before] = new(LinearKind.Split, before + 1, _steps.Count);
        }
        for (int end = ends; end >= 0;)
        {
            int earlier = _steps[end].X;
            _steps[end] = new(LinearKind.Jump, _steps.Count);
            end = earlier;
        }
        _depth--;
        return true;
    }

    private bool Sequence()
    {
        while (_at < _source.Length && _source[_at] is not ('|' or ')'))
        {
            int from = _at, before = Add(new(LinearKind.Nothing));
            if (!Atom(out bool isPlace))
                return false;
            if (_at == _source.Length || _source[_at] is not ('*' or '+' or '?' or '{'))
            {
                // A lone step needs no room before it.
                if (_steps.Count == before + 2)
                {
                    _steps[before] = _steps[before + 1];
                    _steps.RemoveAt(before + 1);
                }
                continue;
            }
            if (isPlace || !Count(out int least, out int most) || !Repeat(from, before, least, most))
                return false;
        }
        return true;
    }

    private bool Count(out int least, out int most)
    {
        (least, most) = _source[_at++] switch { '*' => (0, int.MaxValue), '+' => (1, int.MaxValue), '?' => (0, 1), _ => (-1, -1) };
        if (least < 0)
        {
            int end = _source[_at..].IndexOf('}');
            if (end <= 0)
                return false;
            ReadOnlySpan<char> inside = _source.Slice(_at, end);
            int comma = inside.IndexOf(',');
            ReadOnlySpan<char> first = comma < 0 ? inside : inside[..comma], second = comma < 0 ? inside : inside[(comma + 1)..];
            (least, most) = (0, int.MaxValue);
            if (first.Length > 0 && !int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out least) || second.Length > 0 && !int.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out most) || first.Length + second.Length == 0)
                return false;
            if (least > MaxRepeat || most < least || most > MaxRepeat && most != int.MaxValue)
                return false;
            _at += end + 1;
        }
        // Lazy or not, there is a match or none. A third sign makes it possessive, or is one too many.
        Take('?');
        return _at == _source.Length || _source[_at] is not ('*' or '+' or '?' or '{');
    }

    // What is counted is read again for each time: the room before the first becomes the way around it.
    private bool Repeat(int from, int before, int least, int most)
    {
        int end = _at, count = most == int.MaxValue ? Math.Max(least, 1) : Math.Max(most, 1), ways = -1;
        for (int i = 0; i < count; i++)
        {
            if (i > 0)
            {
                if (_steps.Count > LinearPattern.MaxSteps)
                    return false;
                before = Add(new(LinearKind.Nothing));
                _at = from;
                if (!Atom(out _))
                    return false;
            }
            if (i >= least)
            {
                _steps[before] = new(LinearKind.Nothing, ways);
                ways = before;
            }
        }
        if (most == int.MaxValue)
            Add(new(LinearKind.Split, before, _steps.Count + 1));
        for (int way = ways; way >= 0;)
        {
            int earlier = _steps[way].X;
            _steps[way] = most == 0 ? new(LinearKind.Jump, _steps.Count) : new(LinearKind.Split, way + 1, _steps.Count);
            way = earlier;
        }
        _at = end;
        return true;
    }

    // isPlace: takes no letter, so it is not repeated.
    private bool Atom(out bool isPlace)
    {
        char c = _source[_at++];
        isPlace = c is '^' or '$';
        switch (c)
        {
            case '^':
                Add(new(LinearKind.TextStart));
                return true;
            case '$':
                Add(new(LinearKind.LineEnd));
                return true;
            case '.':
                Add(new(LinearKind.Any));
                return true;
            case '(':
                if (Take('?') && !Take(':'))
                    return false;
                return Choice() && Take(')');
            case '[':
                return Class();
            case '\\':
                return Escape(ref isPlace);
            default:
                Add(new(LinearKind.Letter, c));
                return !LinearPattern.IsSign(c);
        }
    }

    private bool Escape(ref bool isPlace)
    {
        if (_at == _source.Length)
            return false;
        char c = _source[_at++];
        LinearKind place = c switch { 'A' => LinearKind.TextStart, 'Z' => LinearKind.TextEnd, 'b' => LinearKind.Boundary, 'B' => LinearKind.NotBoundary, _ => LinearKind.Nothing };
        if (place != LinearKind.Nothing)
        {
            isPlace = true;
            Add(new(place));
            return true;
        }
        if (IsKind(c))
        {
            _ranges.Add(('\uFFFF', c));
            Add(new(LinearKind.Class, _ranges.Count - 1, 1));
            return true;
        }
        Add(new(LinearKind.Letter, c));
        return !char.IsAsciiLetterOrDigit(c);
    }

    private bool Class()
    {
        bool isNot = Take('^');
        int start = _ranges.Count;
        for (bool isFirst = true; ; isFirst = false)
        {
            if (_at == _source.Length)
                return false;
            if (!isFirst && Take(']'))
                break;
            if (!Member(out char low, out bool isKind))
                return false;
            char high = low;
            if (Sees('-') && _at + 1 < _source.Length && _source[_at + 1] != ']')
            {
                _at++;
                if (isKind || !Member(out high, out bool isKindToo) || isKindToo || high < low)
                    return false;
            }
            _ranges.Add(isKind ? ('\uFFFF', low) : (low, high));
        }
        Add(new(isNot ? LinearKind.NotClass : LinearKind.Class, start, _ranges.Count - start));
        return true;
    }

    private bool Member(out char letter, out bool isKind)
    {
        letter = _source[_at++];
        isKind = false;
        // Python warns of sets in sets, .NET subtracts them.
        if (letter == '[')
            return false;
        if (letter != '\\')
            return true;
        if (_at == _source.Length)
            return false;
        letter = _source[_at++];
        isKind = IsKind(letter);
        return isKind || !char.IsAsciiLetterOrDigit(letter);
    }

    private static bool IsKind(char c) => c is 'd' or 'D' or 'w' or 'W' or 's' or 'S';
}
