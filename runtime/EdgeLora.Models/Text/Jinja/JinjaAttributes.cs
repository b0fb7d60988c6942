using System.Numerics;
using System.Text;

namespace EdgeLora.Models;

/// <summary>value.name and value[key], as Jinja's immutable sandbox looks them up.</summary>
internal static class JinjaAttributes
{
    private static readonly HashSet<string> Mutating = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", "popitem", "setdefault", "update"];

    /// <summary>value.name: an attribute first, then a key.</summary>
    public static object? Attribute(object? owner, string name)
    {
        if (owner is JinjaUndefined undefined)
            throw undefined.Error();
        if (Member(owner, name, out object? value))
            return value;
        return owner is JinjaDict dict && dict.TryGet(name, out value) ? value : JinjaUndefined.Member(owner, name);
    }

    /// <summary>value[key]: a key or position first, then an attribute.</summary>
    public static object? Item(object? owner, object? key)
    {
        if (owner is JinjaUndefined undefined)
            throw undefined.Error();
        if (Subscript(owner, key, out object? value))
            return value;
        return PyType.AsText(key) is string name && Member(owner, name, out value) ? value : JinjaUndefined.Member(owner, key);
    }

    /// <summary>The attribute alone, for the filter attr.</summary>
    public static object? Attr(object? owner, string name)
    {
        if (owner is JinjaUndefined undefined)
            throw undefined.Error();
        return Member(owner, name, out object? value) ? value : JinjaUndefined.Member(owner, name);
    }

    /// <summary>What the attribute argument of map, sort and others means: names and positions with dots between.</summary>
    public static Func<object?, object?> Getter(object? attribute, object? absent = null, bool lower = false)
    {
        object?[] path = PyType.AsText(attribute) is string text
            ? [.. text.Split('.').Select(p => p.Length > 0 && p.All(char.IsAsciiDigit) ? (object?)PyNumber.Of(BigInteger.Parse(p)) : p)]
            : attribute is null ? [] : [attribute];
        return item =>
        {
            foreach (object? part in path)
            {
                item = Item(item, part);
                if (item is JinjaUndefined && absent is not null)
                    item = absent;
            }
            return lower && PyType.AsText(item) is string s ? PyCase.Lower(s) : item;
        };
    }

    private static bool Subscript(object? owner, object? key, out object? value)
    {
        value = null;
        if (key is PySlice slice)
        {
            // Jinja compiles a slice to Python's own, which raises where a missing key would not.
            value = slice.Of(owner) ?? throw ChatTemplateException.Type(owner is JinjaDict ? "unhashable type: 'slice'" : $"'{PyType.Name(owner)}' object is not subscriptable");
            return true;
        }
        if (owner is JinjaDict dict)
            return key is not (JinjaList or JinjaDict) && dict.TryGet(key, out value);
        if (!PyNumber.IsInteger(key, out BigInteger at) || owner is JinjaDictView or JinjaGenerator or JinjaLoop || PyType.Length(owner) is not BigInteger length)
            return false;
        at = at.Sign < 0 ? at + length : at;
        if (at.Sign < 0 || at >= length)
            return false;
        int i = (int)at;
        value = owner switch
        {
            string or JinjaMarkup => Point(PyType.AsText(owner)!, i),
            JinjaList l => l.Items[i],
            JinjaTuple t => t.Items[i],
            JinjaRange r => r.At(at),
            JinjaBytes b => (long)b.Bytes[i],
            _ => null,
        };
        return true;
    }

    private static string Point(string text, int index)
    {
        int at = PyText.Offset(text, index);
        return text.Substring(at, char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1);
    }

    private static bool Member(object? owner, string name, out object? value)
    {
        value = null;
        if (name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) && name.Length > 4)
        {
            value = JinjaUndefined.Unsafe(owner, name);
            return true;
        }
        if (owner is JinjaList && Mutating.Contains(name) && name is not ("popitem" or "setdefault" or "update") || owner is JinjaDict && name is "clear" or "pop" or "popitem" or "setdefault" or "update" && owner is JinjaDict)
        {
            value = JinjaUndefined.Unsafe(owner, name);
            return true;
        }
        switch (owner)
        {
            case JinjaTuple { IsGroup: true } group when name is "grouper" or "list":
                value = group.Items[name == "grouper" ? 0 : 1];
                return true;
            case JinjaNamespace space:
                return space.Attributes.TryGetValue(name, out value);
            case JinjaLoop loop:
                value = Loop(loop, name);
                return value is not JinjaUndefined || name is "previtem" or "nextitem";
            case JinjaCycler cycler when name is "next" or "reset" or "current":
                value = name == "current" ? cycler.Current : new JinjaFunction($"<bound method Cycler.{name}>", new(name, ""), (_, _) =>
                {
                    if (name == "next")
                        return cycler.Next();
                    cycler.Reset();
                    return null;
                });
                return true;
            case JinjaSelf self when self.Blocks.TryGetValue(name, out JinjaStatement? block):
                value = new JinjaFunction($"<BlockReference {name}>", new(name, ""), (run, _) => run.Capture(() =>
                {
                    JinjaScope saved = run.Scope;
                    run.Scope = new(run.Root);
                    block.Execute(run);
                    run.Scope = saved;
                }));
                return true;
            case JinjaMacro macro when name is "name" or "arguments":
                value = name == "name" ? macro.Definition.Name : new JinjaTuple([.. macro.Definition.Parameters]);
                return true;
            case bool or long or BigInteger or double when name is "real" or "imag" or "numerator" or "denominator" && !(owner is double && name is "numerator" or "denominator"):
                value = name is "real" or "numerator" ? (owner is bool b ? (b ? 1L : 0L) : owner) : name == "denominator" ? 1L : owner is double ? (object)0.0 : 0L;
                return true;
            default:
                return PyMethods.TryBind(owner, name, out value);
        }
    }

    private static object? Loop(JinjaLoop loop, string name) => name switch
    {
        "index" => (long)loop.Index,
        "index0" => (long)loop.Index0,
        "revindex" => (long)loop.Length - loop.Index0,
        "revindex0" => (long)loop.Length - loop.Index,
        "first" => loop.Index0 == 0,
        "last" => loop.IsLast,
        "length" => (long)loop.Length,
        "depth" => (long)loop.Depth0 + 1,
        "depth0" => (long)loop.Depth0,
        "previtem" => loop.Before,
        "nextitem" => loop.After,
        "cycle" => new JinjaFunction("<bound method LoopContext.cycle>", new("cycle", "*args"), (_, a) =>
        {
            JinjaTuple items = (JinjaTuple)a[0]!;
            return items.Items.Count == 0 ? throw ChatTemplateException.Type("no items for cycling given") : items.Items[loop.Index0 % items.Items.Count];
        }),
        "changed" => new JinjaFunction("<bound method LoopContext.changed>", new("changed", "*value"), (_, a) => loop.Changed((JinjaTuple)a[0]!)),
        _ => new JinjaUndefined(""),
    };
}
