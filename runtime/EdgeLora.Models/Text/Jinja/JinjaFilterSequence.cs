namespace EdgeLora.Models;

/// <summary>The filters on sequences and dictionaries.</summary>
internal static class JinjaFilterSequence
{
    public static void Add(Action<string, string, Func<JinjaRun, object?[], object?>> add)
    {
        add("list", "value", (_, a) => List(a[0]));
        add("first", "seq", (_, a) => First(PyType.Iterate(a[0]), "first"));
        add("last", "seq", (_, a) => First(Reversed(a[0]), "last"));
        add("random", "seq", (_, a) => List(a[0]).Items is { Count: > 0 } items ? items[Random.Shared.Next(items.Count)] : new JinjaUndefined("No random item, sequence was empty."));
        add("reverse", "value", (_, a) => PyType.AsText(a[0]) is string s ? string.Concat(PyText.Points(s).Reverse()) : a[0] is JinjaGenerator or JinjaUndefined ? new JinjaList([.. PyType.Iterate(a[0]).Reverse()])
            : PyType.IsIterable(a[0]) ? new JinjaGenerator(Reversed(a[0])) : throw JinjaFilters.BadArgument("argument must be iterable"));
        add("sort", "value, reverse=False, case_sensitive=False, attribute=None", (_, a) =>
        {
            Func<object?, object?>[] keys = PyType.AsText(a[3]) is string many && many.Contains(',')
                ? [.. many.Split(',').Select(k => JinjaAttributes.Getter(k, lower: !PyType.IsTrue(a[2])))]
                : [JinjaAttributes.Getter(a[3], lower: !PyType.IsTrue(a[2]))];
            return new JinjaList(JinjaSort.Sorted(PyType.Iterate(a[0]), keys.Length == 1 ? keys[0] : i => new JinjaList([.. keys.Select(k => k(i))]), PyType.IsTrue(a[1])));
        });
        add("dictsort", "value, case_sensitive=False, by='key', reverse=False", (_, a) =>
        {
            int place = PyText.Str(a[2]) switch { "key" => 0, "value" => 1, _ => throw JinjaFilters.BadArgument("You can only sort by either \"key\" or \"value\"") };
            Func<object?, object?> lower = JinjaAttributes.Getter(null, lower: !PyType.IsTrue(a[1]));
            return new JinjaList(JinjaSort.Sorted(Pairs(a[0]), p => lower(((JinjaTuple)p!).Items[place]), PyType.IsTrue(a[3])));
        });
        add("items", "value", (_, a) => a[0] switch
        {
            JinjaUndefined => new JinjaGenerator([]),
            JinjaDict dict => new JinjaGenerator(new JinjaDictView(dict, "dict_items").Items()),
            _ => throw ChatTemplateException.Type("Can only get item pairs from a mapping."),
        });
        add("unique", "value, case_sensitive=False, attribute=None", (_, a) => new JinjaGenerator(Unique(a[0], JinjaAttributes.Getter(a[2], lower: !PyType.IsTrue(a[1])))));
        add("min", "value, case_sensitive=False, attribute=None", (_, a) => Extreme(a, "<"));
        add("max", "value, case_sensitive=False, attribute=None", (_, a) => Extreme(a, ">"));
        add("sum", "iterable, attribute=None, start=0", (run, a) =>
        {
            Func<object?, object?> getter = JinjaAttributes.Getter(a[1]);
            if (PyType.AsText(a[2]) is not null)
                throw ChatTemplateException.Type("sum() can't sum strings [use ''.join(seq) instead]");
            object? total = a[2];
            foreach (object? item in PyType.Iterate(a[0]))
            {
                run.Step();
                total = PyNumber.Binary("+", total, getter(item));
            }
            return total;
        });
        add("join", "value, d='', attribute=None", (_, a) =>
        {
            Func<object?, object?> getter = JinjaAttributes.Getter(a[2]);
            string separator = PyText.Str(a[1]);
            string[] parts = [.. PyType.Iterate(a[0]).Select(i => PyText.Str(getter(i)))];
            JinjaLimits.GuardText(parts.Sum(p => (long)p.Length + separator.Length));
            return string.Join(separator, parts);
        });
        add("batch", "value, linecount, fill_with=None", (_, a) => new JinjaGenerator(Batch(a[0], PyNumber.ToIndex(a[1]), a[2])));
        add("slice", "value, slices, fill_with=None", (_, a) => new JinjaGenerator(Slice(a[0], PyNumber.ToIndex(a[1]), a[2])));
        add("groupby", "value, attribute, default=None, case_sensitive=False", (_, a) => GroupBy(a));
        add("map", "value, *args, **kwargs", (run, a) => new JinjaGenerator(Map(run, a[0], (JinjaTuple)a[1]!, (JinjaDict)a[2]!)));
        foreach ((string name, bool keep, bool attribute) in new[] { ("select", true, false), ("reject", false, false), ("selectattr", true, true), ("rejectattr", false, true) })
            add(name, "value, *args, **kwargs", (run, a) => new JinjaGenerator(Select(run, a[0], ((JinjaTuple)a[1]!).Items, (JinjaDict)a[2]!, keep, attribute)));
    }

    private static JinjaList List(object? value)
    {
        List<object?> items = [];
        foreach (object? item in PyType.Iterate(value))
        {
            JinjaLimits.GuardItems(items.Count);
            items.Add(item);
        }
        return new(items);
    }

