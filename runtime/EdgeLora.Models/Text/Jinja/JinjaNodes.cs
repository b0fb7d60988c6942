namespace EdgeLora.Models;

/// <summary>An expression of a template.</summary>
internal abstract class JinjaExpression
{
    public abstract object? Evaluate(JinjaRun run);
}

internal sealed class ConstantExpression(object? value) : JinjaExpression
{
    public object? Value { get; } = value;

    public override object? Evaluate(JinjaRun run) => Value;
}

internal sealed class NameExpression(string name) : JinjaExpression
{
    public string Name { get; } = name;

    public override object? Evaluate(JinjaRun run) => run.Lookup(Name);
}

/// <summary>ns.x on the left of a set.</summary>
internal sealed class NamespaceTarget(string name, string attribute) : JinjaExpression
{
    public string Name { get; } = name;
    public string Attribute { get; } = attribute;

    public override object? Evaluate(JinjaRun run) => throw new InvalidOperationException("a target is not evaluated");
}

internal sealed class SequenceExpression(IReadOnlyList<JinjaExpression> items, bool tuple) : JinjaExpression
{
    public IReadOnlyList<JinjaExpression> Items { get; } = items;

    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        object?[] values = [.. Items.Select(i => i.Evaluate(run))];
        return tuple ? new JinjaTuple(values) : new JinjaList(values);
    }
}

internal sealed class DictExpression(IReadOnlyList<(JinjaExpression Key, JinjaExpression Value)> pairs) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        JinjaDict dict = new();
        foreach ((JinjaExpression key, JinjaExpression value) in pairs)
            dict[key.Evaluate(run)] = value.Evaluate(run);
        return dict;
    }
}

internal sealed class BinaryExpression(string op, JinjaExpression left, JinjaExpression right) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        object? a = left.Evaluate(run);
        if (op == "and")
            return PyType.IsTrue(a) ? right.Evaluate(run) : a;
        if (op == "or")
            return PyType.IsTrue(a) ? a : right.Evaluate(run);
        return PyNumber.Binary(op, a, right.Evaluate(run));
    }
}

internal sealed class ConcatExpression(IReadOnlyList<JinjaExpression> parts) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        string[] texts = [.. parts.Select(p => PyText.Str(p.Evaluate(run)))];
        JinjaLimits.GuardText(texts.Sum(t => (long)t.Length));
        return string.Concat(texts);
    }
}

internal sealed class UnaryExpression(string op, JinjaExpression operand) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        object? value = operand.Evaluate(run);
        return op switch { "not" => !PyType.IsTrue(value), "-" => PyNumber.Negate(value), _ => PyNumber.Plus(value) };
    }
}

/// <summary>a &lt; b &lt; c: each pair must hold.</summary>
internal sealed class CompareExpression(JinjaExpression first, IReadOnlyList<(string Op, JinjaExpression Value)> rest) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        object? left = first.Evaluate(run);
        foreach ((string op, JinjaExpression value) in rest)
        {
            object? right = value.Evaluate(run);
            if (!PyEquality.Test(op, left, right))
                return false;
            left = right;
        }
        return true;
    }
}

internal sealed class ConditionalExpression(JinjaExpression test, JinjaExpression yes, JinjaExpression? no) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        if (PyType.IsTrue(test.Evaluate(run)))
            return yes.Evaluate(run);
        return no is null ? new JinjaUndefined("the inline if-expression evaluated to false and no else section was defined.") : no.Evaluate(run);
    }
}

internal sealed class AttributeExpression(JinjaExpression owner, string name) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        return JinjaAttributes.Attribute(owner.Evaluate(run), name);
    }
}

internal sealed class ItemExpression(JinjaExpression owner, JinjaExpression key) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        return JinjaAttributes.Item(owner.Evaluate(run), key.Evaluate(run));
    }
}

internal sealed class SliceExpression(JinjaExpression? start, JinjaExpression? stop, JinjaExpression? step) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run) => new PySlice(start?.Evaluate(run), stop?.Evaluate(run), step?.Evaluate(run));
}

/// <summary>The arguments of a call, filter or test.</summary>
internal sealed class CallArguments
{
    public List<JinjaExpression> Positional { get; } = [];
    public List<(string Name, JinjaExpression Value)> Named { get; } = [];
    public JinjaExpression? Spread { get; set; }
    public JinjaExpression? NamedSpread { get; set; }

    public (List<object?> Positional, JinjaDict? Named) Evaluate(JinjaRun run)
    {
        List<object?> positional = [.. Positional.Select(p => p.Evaluate(run))];
        JinjaDict? named = Named.Count > 0 || NamedSpread is not null ? new() : null;
        foreach ((string name, JinjaExpression value) in Named)
            named![name] = value.Evaluate(run);
        if (Spread is not null)
            positional.AddRange(PyType.Iterate(Spread.Evaluate(run)));
        if (NamedSpread is not null)
        {
            if (NamedSpread.Evaluate(run) is not JinjaDict more)
                throw ChatTemplateException.Type("argument after ** must be a mapping");
            foreach ((object? key, object? value) in more.Entries)
                named![key is string ? key : throw ChatTemplateException.Type("keywords must be strings")] = value;
        }
        return (positional, named);
    }
}

internal sealed class CallExpression(JinjaExpression target, CallArguments arguments) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run) => Evaluate(run, null);

    public object? Evaluate(JinjaRun run, JinjaMacro? caller)
    {
        JinjaLimits.GuardStack();
        object? function = target.Evaluate(run);
        (List<object?> positional, JinjaDict? named) = arguments.Evaluate(run);
        if (caller is not null)
            (named ??= new())["caller"] = caller;
        return run.Call(function, positional, named);
    }
}

/// <summary>value | name(arguments). Without a value it takes the text of a block.</summary>
internal sealed class FilterExpression(JinjaExpression? value, string name, CallArguments arguments) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run) => Apply(run, null);

    public object? Apply(JinjaRun run, string? block)
    {
        JinjaLimits.GuardStack();
        object? input = value is FilterExpression inner ? inner.Apply(run, block) : value is null ? block : value.Evaluate(run);
        (List<object?> positional, JinjaDict? named) = arguments.Evaluate(run);
        return JinjaFilters.Call(run, name, input, positional, named);
    }
}

internal sealed class TestExpression(JinjaExpression value, string name, CallArguments arguments) : JinjaExpression
{
    public override object? Evaluate(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        object? input = value.Evaluate(run);
        (List<object?> positional, JinjaDict? named) = arguments.Evaluate(run);
        return JinjaTests.Call(run, name, input, positional, named);
    }
}
