namespace EdgeLora.Models;

/// <summary>
/// Runs a <see cref="PatternProgram"/> with backtracking. An attempt that takes long starts to remember the states that failed,
/// which makes it linear, and one text has a budget of steps: patterns come from files that nobody vouches for.
/// </summary>
internal ref struct PatternMatcher(PatternProgram program, ReadOnlySpan<int> text)
{
    private const int PatientSteps = 20_000;

    private readonly PatternStep[] _steps = program.Steps;
    private readonly ReadOnlySpan<int> _text = text;
    private long _budget = 20_000_000L + 100L * text.Length;
    private (int Step, int At, int Least)[] _stack = new (int, int, int)[64];
    private int _top;

    /// <summary>Finds the leftmost match that starts at <paramref name="from"/> or later.</summary>
    public bool Search(int from, out int start, out int end)
    {
        HashSet<long>? failed = program.MayStandStill ? [] : null;
        for (start = from; start <= _text.Length; start++)
            if (Run(0, start, ref failed, out end))
                return true;
        end = 0;
        return false;
    }

    private bool Run(int first, int from, ref HashSet<long>? failed, out int end)
    {
        int floor = _top;
        long patience = _budget - PatientSteps;
        int step = first, at = from;
        while (true)
        {
            _budget -= failed is null ? 1 : 10;
            if (_budget < 0)
                throw new InvalidDataException($"regular expression \"{program.Source}\" takes too long on this text");
            if (_budget < patience && failed is null)
            {
                failed = [];
                (_top, step, at) = (floor, first, from);
            }
            bool goesOn;
            if (failed is not null && !failed.Add((long)step << 32 | (uint)at))
            {
                goesOn = false;
            }
            else
            {
                ref readonly PatternStep s = ref _steps[step];
                goesOn = true;
                switch (s.Code)
                {
                    case PatternCode.Match:
                        _top = floor;
                        end = at;
                        return true;
                    case PatternCode.Set:
                        goesOn = at < _text.Length && s.Members!.Contains(_text[at]);
                        at++;
                        step++;
                        break;
                    case PatternCode.Loop:
                        int stop = s.Y > _text.Length - at ? _text.Length : at + s.Y, least = at + s.X, begin = at;
                        while (at < stop && s.Members!.Contains(_text[at]))
                            at++;
                        _budget -= (at - begin) >> 4;
                        goesOn = at >= least;
                        step++;
                        if (goesOn && at > least)
                            Push(step, at - 1, least);
                        break;
                    case PatternCode.Split:
                        Push(s.Y, at, int.MaxValue);
                        step = s.X;
                        break;
                    case PatternCode.Jump:
                        step = s.X;
                        break;
                    case PatternCode.Assert:
                        goesOn = Holds(s.Kind, at);
                        step++;
                        break;
                    case PatternCode.Look:
                        goesOn = (s.Behind ? MatchesBehind(s, at) : MatchesAt(s.Body, at, out _)) != s.Negate;
                        step++;
                        break;
                    case PatternCode.Atomic:
                        goesOn = MatchesAt(s.Body, at, out int after);
                        at = after;
                        step++;
                        break;
                }
            }
            if (goesOn)
                continue;
            if (_top == floor)
            {
                end = 0;
                return false;
            }
            ref (int Step, int At, int Least) last = ref _stack[_top - 1];
            (step, at) = (last.Step, last.At);
            if (last.Least < last.At)
                last.At--;
            else
                _top--;
        }
    }

    private bool MatchesAt(int body, int at, out int end)
    {
        HashSet<long>? failed = program.MayStandStill ? [] : null;
        return Run(body, at, ref failed, out end);
    }

    private bool MatchesBehind(in PatternStep look, int at)
    {
        for (int width = look.X; width <= look.Y && width <= at; width++)
        {
            // Only what ends exactly here counts.
            PatternMatcher before = new(program, _text[..at]) { _budget = _budget };
            bool found = before.MatchesAt(look.Body, at - width, out int end) && end == at;
            _budget = before._budget;
            if (found)
                return true;
        }
        return false;
    }

    private void Push(int step, int at, int least)
    {
        if (_top == _stack.Length)
            Array.Resize(ref _stack, _top * 2);
        _stack[_top++] = (step, at, least == int.MaxValue ? at : least);
    }

    private readonly bool Holds(PatternAssert kind, int at) => kind switch
    {
        PatternAssert.TextStart => at == 0,
        PatternAssert.TextEnd => at == _text.Length,
        PatternAssert.TextEndOrLastNewline => at == _text.Length || (at == _text.Length - 1 && _text[at] == '\n'),
        PatternAssert.LineStart => at == 0 || (_text[at - 1] == '\n' && at < _text.Length),
        PatternAssert.LineEnd => at == _text.Length || _text[at] == '\n',
        _ => ((at > 0 && CodePoints.IsWord(_text[at - 1])) != (at < _text.Length && CodePoints.IsWord(_text[at]))) == (kind == PatternAssert.WordBoundary),
    };
}
