using System.Text;

namespace EdgeLora.Models;

/// <summary>Variables of one level: a template, a loop round, a macro call.</summary>
internal sealed class JinjaScope(JinjaScope? parent)
{
    private Dictionary<string, object?>? values;

    public void Set(string name, object? value) => (values ??= new(StringComparer.Ordinal))[name] = value;

    public bool TryGet(string name, out object? value)
    {
        for (JinjaScope? scope = this; scope is not null; scope = scope.Parent)
            if (scope.values is not null && scope.values.TryGetValue(name, out value))
                return true;
        value = null;
        return false;
    }

    private JinjaScope? Parent { get; } = parent;
}

/// <summary>One rendering: scopes, output, and what the template used up.</summary>
internal sealed class JinjaRun
{
    private readonly StringBuilder root = new();
    private StringBuilder output;
    private long steps;
    private int calls, measured, points;

    public JinjaRun(IEnumerable<KeyValuePair<string, object?>> variables, IReadOnlyDictionary<string, JinjaStatement> blocks, Func<DateTimeOffset> clock)
    {
        output = root;
        Clock = clock;
        JinjaScope context = new(null);
        foreach ((string name, object? value) in JinjaGlobals.All)
            context.Set(name, value);
        foreach ((string name, object? value) in variables)
            context.Set(name, value);
        context.Set("self", new JinjaSelf(blocks));
        Root = Scope = new(context);
    }

    public JinjaScope Root { get; }

    public JinjaScope Scope { get; set; }

    public Func<DateTimeOffset> Clock { get; }

    /// <summary>The line of the statement that runs, for messages.</summary>
    public int Line { get; set; }

    /// <summary>The generation blocks met, in code points of the output.</summary>
    public List<(int Start, int End)> GenerationSpans { get; } = [];

    public string Text => root.ToString();

    /// <summary>Code points of the rendered text so far, captured text not counted.</summary>
    public int RootLength()
    {
        // Only what came since the last time is read, and the character before it: a pair is one.
        int from = Math.Max(0, measured - 1);
        points += PyText.Length(root.ToString(from, root.Length - from)) - (measured - from);
        measured = root.Length;
        return points;
    }

    public object? Lookup(string name) => Scope.TryGet(name, out object? value) ? value : JinjaUndefined.Name(name);

    public void Write(string text)
    {
        JinjaLimits.GuardText((long)output.Length + text.Length);
        output.Append(text);
    }

    /// <summary>Counts a loop round or call.</summary>
    public void Step()
    {
        JinjaLimits.GuardBytes(0);
        if (++steps > JinjaLimits.MaxSteps)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"the template ran too long: more than {JinjaLimits.MaxSteps} loop rounds and calls");
    }

    /// <summary>What an action writes.</summary>
    public string Capture(Action action)
    {
        StringBuilder saved = output;
        output = new();
        try
        {
            action();
            return output.ToString();
        }
        finally
        {
            output = saved;
        }
    }

    /// <summary>Runs in a scope of its own.</summary>
    public JinjaFlow Inner(Func<JinjaFlow> action)
    {
        JinjaScope saved = Scope;
        Scope = new(saved);
        JinjaFlow flow = action();
        Scope = saved;
        return flow;
    }

    public object? Call(object? function, IReadOnlyList<object?> positional, JinjaDict? named)
    {
        if (function is JinjaUndefined undefined)
            throw undefined.Error();
        if (function is JinjaLoop loop)
            return loop.Recurse is null
                ? throw ChatTemplateException.Type("The loop must have the 'recursive' marker to be called recursively.")
                : Deeper(() => loop.Recurse(this, positional.Count == 1 ? positional[0] : throw ChatTemplateException.Type("LoopContext.__call__() missing 1 required positional argument: 'iterable'")));
        if (function is JinjaJoiner joiner)
            return joiner.Next();
        if (function is not IJinjaCallable callable)
            throw ChatTemplateException.Type($"'{PyType.Name(function)}' object is not callable");
        return Deeper(() => callable.Call(this, positional, named));
    }

    public void Assign(JinjaExpression target, object? value)
    {
        switch (target)
        {
            case NameExpression name:
                Scope.Set(name.Name, value);
                break;
            case NamespaceTarget member:
                if (Lookup(member.Name) is not JinjaNamespace space)
                    throw new ChatTemplateException(ChatTemplateErrorKind.TemplateRuntimeError, "cannot assign attribute on non-namespace object");
                if (member.Attribute.StartsWith('_'))
                    throw new ChatTemplateException(ChatTemplateErrorKind.SecurityError, $"Chat templates cannot store underscore-prefixed attributes on a namespace, but got {PyText.Repr(member.Attribute)}. Please rename the attribute.");
                space.Attributes[member.Attribute] = value;
                break;
            case SequenceExpression sequence:
                if (!PyType.IsIterable(value))
                    throw ChatTemplateException.Type($"cannot unpack non-iterable {PyType.Name(value)} object");
                int wanted = sequence.Items.Count;
                object?[] items = [.. PyType.Iterate(value).Take(wanted + 1)];
                if (items.Length != wanted)
                    throw ChatTemplateException.Value(items.Length > wanted ? $"too many values to unpack (expected {wanted})" : $"not enough values to unpack (expected {wanted}, got {items.Length})");
                for (int i = 0; i < wanted; i++)
                    Assign(sequence.Items[i], items[i]);
                break;
        }
    }

    private object? Deeper(Func<object?> call)
    {
        Step();
        JinjaLimits.GuardStack();
        if (++calls > JinjaLimits.MaxCalls)
            throw new ChatTemplateException(ChatTemplateErrorKind.RecursionError, "maximum recursion depth exceeded");
        object? value = call();
        calls--;
        return value;
    }
}
