namespace EdgeLora.Models;

/// <summary>Parts of a regular expression.</summary>
internal abstract record PatternNode
{
    public sealed record Set(PatternSet Members) : PatternNode;

    public sealed record Sequence(List<PatternNode> Parts) : PatternNode;

    public sealed record Choice(List<PatternNode> Parts) : PatternNode;

    public sealed record Repeat(PatternNode Body, int Minimum, int Maximum, bool Lazy) : PatternNode;

    public sealed record Look(PatternNode Body, bool Behind, bool Negate) : PatternNode;

    public sealed record Atomic(PatternNode Body) : PatternNode;

    public sealed record Assert(PatternAssert Kind) : PatternNode;
}

/// <summary>What holds at a position.</summary>
internal enum PatternAssert
{
    TextStart,
    TextEnd,
    TextEndOrLastNewline,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}

/// <summary>Reads Oniguruma's Ruby syntax, without back references, subroutines and recursion, which are refused.</summary>
internal sealed class PatternParser
{
    private const int MaximumDepth = 64, MaximumRepeat = 1000;

    private readonly string _pattern;
    private readonly int[] _chars;
    private int _at, _depth;
    private bool _ignoreCase, _dotAll, _extended;

    private PatternParser(string pattern) => (_pattern, _chars) = (pattern, CodePoints.Of(pattern));

    public static PatternNode Parse(string pattern)
    {
        PatternParser parser = new(pattern);
        PatternNode node = parser.ParseChoice();
        return parser._at == parser._chars.Length ? node : throw parser.Fault("an unmatched )");
    }

    private FormatException Fault(string what) => new($"regular expression \"{_pattern}\": {what} at {_at}");

    private bool More => _at < _chars.Length;

    private int Peek => _at < _chars.Length ? _chars[_at] : -1;

    private bool Take(char c)
    {
        if (Peek != c)
            return false;
        _at++;
        return true;
    }

    private bool Take(string text)
    {
        for (int i = 0; i < text.Length; i++)
            if (_at + i >= _chars.Length || _chars[_at + i] != text[i])
                return false;
        _at += text.Length;
        return true;
    }

    private PatternNode ParseChoice()
    {
        if (++_depth > MaximumDepth)
            throw Fault("nested too deep");
        (bool ignoreCase, bool dotAll, bool extended) = (_ignoreCase, _dotAll, _extended);
        List<PatternNode> parts = [ParseSequence()];
        while (Take('|'))
            parts.Add(ParseSequence());
        (_ignoreCase, _dotAll, _extended) = (ignoreCase, dotAll, extended);
        _depth--;
        return parts.Count == 1 ? parts[0] : new PatternNode.Choice(parts);
    }

    private PatternNode ParseSequence()
    {
        List<PatternNode> parts = [];
        while (More && Peek is not ('|' or ')'))
        {
            if (_extended && (CodePoints.IsWhiteSpace(Peek) || Peek == '#'))
            {
                for (bool comment = _chars[_at++] == '#'; comment && More && _chars[_at] != '\n'; _at++) { }
                continue;
            }
            if (ParseAtom() is { } atom)
                parts.Add(ParseQuantifiers(atom));
        }
        return parts.Count == 1 ? parts[0] : new PatternNode.Sequence(parts);
    }

    private PatternNode ParseQuantifiers(PatternNode atom)
    {
        for (int stacked = 0; ; stacked++)
        {
            int minimum, maximum;
            bool interval = false;
            if (Take('*'))
                (minimum, maximum) = (0, int.MaxValue);
            else if (Take('+'))
                (minimum, maximum) = (1, int.MaxValue);
            else if (Take('?'))
                (minimum, maximum) = (0, 1);
            else if (!(interval = TryParseInterval(out minimum, out maximum)))
                return atom;
            if (stacked > MaximumDepth)
                throw Fault("too many quantifiers");
            bool lazy = Take('?');
            atom = new PatternNode.Repeat(atom, minimum, maximum, lazy);
            // In Ruby's syntax a + behind an interval repeats it instead of making it possessive.
            if (!lazy && !interval && Take('+'))
                atom = new PatternNode.Atomic(atom);
        }
    }

