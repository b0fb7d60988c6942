namespace EdgeLora.Models;

/// <summary>What an instruction of a compiled pattern does.</summary>
internal enum PatternCode : byte
{
    Set,
    Loop,
    Split,
    Jump,
    Assert,
    Look,
    Atomic,
    Match,
}

/// <summary>One instruction. <c>X</c> and <c>Y</c>: jump targets (X first), or the bounds of a loop over one set, or a look-behind's widths.</summary>
internal readonly record struct PatternStep(PatternCode Code, PatternSet? Members = null, int X = 0, int Y = 0, PatternAssert Kind = default, bool Behind = false, bool Negate = false, int Body = 0);

/// <summary>A regular expression compiled for <see cref="PatternMatcher"/>.</summary>
internal sealed class PatternProgram
{
    private const int MaximumSteps = 4096, MaximumLookBehind = 255;

    private readonly List<PatternStep> _steps = [];

    private PatternProgram(string source) => Source = source;

    public string Source { get; }

    public PatternStep[] Steps { get; private set; } = [];

    /// <summary>True if a loop may turn without consuming: such a program must remember where it has been.</summary>
    public bool MayStandStill { get; private set; }

    public static PatternProgram Compile(string pattern)
    {
        PatternProgram program = new(pattern);
        program.Emit(PatternParser.Parse(pattern));
        program.Add(new(PatternCode.Match));
        program.Steps = [.. program._steps];
        return program;
    }

    private int Add(PatternStep step)
    {
        if (_steps.Count >= MaximumSteps)
            throw new FormatException($"regular expression \"{Source}\": too large");
        _steps.Add(step);
        return _steps.Count - 1;
    }

    private void Emit(PatternNode node)
    {
        switch (node)
        {
            case PatternNode.Set set:
                Add(new(PatternCode.Set, set.Members));
                break;
            case PatternNode.Sequence sequence:
                foreach (PatternNode part in sequence.Parts)
                    Emit(part);
                break;
            case PatternNode.Choice choice:
                EmitChoice(choice);
                break;
            case PatternNode.Repeat { Lazy: false, Body: PatternNode.Set body } repeat:
                Add(new(PatternCode.Loop, body.Members, repeat.Minimum, repeat.Maximum));
                break;
            case PatternNode.Repeat repeat:
                EmitRepeat(repeat);
                break;
            case PatternNode.Assert assert:
                Add(new(PatternCode.Assert, Kind: assert.Kind));
                break;
            case PatternNode.Look look:
                (int shortest, int longest) = look.Behind ? Width(look.Body) : (0, 0);
                if (longest > MaximumLookBehind)
                    throw new FormatException($"regular expression \"{Source}\": a look-behind without a bounded length");
                EmitBody(new(PatternCode.Look, X: shortest, Y: longest, Behind: look.Behind, Negate: look.Negate), look.Body);
                break;
            case PatternNode.Atomic atomic:
                EmitBody(new(PatternCode.Atomic), atomic.Body);
                break;
        }
    }

    // The body is a program of its own, behind a jump around it.
    private void EmitBody(PatternStep step, PatternNode body)
    {
        int at = Add(step);
        int jump = Add(new(PatternCode.Jump));
        int start = _steps.Count;
        Emit(body);
        Add(new(PatternCode.Match));
        _steps[at] = step with { Body = start };
        _steps[jump] = new(PatternCode.Jump, X: _steps.Count);
    }

    private void EmitChoice(PatternNode.Choice choice)
    {
        List<int> ends = [];
        for (int i = 0; i < choice.Parts.Count; i++)
        {
            bool last = i == choice.Parts.Count - 1;
            int split = last ? -1 : Add(new(PatternCode.Split));
            Emit(choice.Parts[i]);
            if (last)
                break;
            ends.Add(Add(new(PatternCode.Jump)));
            _steps[split] = new(PatternCode.Split, X: split + 1, Y: _steps.Count);
        }
        foreach (int end in ends)
            _steps[end] = new(PatternCode.Jump, X: _steps.Count);
    }

    private void EmitRepeat(PatternNode.Repeat repeat)
    {
        if (Width(repeat.Body).Longest == 0)
        {
            // Matching nothing a thousand times is matching it once.
            if (repeat.Minimum > 0)
                Emit(repeat.Body);
            return;
        }
        for (int i = 0; i < repeat.Minimum; i++)
            Emit(repeat.Body);
        if (repeat.Maximum == int.MaxValue)
        {
            MayStandStill |= Width(repeat.Body).Shortest == 0;
            int split = Add(new(PatternCode.Split));
            Emit(repeat.Body);
            Add(new(PatternCode.Jump, X: split));
            _steps[split] = Branch(split + 1, _steps.Count, repeat.Lazy);
            return;
        }
        List<int> splits = [];
        for (int i = repeat.Minimum; i < repeat.Maximum; i++)
        {
            splits.Add(Add(new(PatternCode.Split)));
            Emit(repeat.Body);
        }
        foreach (int split in splits)
            _steps[split] = Branch(split + 1, _steps.Count, repeat.Lazy);
    }

    private static PatternStep Branch(int body, int exit, bool lazy) => lazy ? new(PatternCode.Split, X: exit, Y: body) : new(PatternCode.Split, X: body, Y: exit);

    private static (int Shortest, int Longest) Width(PatternNode node)
    {
        const int Endless = int.MaxValue / 2;
        switch (node)
        {
            case PatternNode.Set:
                return (1, 1);
            case PatternNode.Sequence sequence:
                (int Shortest, int Longest) sum = (0, 0);
                foreach (PatternNode part in sequence.Parts)
                {
                    (int s, int l) = Width(part);
                    sum = (Math.Min(sum.Shortest + s, Endless), Math.Min(sum.Longest + l, Endless));
                }
                return sum;
            case PatternNode.Choice choice:
                return (choice.Parts.Min(p => Width(p).Shortest), choice.Parts.Max(p => Width(p).Longest));
            case PatternNode.Repeat repeat:
                (int shortest, int longest) = Width(repeat.Body);
                return ((int)Math.Min((long)shortest * repeat.Minimum, Endless), (int)Math.Min((long)longest * repeat.Maximum, Endless));
            case PatternNode.Atomic atomic:
                return Width(atomic.Body);
            default:
                return (0, 0);
        }
    }
}
