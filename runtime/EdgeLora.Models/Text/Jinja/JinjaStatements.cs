namespace EdgeLora.Models;

/// <summary>How a statement ended.</summary>
internal enum JinjaFlow
{
    Next,
    Break,
    Continue,
}

/// <summary>A statement of a template.</summary>
internal abstract class JinjaStatement
{
    public abstract JinjaFlow Execute(JinjaRun run);
}

internal sealed class BodyStatement(IReadOnlyList<JinjaStatement> statements) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        JinjaLimits.GuardStack();
        foreach (JinjaStatement statement in statements)
            if (statement.Execute(run) is not JinjaFlow.Next and JinjaFlow flow)
                return flow;
        return JinjaFlow.Next;
    }
}

internal sealed class TextStatement(string text) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Write(text);
        return JinjaFlow.Next;
    }
}

internal sealed class PrintStatement(JinjaExpression value, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        run.Write(PyText.Str(value.Evaluate(run)));
        return JinjaFlow.Next;
    }
}

internal sealed class IfStatement(IReadOnlyList<(JinjaExpression Test, JinjaStatement Body)> branches, JinjaStatement? otherwise, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        foreach ((JinjaExpression test, JinjaStatement body) in branches)
            if (PyType.IsTrue(test.Evaluate(run)))
                return body.Execute(run);
        return otherwise?.Execute(run) ?? JinjaFlow.Next;
    }
}

internal sealed class ForStatement(JinjaExpression target, JinjaExpression items, JinjaExpression? test, bool recursive, JinjaStatement body, JinjaStatement? otherwise, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        Loop(run, items.Evaluate(run), 0, run.Scope);
        return JinjaFlow.Next;
    }

    private void Loop(JinjaRun run, object? iterable, int depth, JinjaScope outer)
    {
        IEnumerable<object?> walked = PyType.Iterate(iterable);
        if (test is not null)
            walked = Filtered(run, walked, outer);
        JinjaLoop loop = new(walked, test is null ? iterable : null, depth);
        if (recursive)
            loop.Recurse = (inner, more) => inner.Capture(() => Loop(inner, more, depth + 1, outer));
        JinjaScope saved = run.Scope;
        bool any = false;
        while (loop.MoveNext(out object? item))
        {
            any = true;
            run.Step();
            run.Scope = new(outer);
            run.Scope.Set("loop", loop);
            run.Assign(target, item);
            if (body.Execute(run) == JinjaFlow.Break)
                break;
        }
        if (!any && otherwise is not null)
        {
            run.Scope = new(outer);
            otherwise.Execute(run);
        }
        run.Scope = saved;
    }

    // Lazy: the condition of a later item may look at what the body did for an earlier one.
    private IEnumerable<object?> Filtered(JinjaRun run, IEnumerable<object?> walked, JinjaScope outer)
    {
        foreach (object? item in walked)
        {
            run.Step();
            JinjaScope saved = run.Scope;
            run.Scope = new(outer);
            run.Assign(target, item);
            bool keep = PyType.IsTrue(test!.Evaluate(run));
            run.Scope = saved;
            if (keep)
                yield return item;
        }
    }
}

/// <summary>break or continue.</summary>
internal sealed class JumpStatement(JinjaFlow flow) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run) => flow;
}

internal sealed class SetStatement(JinjaExpression target, JinjaExpression value, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        run.Assign(target, value.Evaluate(run));
        return JinjaFlow.Next;
    }
}

/// <summary>A body whose text is assigned, filtered or printed: set blocks, filter blocks, generation blocks.</summary>
internal sealed class CaptureStatement(JinjaStatement body, FilterExpression? filter, JinjaExpression? target, bool generation, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        int start = generation ? run.RootLength() : 0;
        string text = run.Capture(() => run.Inner(() => body.Execute(run)));
        object? value = filter is null ? text : filter.Apply(run, text);
        if (generation)
            run.GenerationSpans.Add((start, start + PyText.Length(text)));
        if (target is null)
            run.Write(PyText.Str(value));
        else
            run.Assign(target, value);
        return JinjaFlow.Next;
    }
}

internal sealed class WithStatement(IReadOnlyList<(JinjaExpression Target, JinjaExpression Value)> values, JinjaStatement body) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        object?[] found = [.. values.Select(v => v.Value.Evaluate(run))];
        return run.Inner(() =>
        {
            for (int i = 0; i < found.Length; i++)
                run.Assign(values[i].Target, found[i]);
            return body.Execute(run);
        });
    }
}

internal sealed class MacroStatement(MacroDefinition definition) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Scope.Set(definition.Name, new JinjaMacro(definition, run.Scope));
        return JinjaFlow.Next;
    }
}

internal sealed class CallBlockStatement(MacroDefinition caller, CallExpression call, int line) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        run.Line = line;
        run.Write(PyText.Str(call.Evaluate(run, new JinjaMacro(caller, run.Scope))));
        return JinjaFlow.Next;
    }
}

/// <summary>A block sees the template's own variables, not those of the loop it stands in, unless it is scoped.</summary>
internal sealed class BlockStatement(JinjaStatement body, bool scoped) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        JinjaScope saved = run.Scope;
        run.Scope = new(scoped ? saved : run.Root);
        body.Execute(run);
        run.Scope = saved;
        return JinjaFlow.Next;
    }
}

/// <summary>include, import, from and extends: a chat template stands alone.</summary>
internal sealed class LoadStatement(JinjaExpression template) : JinjaStatement
{
    public override JinjaFlow Execute(JinjaRun run)
    {
        _ = template.Evaluate(run);
        throw ChatTemplateException.Type("no loader for this environment specified");
    }
}