    private static object? First(IEnumerable<object?> items, string which)
    {
        foreach (object? item in items)
            return item;
        return new JinjaUndefined($"No {which} item, sequence was empty.");
    }

    private static IEnumerable<object?> Reversed(object? value) => value is JinjaGenerator || !PyType.IsIterable(value)
        ? throw ChatTemplateException.Type($"'{PyType.Name(value)}' object is not reversible")
        : PyType.Iterate(value).Reverse();

    private static IEnumerable<object?> Pairs(object? value) => value switch
    {
        JinjaDict dict => new JinjaDictView(dict, "dict_items").Items(),
        JinjaUndefined undefined => throw undefined.Error(),
        _ => throw new ChatTemplateException(ChatTemplateErrorKind.AttributeError, $"'{PyType.Name(value)}' object has no attribute 'items'"),
    };

    private static IEnumerable<object?> Unique(object? value, Func<object?, object?> key)
    {
        JinjaDict seen = new();
        foreach (object? item in PyType.Iterate(value))
        {
            object? k = key(item);
            if (seen.Has(k))
                continue;
            seen[k] = null;
            yield return item;
        }
    }

    private static object? Extreme(object?[] a, string op)
    {
        Func<object?, object?> key = JinjaAttributes.Getter(a[2], lower: !PyType.IsTrue(a[1]));
        bool any = false;
        object? best = null;
        foreach (object? item in PyType.Iterate(a[0]))
        {
            if (!any || PyEquality.Test(op, key(item), key(best)))
                best = item;
            any = true;
        }
        return any ? best : new JinjaUndefined("No aggregated item, sequence was empty.");
    }

    private static IEnumerable<object?> Batch(object? value, int size, object? fill)
    {
        List<object?> batch = [];
        foreach (object? item in PyType.Iterate(value))
        {
            if (batch.Count == size)
            {
                yield return new JinjaList(batch);
                batch = [];
            }
            batch.Add(item);
        }
        if (batch.Count == 0)
            yield break;
        JinjaLimits.GuardItems(size);
        while (fill is not null && batch.Count < size)
            batch.Add(fill);
        yield return new JinjaList(batch);
    }

    private static IEnumerable<object?> Slice(object? value, int slices, object? fill)
    {
        IReadOnlyList<object?> items = List(value).Items;
        if (slices == 0)
            throw new ChatTemplateException(ChatTemplateErrorKind.ZeroDivisionError, "integer division or modulo by zero");
        JinjaLimits.GuardItems(slices);
        int each = items.Count / slices, more = items.Count % slices, at = 0;
        for (int s = 0; s < slices; s++)
        {
            int size = each + (s < more ? 1 : 0);
            List<object?> part = [.. items.Skip(at).Take(size)];
            at += size;
            if (fill is not null && s >= more)
                part.Add(fill);
            yield return new JinjaList(part);
        }
    }

    private static JinjaList GroupBy(object?[] a)
    {
        Func<object?, object?> key = JinjaAttributes.Getter(a[1], a[2], lower: !PyType.IsTrue(a[3])), shown = JinjaAttributes.Getter(a[1], a[2]);
        List<object?> groups = [];
        List<object?> members = [];
        void Close()
        {
            if (members.Count > 0)
                groups.Add(new JinjaTuple(shown(members[0]), new JinjaList(members)) { IsGroup = true });
            members = [];
        }
        foreach (object? item in JinjaSort.Sorted(PyType.Iterate(a[0]), key, false))
        {
            if (members.Count > 0 && !PyEquality.Same(key(members[0]), key(item)))
                Close();
            members.Add(item);
        }
        Close();
        return new(groups);
    }

    private static IEnumerable<object?> Map(JinjaRun run, object? value, JinjaTuple args, JinjaDict named)
    {
        if (!PyType.IsTrue(value))
            yield break;
        Func<object?, object?> map;
        if (args.Items.Count == 0 && named.TryGet("attribute", out object? attribute))
        {
            named.TryGet("default", out object? absent);
            if (named.Keys.FirstOrDefault(k => k is not ("attribute" or "default")) is object other)
                throw JinjaFilters.BadArgument($"Unexpected keyword argument {PyText.Repr(other)}");
            map = JinjaAttributes.Getter(attribute, absent);
        }
        else
        {
            if (args.Items.Count == 0)
                throw JinjaFilters.BadArgument("map requires a filter argument");
            string name = PyText.Str(args.Items[0]);
            object?[] rest = [.. args.Items.Skip(1)];
            map = item => JinjaFilters.Call(run, name, item, rest, named);
        }
        foreach (object? item in PyType.Iterate(value))
            yield return map(item);
    }

    private static IEnumerable<object?> Select(JinjaRun run, object? value, IReadOnlyList<object?> args, JinjaDict named, bool keep, bool attribute)
    {
        if (!PyType.IsTrue(value))
            yield break;
        if (attribute && args.Count == 0)
            throw JinjaFilters.BadArgument("Missing parameter for attribute name");
        Func<object?, object?> getter = JinjaAttributes.Getter(attribute ? args[0] : null);
        int off = attribute ? 1 : 0;
        List<object?> rest = [.. args.Skip(off + 1)];
        foreach (object? item in PyType.Iterate(value))
        {
            run.Step();
            object? tested = getter(item);
            if (keep == (args.Count > off ? JinjaTests.Call(run, PyText.Str(args[off]), tested, rest, named) : PyType.IsTrue(tested)))
                yield return item;
        }
    }
}
