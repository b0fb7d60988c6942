namespace EdgeLora.Models;

/// <summary>A macro as written: its parameters and which of the special names its body uses.</summary>
internal sealed record MacroDefinition(string Name, IReadOnlyList<string> Parameters, IReadOnlyList<JinjaExpression?> Defaults, JinjaStatement Body, bool UsesCaller, bool UsesVarargs, bool UsesKwargs);

/// <summary>A macro and the scope it was defined in.</summary>
internal sealed class JinjaMacro(MacroDefinition definition, JinjaScope scope) : IJinjaCallable
{
    public MacroDefinition Definition { get; } = definition;

    public string Representation => Definition.Name == "caller" ? "<Macro anonymous>" : $"<Macro {PyText.Repr(Definition.Name)}>";

    public object? Call(JinjaRun run, IReadOnlyList<object?> positional, JinjaDict? named)
    {
        MacroDefinition d = Definition;
        JinjaScope inner = new(scope);
        JinjaDict rest = new();
        bool explicitCaller = d.Parameters.Contains("caller");
        HashSet<string> given = [];
        for (int i = 0; i < d.Parameters.Count && i < positional.Count; i++)
            if (given.Add(d.Parameters[i]))
                inner.Set(d.Parameters[i], positional[i]);
        foreach ((object? key, object? value) in named?.Entries ?? [])
        {
            string name = (string)key!;
            if (d.Parameters.Contains(name) && given.Add(name) || (name == "caller" && d.UsesCaller && !explicitCaller && given.Add(name)))
                inner.Set(name, value);
            else
                rest[name] = value;
        }
        if (d.UsesCaller && !explicitCaller && !given.Contains("caller"))
            inner.Set("caller", new JinjaUndefined("No caller defined"));
        if (d.UsesKwargs)
            inner.Set("kwargs", rest);
        else if (rest.Count > 0)
            throw ChatTemplateException.Type($"macro {PyText.Repr(d.Name)} takes no keyword argument {PyText.Repr(rest.Entries[0].Key)}");
        if (d.UsesVarargs)
            inner.Set("varargs", new JinjaTuple([.. positional.Skip(d.Parameters.Count)]));
        else if (positional.Count > d.Parameters.Count)
            throw ChatTemplateException.Type($"macro {PyText.Repr(d.Name)} takes not more than {d.Parameters.Count} argument(s)");

        JinjaScope saved = run.Scope;
        run.Scope = inner;
        try
        {
            // A default may look at the parameters before it.
            for (int i = 0; i < d.Parameters.Count; i++)
                if (!given.Contains(d.Parameters[i]))
                    inner.Set(d.Parameters[i], d.Defaults[i] is JinjaExpression value ? value.Evaluate(run) : new JinjaUndefined($"parameter {PyText.Repr(d.Parameters[i])} was not provided"));
            return run.Capture(() => d.Body.Execute(run));
        }
        finally
        {
            run.Scope = saved;
        }
    }
}
