using System.Numerics;

namespace EdgeLora.Models;

// A template's values are .NET objects: null is None, then bool, long, BigInteger (only beyond long), double, string and the classes below.

/// <summary>Something that is not there. Prints as nothing; using it raises.</summary>
internal sealed class JinjaUndefined(string message, ChatTemplateErrorKind kind = ChatTemplateErrorKind.UndefinedError)
{
    public static JinjaUndefined Name(string name) => new($"'{name}' is undefined");

    public static JinjaUndefined Member(object? owner, object? name) => new(name is string text
        ? $"{PyText.Repr(PyType.ObjectName(owner))} has no attribute {PyText.Repr(text)}"
        : $"{PyType.ObjectName(owner)} has no element {PyText.Repr(name)}");

    public static JinjaUndefined Unsafe(object? owner, string name) =>
        new($"access to attribute {PyText.Repr(name)} of {PyText.Repr(PyType.Name(owner))} object is unsafe.", ChatTemplateErrorKind.SecurityError);

    public ChatTemplateException Error() => new(kind, message);
}

/// <summary>A string marked as safe for HTML. Behaves as its text; only + and escape look at the mark.</summary>
internal sealed class JinjaMarkup(string text)
{
    public string Text { get; } = text;

    public override string ToString() => Text;
}

/// <summary>A Python list. Templates cannot change one once it is made.</summary>
internal sealed class JinjaList(IReadOnlyList<object?> items)
{
    public IReadOnlyList<object?> Items { get; } = items;
}

/// <summary>A Python tuple.</summary>
internal sealed class JinjaTuple(params object?[] items)
{
    /// <summary>True for what groupby gives: its items are also called grouper and list.</summary>
    public bool IsGroup { get; init; }

    public IReadOnlyList<object?> Items { get; } = items;
}

/// <summary>The bytes that str.encode gives.</summary>
internal sealed class JinjaBytes(byte[] bytes)
{
    public byte[] Bytes { get; } = bytes;
}

/// <summary>A Python range.</summary>
internal sealed class JinjaRange(BigInteger start, BigInteger stop, BigInteger step)
{
    public BigInteger Start { get; } = start;
    public BigInteger Stop { get; } = stop;
    public BigInteger Step { get; } = step;

    public BigInteger Length { get; } = step.Sign > 0
        ? BigInteger.Max(0, (stop - start + step - 1) / step)
        : BigInteger.Max(0, (start - stop - step - 1) / -step);

    public object At(BigInteger index) => PyNumber.Of(Start + index * Step);
}

/// <summary>Values made while they are asked for; can be walked once.</summary>
internal sealed class JinjaGenerator(IEnumerable<object?> items)
{
    private readonly IEnumerator<object?> items = items.GetEnumerator();

    public IEnumerable<object?> Rest()
    {
        while (items.MoveNext())
            yield return items.Current;
    }
}

/// <summary>What dict.keys(), values() and items() give.</summary>
internal sealed class JinjaDictView(JinjaDict owner, string kind)
{
    public JinjaDict Owner { get; } = owner;

    /// <summary>dict_keys, dict_values or dict_items.</summary>
    public string Kind { get; } = kind;

    public IEnumerable<object?> Items() => Kind switch
    {
        "dict_keys" => Owner.Keys,
        "dict_values" => Owner.Entries.Select(e => e.Value),
        _ => Owner.Entries.Select(e => (object?)new JinjaTuple(e.Key, e.Value)),
    };
}

/// <summary>A Python dict: keeps the order in which keys came, and the first of two equal keys.</summary>
internal sealed class JinjaDict
{
    // Stands for None, which a Dictionary does not take as a key.
    private static readonly object NoneKey = new();

    private readonly Dictionary<object, int> places = new(PyEquality.Instance);
    private readonly List<KeyValuePair<object?, object?>> entries = [];

    public IReadOnlyList<KeyValuePair<object?, object?>> Entries => entries;

    public IEnumerable<object?> Keys => entries.Select(e => e.Key);

    public int Count => entries.Count;

    public object? this[object? key]
    {
        set
        {
            if (places.TryGetValue(Wrap(key), out int at))
            {
                entries[at] = new(entries[at].Key, value);
                return;
            }
            places.Add(Wrap(key), entries.Count);
            entries.Add(new(key, value));
        }
    }

    public bool TryGet(object? key, out object? value)
    {
        bool found = places.TryGetValue(Wrap(key), out int at);
        value = found ? entries[at].Value : null;
        return found;
    }

    public bool Has(object? key) => places.ContainsKey(Wrap(key));

    private static object Wrap(object? key)
    {
        PyEquality.RequireHashable(key);
        return key ?? NoneKey;
    }
}

/// <summary>The object behind namespace(): the one thing a template can assign into.</summary>
internal sealed class JinjaNamespace
{
    public Dictionary<string, object?> Attributes { get; } = new(StringComparer.Ordinal);
}

/// <summary>cycler(...).</summary>
internal sealed class JinjaCycler(IReadOnlyList<object?> items)
{
    private int at;

    public object? Current => items[at];

    public object? Next()
    {
        object? current = items[at];
        at = (at + 1) % items.Count;
        return current;
    }

    public void Reset() => at = 0;
}

/// <summary>joiner(...): nothing at the first call, the separator afterwards.</summary>
internal sealed class JinjaJoiner(object? separator)
{
    private bool used;

    public object? Next()
    {
        object? text = used ? separator : "";
        used = true;
        return text;
    }
}

/// <summary>The variable self: the template's blocks by name.</summary>
internal sealed class JinjaSelf(IReadOnlyDictionary<string, JinjaStatement> blocks)
{
    public IReadOnlyDictionary<string, JinjaStatement> Blocks { get; } = blocks;
}

/// <summary>Anything a template can call.</summary>
internal interface IJinjaCallable
{
    /// <summary>The callable as Python prints it.</summary>
    string Representation { get; }

    /// <summary>Calls it. The keyword arguments are in the order of the call.</summary>
    object? Call(JinjaRun run, IReadOnlyList<object?> positional, JinjaDict? named);
}

/// <summary>A function or bound method of the engine.</summary>
internal sealed class JinjaFunction(string representation, PyParameters parameters, Func<JinjaRun, object?[], object?> body) : IJinjaCallable
{
    public string Representation { get; } = representation;

    public object? Call(JinjaRun run, IReadOnlyList<object?> positional, JinjaDict? named) => body(run, parameters.Bind(positional, named));
}
