using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Python's ==, hash, &lt; and in.</summary>
internal sealed class PyEquality : IEqualityComparer<object>
{
    public static PyEquality Instance { get; } = new();

    bool IEqualityComparer<object>.Equals(object? a, object? b) => Same(a, b);

    int IEqualityComparer<object>.GetHashCode(object value) => Hash(value);

    public static bool Same(object? a, object? b)
    {
        JinjaLimits.GuardStack();
        if (ReferenceEquals(a, b))
            return a is not double d || !double.IsNaN(d);
        if (PyNumber.IsInteger(a, out BigInteger m))
            return PyNumber.IsInteger(b, out BigInteger n) ? m == n : b is double e && SameNumber(m, e);
        if (a is double x)
            return b is double y ? x == y : PyNumber.IsInteger(b, out BigInteger n) && SameNumber(n, x);
        if (PyType.AsText(a) is string s)
            return PyType.AsText(b) is string t && s == t;
        return (a, b) switch
        {
            (JinjaUndefined, JinjaUndefined) => true,
            (JinjaList l, JinjaList k) => SameItems(l.Items, k.Items),
            (JinjaTuple l, JinjaTuple k) => SameItems(l.Items, k.Items),
            (JinjaDict p, JinjaDict q) => p.Count == q.Count && p.Entries.All(e => q.TryGet(e.Key, out object? other) && Same(e.Value, other)),
            (JinjaRange p, JinjaRange q) => p.Length == q.Length && (p.Length.IsZero || (p.Start == q.Start && (p.Length.IsOne || p.Step == q.Step))),
            (JinjaBytes p, JinjaBytes q) => p.Bytes.AsSpan().SequenceEqual(q.Bytes),
            (JinjaDictView p, JinjaDictView q) when p.Kind == q.Kind && p.Kind != "dict_values" => p.Owner.Count == q.Owner.Count && p.Items().All(i => q.Items().Any(j => Same(i, j))),
            _ => false,
        };
    }

    /// <summary>Python's identity or ==, as containers compare their items.</summary>
    public static bool SameItem(object? a, object? b) => ReferenceEquals(a, b) || Same(a, b);

    public static void RequireHashable(object? value)
    {
        JinjaLimits.GuardStack();
        if (value is JinjaList or JinjaDict or JinjaNamespace or PySlice)
            throw ChatTemplateException.Type($"unhashable type: '{PyType.Name(value)}'");
        if (value is JinjaTuple tuple)
            foreach (object? item in tuple.Items)
                RequireHashable(item);
    }

    /// <summary>-1, 0 or 1; raises where Python has no order.</summary>
    public static int Compare(string op, object? a, object? b)
    {
        JinjaLimits.GuardStack();
        if (a is JinjaUndefined left)
            throw left.Error();
        if (b is JinjaUndefined right)
            throw right.Error();
        if (PyNumber.IsInteger(a, out BigInteger m) && PyNumber.IsInteger(b, out BigInteger n))
            return m.CompareTo(n);
        if (PyNumber.IsNumber(a) && PyNumber.IsNumber(b))
            return CompareNumbers(a, b);
        if (PyType.AsText(a) is string s && PyType.AsText(b) is string t)
            return PyText.Compare(s, t);
        IReadOnlyList<object?>? p = (a as JinjaList)?.Items ?? (a as JinjaTuple)?.Items, q = (b as JinjaList)?.Items ?? (b as JinjaTuple)?.Items;
        if (p is null || q is null || a is JinjaList != b is JinjaList)
            throw ChatTemplateException.Type($"'{op}' not supported between instances of '{PyType.Name(a)}' and '{PyType.Name(b)}'");
        for (int i = 0; i < p.Count && i < q.Count; i++)
            if (!SameItem(p[i], q[i]))
                return Compare(op, p[i], q[i]);
        return p.Count.CompareTo(q.Count);
    }

    /// <summary>The result of a comparison operator.</summary>
    public static bool Test(string op, object? a, object? b) => op switch
    {
        "==" => Same(a, b),
        "!=" => !Same(a, b),
        "in" => Contains(b, a),
        "not in" => !Contains(b, a),
        _ when a is double.NaN || b is double.NaN => false,
        "<" => Compare(op, a, b) < 0,
        "<=" => Compare(op, a, b) <= 0,
        ">" => Compare(op, a, b) > 0,
        _ => Compare(op, a, b) >= 0,
    };

    public static bool Contains(object? container, object? item)
    {
        if (PyType.AsText(container) is string text)
            return PyType.AsText(item) is string part
                ? text.Contains(part, StringComparison.Ordinal)
                : throw (item is JinjaUndefined u ? ChatTemplateException.Type("'in <string>' requires string as left operand, not Undefined") : ChatTemplateException.Type($"'in <string>' requires string as left operand, not {PyType.Name(item)}"));
        if (container is JinjaDict dict)
            return dict.Has(item);
        if (!PyType.IsIterable(container))
            throw ChatTemplateException.Type($"argument of type '{PyType.Name(container)}' is not iterable");
        return PyType.Iterate(container).Any(i => SameItem(i, item));
    }

    private static int Hash(object value)
    {
        switch (value)
        {
            case JinjaTuple tuple:
                HashCode code = new();
                foreach (object? item in tuple.Items)
                    code.Add(item is null ? 0 : Hash(item));
                return code.ToHashCode();
            case double d when d == Math.Floor(d) && double.IsFinite(d):
                return new BigInteger(d).GetHashCode();
            case JinjaMarkup m:
                return m.Text.GetHashCode();
            case JinjaUndefined:
                return 1;
            case JinjaRange or JinjaBytes or JinjaDictView:
                return 2;
            default:
                return PyNumber.IsInteger(value, out BigInteger n) ? n.GetHashCode() : value.GetHashCode();
        }
    }

    private static bool SameNumber(BigInteger n, double d) => double.IsFinite(d) && d == Math.Floor(d) && new BigInteger(d) == n;

    private static int CompareNumbers(object? a, object? b)
    {
        if (a is double x && b is double y)
            return x.CompareTo(y);
        if (a is double)
            return -CompareNumbers(b, a);
        double d = (double)b!;
        if (double.IsInfinity(d))
            return d > 0 ? -1 : 1;
        _ = PyNumber.IsInteger(a, out BigInteger n);
        int order = n.CompareTo(new BigInteger(Math.Floor(d)));
        return order != 0 ? order : d > Math.Floor(d) ? -1 : 0;
    }

    private static bool SameItems(IReadOnlyList<object?> a, IReadOnlyList<object?> b)
    {
        if (a.Count != b.Count)
            return false;
        for (int i = 0; i < a.Count; i++)
            if (!SameItem(a[i], b[i]))
                return false;
        return true;
    }
}
