using System.Buffers;

namespace EdgeLora.Core;

/// <summary>
/// A Python pattern run without the regular expression engine, all its ways at once: a name of M letters takes at most M times the pattern's steps, and a letter of the pattern costs 12 bytes. It knows letters, <c>.</c>, classes
/// with ranges, <c>\d \w \s</c> and their opposites, groups, <c>|</c>, repeats (lazy ones too: only whether there is a match is asked), <c>^ $ \A \Z \b \B</c>. Look-around, back references, named groups and flags it has not.
/// Source: docs.python.org/3/library/re.html; the method is Thompson's (1968).
/// </summary>
internal sealed class LinearPattern
{
    /// <summary>Steps that counted repeats may unroll a pattern to.</summary>
    public const int MaxSteps = 1 << 13;

    private const int OnStack = 256;
    private const string Signs = "^$|?*+()[]{}";

    // Null where the pattern is letters alone: then it is the name itself.
    private readonly LinearStep[]? _steps;
    private readonly (char First, char Last)[] _ranges;
    private readonly string _source;

    private LinearPattern(string source, LinearStep[]? steps, (char, char)[] ranges) => (_source, _steps, _ranges) = (source, steps, ranges);

    /// <summary>Letters alone: the name itself is the pattern.</summary>
    public bool IsWord => _steps is null;

    /// <summary>Whether a character means more than itself.</summary>
    public static bool IsSign(char c) => Signs.Contains(c);

    /// <summary>The pattern, or null where it is none or has more in it than this.</summary>
    public static LinearPattern? Of(string source)
    {
        if (source.AsSpan().IndexOfAny(Signs) < 0 && source.AsSpan().IndexOfAny('.', '\\') < 0)
            return new(source, null, []);
        return LinearParser.Parse(source) is var (steps, ranges) ? new(source, steps, ranges) : null;
    }

    /// <summary>Whether it matches the name from its start to its end: <c>re.fullmatch(source, name)</c>.</summary>
    public bool IsWhole(ReadOnlySpan<char> name) => IsWord ? name.SequenceEqual(_source) : Matches(name, dotted: false);

    /// <summary>Whether it matches the whole name, or what stands behind one of its dots: <c>re.match(rf"(.*\.)?({source})$", name)</c>.</summary>
    public bool IsEnd(ReadOnlySpan<char> name) => IsWord && !name.Contains('\n') ? name.EndsWith(_source, StringComparison.Ordinal) && (name.Length == _source.Length || name[name.Length - _source.Length - 1] == '.') : Matches(name, dotted: true);

    private bool Matches(ReadOnlySpan<char> name, bool dotted)
    {
        LinearStep[] steps = _steps ?? LinearParser.Parse(_source)!.Value.Steps;
        int[]? rented = steps.Length > OnStack ? ArrayPool<int>.Shared.Rent(5 * steps.Length) : null;
        Span<int> memory = rented ?? stackalloc int[5 * OnStack];
        try
        {
            return Matches(steps, name, dotted, memory);
        }
        finally
        {
            if (rented is not null)
                ArrayPool<int>.Shared.Return(rented);
        }
    }

    // Memory: the steps that wait here and at the next place, where each was last seen (a place after the letter, so 0 is never), and two a step for ways not yet gone.
    private bool Matches(LinearStep[] steps, ReadOnlySpan<char> name, bool dotted, Span<int> memory)
    {
        int n = steps.Length;
        Span<int> now = memory[..n], next = memory.Slice(n, n), seen = memory.Slice(2 * n, n), ways = memory.Slice(3 * n, 2 * n);
        seen.Clear();
        int waiting = 0;
        bool isFirstLine = true;
        for (int at = 0; ; at++)
        {
            // .* does not cross the end of a line.
            if (at == 0 || dotted && isFirstLine && name[at - 1] == '.')
                waiting = Enter(steps, 0, name, at, now, waiting, seen, ways);
            bool isEnd = at == name.Length || dotted && at == name.Length - 1 && name[at] == '\n';
            if (isEnd && seen[n - 1] == at + 1)
                return true;
            if (at == name.Length)
                return false;
            int after = 0;
            foreach (int step in now[..waiting])
                if (Fits(steps[step], name[at]))
                    after = Enter(steps, step + 1, name, at + 1, next, after, seen, ways);
            isFirstLine &= name[at] != '\n';
            waiting = after;
            Span<int> spare = now;
            now = next;
            next = spare;
        }
    }

    // Follows what takes no letter; what takes one waits.
    private static int Enter(LinearStep[] steps, int first, ReadOnlySpan<char> name, int at, Span<int> waiting, int count, Span<int> seen, Span<int> ways)
    {
        int open = 0;
        ways[open++] = first;
        while (open > 0)
        {
            int step = ways[--open];
            if (seen[step] == at + 1)
                continue;
            seen[step] = at + 1;
            switch (steps[step].Kind)
            {
                case LinearKind.Match:
                    break;
                case LinearKind.Jump:
                    ways[open++] = steps[step].X;
                    break;
                case LinearKind.Split:
                    ways[open++] = steps[step].X;
                    ways[open++] = steps[step].Y;
                    break;
                case LinearKind.Nothing:
                    ways[open++] = step + 1;
                    break;
                case LinearKind.TextStart when at == 0:
                case LinearKind.TextEnd when at == name.Length:
                case LinearKind.LineEnd when at == name.Length || at == name.Length - 1 && name[at] == '\n':
                case LinearKind.Boundary when (at > 0 && IsWordLetter(name[at - 1])) != (at < name.Length && IsWordLetter(name[at])):
                case LinearKind.NotBoundary when (at > 0 && IsWordLetter(name[at - 1])) == (at < name.Length && IsWordLetter(name[at])):
                    ways[open++] = step + 1;
                    break;
                case LinearKind.Letter:
                case LinearKind.Any:
                case LinearKind.Class:
                case LinearKind.NotClass:
                    waiting[count++] = step;
                    break;
            }
        }
        return count;
    }

    private bool Fits(in LinearStep step, char c) => step.Kind switch
    {
        LinearKind.Letter => step.X == c,
        LinearKind.Any => c != '\n',
        _ => IsMember(_ranges.AsSpan(step.X, step.Y), c) == (step.Kind == LinearKind.Class),
    };

    private static bool IsMember(ReadOnlySpan<(char First, char Last)> ranges, char c)
    {
        foreach ((char first, char last) in ranges)
            if (first <= last ? c >= first && c <= last : IsKind(last, c))
                return true;
        return false;
    }

    private static bool IsKind(char kind, char c) => kind switch
    {
        'd' => char.IsDigit(c),
        'D' => !char.IsDigit(c),
        'w' => IsWordLetter(c),
        'W' => !IsWordLetter(c),
        's' => IsSpace(c),
        _ => !IsSpace(c),
    };

    private static bool IsWordLetter(char c) => char.IsLetter(c) || char.IsNumber(c) || c == '_';

    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';
}

/// <summary>What a step of a <see cref="LinearPattern"/> asks.</summary>
internal enum LinearKind
{
    Match,
    Letter,
    Any,
    Class,
    NotClass,
    Jump,
    Split,
    Nothing,
    TextStart,
    TextEnd,
    LineEnd,
    Boundary,
    NotBoundary,
}

/// <summary>A step: a letter in X; ranges from X, Y of them; or the next steps, X and Y.</summary>
internal readonly record struct LinearStep(LinearKind Kind, int X = 0, int Y = 0);