    private bool TryParseInterval(out int minimum, out int maximum)
    {
        int start = _at;
        (minimum, maximum) = (0, 0);
        if (!Take('{'))
            return false;
        int? first = ParseNumber();
        int? second = first;
        bool comma = Take(',');
        if (comma)
            second = ParseNumber();
        if ((first is null && second is null) || !Take('}'))
        {
            // Not an interval: a literal brace.
            _at = start;
            return false;
        }
        (minimum, maximum) = (first ?? 0, second ?? int.MaxValue);
        if (minimum > MaximumRepeat || (maximum > MaximumRepeat && maximum != int.MaxValue))
            throw Fault("a repeat count above " + MaximumRepeat);
        return minimum <= maximum ? true : throw Fault("a repeat range that runs backwards");
    }

    private int? ParseNumber()
    {
        int? number = null;
        while (Peek is >= '0' and <= '9')
            number = Math.Min((number ?? 0) * 10 + (_chars[_at++] - '0'), 1_000_000);
        return number;
    }

    private PatternNode? ParseAtom()
    {
        int c = _chars[_at++];
        switch (c)
        {
            case '(': return ParseGroup();
            case '[': return Member(ParseClass());
            case '.': return _dotAll ? Few(_ => true) : Few(x => x != '\n');
            case '^': return new PatternNode.Assert(PatternAssert.LineStart);
            case '$': return new PatternNode.Assert(PatternAssert.LineEnd);
            case '*' or '+' or '?': throw Fault("a quantifier with nothing before it");
            case '\\': return ParseEscape();
            default: return Single(c);
        }
    }

    private static PatternNode.Set Member(Func<int, bool> test) => new(new PatternSet(test));

    // A test that costs less than remembering it.
    private static PatternNode.Set Few(Func<int, bool> test) => new(new PatternSet(test, remember: false));

    private PatternNode.Set Single(int c)
    {
        if (!_ignoreCase)
            return new(PatternSet.Letter(c));
        int folded = CodePoints.Fold(c);
        return Few(x => CodePoints.Fold(x) == folded);
    }

    private PatternNode? ParseGroup()
    {
        PatternNode body;
        if (!Take('?'))
            body = ParseChoice();
        else if (Take(':'))
            body = ParseChoice();
        else if (Take('='))
            body = new PatternNode.Look(ParseChoice(), false, false);
        else if (Take('!'))
            body = new PatternNode.Look(ParseChoice(), false, true);
        else if (Take("<="))
            body = new PatternNode.Look(ParseChoice(), true, false);
        else if (Take("<!"))
            body = new PatternNode.Look(ParseChoice(), true, true);
        else if (Take('>'))
            body = new PatternNode.Atomic(ParseChoice());
        else if (Take('#'))
        {
            while (More && Peek != ')')
                _at++;
            return Take(')') ? null : throw Fault("a comment without its )");
        }
        else if (Take('<') || Take("P<"))
        {
            while (More && Peek != '>')
                _at++;
            body = Take('>') ? ParseChoice() : throw Fault("a group name without its >");
        }
        else
            return ParseFlags();
        return Take(')') ? body : throw Fault("a group without its )");
    }

    private PatternNode? ParseFlags()
    {
        (bool ignoreCase, bool dotAll, bool extended) = (_ignoreCase, _dotAll, _extended);
        for (bool on = true; ;)
        {
            int flag = More ? _chars[_at++] : -1;
            switch (flag)
            {
                case '-': on = false; break;
                case 'i': _ignoreCase = on; break;
                case 'm' or 's': _dotAll = on; break;
                case 'x': _extended = on; break;
                case ':':
                    PatternNode body = ParseChoice();
                    (_ignoreCase, _dotAll, _extended) = (ignoreCase, dotAll, extended);
                    return Take(')') ? body : throw Fault("a group without its )");
                case ')':
                    // (?i) holds to the end of the group around it: the rest is one alternative set of its own.
                    return ParseChoiceKeepingFlags();
                default: throw Fault("an unknown group");
            }
        }
    }

    private PatternNode ParseChoiceKeepingFlags()
    {
        if (++_depth > MaximumDepth)
            throw Fault("nested too deep");
        List<PatternNode> parts = [ParseSequence()];
        while (Take('|'))
            parts.Add(ParseSequence());
        _depth--;
        return parts.Count == 1 ? parts[0] : new PatternNode.Choice(parts);
    }

    private PatternNode ParseEscape()
    {
        switch (Peek)
        {
            case 'A': _at++; return new PatternNode.Assert(PatternAssert.TextStart);
            case 'z': _at++; return new PatternNode.Assert(PatternAssert.TextEnd);
            case 'Z': _at++; return new PatternNode.Assert(PatternAssert.TextEndOrLastNewline);
            case 'b': _at++; return new PatternNode.Assert(PatternAssert.WordBoundary);
            case 'B': _at++; return new PatternNode.Assert(PatternAssert.NotWordBoundary);
            case 'R':
                _at++;
                return new PatternNode.Atomic(new PatternNode.Choice([
                    new PatternNode.Sequence([new PatternNode.Set(PatternSet.Letter('\r')), new PatternNode.Set(PatternSet.Letter('\n'))]),
                    Few(c => c is >= 10 and <= 13 or 0x85 or 0x2028 or 0x2029)]));
            case >= '1' and <= '9' or 'k' or 'g' or 'G' or 'K' or 'X': throw Fault($"\\{(char)Peek} is not supported,");
        }
        return ParseEscapedClass() is { } test ? Member(test) : Single(ParseEscapedChar());
    }

    /// <summary>\d \s \w \h \p{…} and their negations; null (and nothing consumed) for any other escape.</summary>
    private Func<int, bool>? ParseEscapedClass()
    {
        int c = Peek;
        Func<int, bool>? test = c switch
        {
            'd' or 'D' => PatternSet.Property("digit"),
            's' or 'S' => CodePoints.IsWhiteSpace,
            'w' or 'W' => CodePoints.IsWord,
            'h' or 'H' => PatternSet.Property("xdigit"),
            _ => null,
        };
        if (test is not null)
        {
            _at++;
            return c < 'a' ? x => !test(x) : test;
        }
        if (c is not ('p' or 'P'))
            return null;
        _at++;
        bool negate = c == 'P';
        int end = _at;
        string name;
        if (Take('{'))
        {
            if (Take('^'))
                negate = !negate;
            for (end = _at; end < _chars.Length && _chars[end] != '}'; end++) { }
            name = CodePoints.ToString(_chars.AsSpan(_at, end - _at));
            _at = end;
            if (!Take('}'))
                throw Fault("\\p{ without its }");
        }
        else
        {
            name = More ? CodePoints.ToString(_chars.AsSpan(_at++, 1)) : "";
        }
        Func<int, bool> property = PatternSet.Property(name) ?? throw Fault($"an unknown property \"{name}\"");
        return negate ? x => !property(x) : property;
    }

    private int ParseEscapedChar()
    {
        if (!More)
            throw Fault("a lone \\");
        int c = _chars[_at++];
        switch (c)
        {
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'f': return '\f';
            case 'v': return '\v';
            case 'a': return 7;
            case 'e': return 27;
            case '0': return 0;
            case 'u': return ParseHex(4, 4);
            case 'x':
                if (!Take('{'))
                    return ParseHex(1, 2);
                int code = ParseHex(1, 8);
                return Take('}') ? code : throw Fault("\\x{ without its }");
        }
        return c < 0x80 && char.IsAsciiLetterOrDigit((char)c) ? throw Fault($"an unknown escape \\{(char)c}") : c;
    }

    private int ParseHex(int minimum, int maximum)
    {
        int value = 0, digits = 0;
        for (; digits < maximum && Peek is >= 0 and < 0x80 && char.IsAsciiHexDigit((char)Peek); digits++)
            value = (value << 4) | Convert.ToInt32(((char)_chars[_at++]).ToString(), 16);
        return digits >= minimum && value is >= 0 and < 0x110000 ? value : throw Fault("a bad hexadecimal code");
    }

    private Func<int, bool> ParseClass()
    {
        if (++_depth > MaximumDepth)
            throw Fault("nested too deep");
        bool negate = Take('^');
        Func<int, bool>? whole = null;
        List<Func<int, bool>> members = [];
        List<(int First, int Last)> ranges = [];
        for (bool first = true; ; first = false)
        {
            if (!More)
                throw Fault("a class without its ]");
            if (Peek == ']' && !first)
            {
                _at++;
                break;
            }
            if (Take("&&"))
            {
                Func<int, bool> left = Union(members, ranges);
                Func<int, bool>? before = whole;
                whole = before is null ? left : x => before(x) && left(x);
                (members, ranges) = ([], []);
                continue;
            }
            ParseMember(members, ranges);
        }
        Func<int, bool> last = Union(members, ranges), all = whole is null ? last : x => whole(x) && last(x);
        _depth--;
        return negate ? x => !all(x) : all;
    }

    private void ParseMember(List<Func<int, bool>> members, List<(int First, int Last)> ranges)
    {
        if (Peek == '[')
        {
            members.Add(ParsePosixClass() ?? Nested());
            return;
        }
        int low;
        if (Take('\\'))
        {
            if (ParseEscapedClass() is { } test)
            {
                members.Add(test);
                return;
            }
            low = Take('b') ? '\b' : ParseEscapedChar();
        }
        else
        {
            low = _chars[_at++];
        }
        int high = low;
        if (Peek == '-' && _at + 1 < _chars.Length && _chars[_at + 1] is not (']' or '['))
        {
            int dash = _at++;
            if (!Take('\\'))
            {
                high = _chars[_at++];
            }
            else if (Peek is 'd' or 'D' or 's' or 'S' or 'w' or 'W' or 'h' or 'H' or 'p' or 'P')
            {
                // [a-\d]: the dash stands for itself.
                _at = dash;
            }
            else
            {
                high = ParseEscapedChar();
            }
        }
        if (high < low)
            throw Fault("a range that runs backwards");
        ranges.Add((low, high));
    }

    private Func<int, bool> Nested()
    {
        _at++;
        return ParseClass();
    }

    private Func<int, bool>? ParsePosixClass()
    {
        int start = _at;
        if (!Take("[:"))
            return null;
        bool negate = Take('^');
        int nameStart = _at;
        while (Peek is >= 'a' and <= 'z')
            _at++;
        string name = CodePoints.ToString(_chars.AsSpan(nameStart, _at - nameStart));
        if (!Take(":]"))
        {
            _at = start;
            return null;
        }
        Func<int, bool> test = PatternSet.Property(name) ?? throw Fault($"an unknown class [:{name}:]");
        return negate ? x => !test(x) : test;
    }

    private Func<int, bool> Union(List<Func<int, bool>> members, List<(int First, int Last)> ranges)
    {
        // Asked for 256 letters a page at every level: nothing is allocated in here.
        bool Plain(int x)
        {
            foreach ((int first, int last) in ranges)
                if (x >= first && x <= last)
                    return true;
            foreach (Func<int, bool> member in members)
                if (member(x))
                    return true;
            return false;
        }
        if (!_ignoreCase)
            return Plain;
        return x => Plain(x) || Plain(CodePoints.ToLower(x)) || Plain(CodePoints.ToUpper(x)) || Plain(CodePoints.Fold(x))
            || CodePoints.Fold(x) switch { 's' => Plain(0x17F), 'k' => Plain(0x212A), 0xE5 => Plain(0x212B), _ => false };
    }
}
