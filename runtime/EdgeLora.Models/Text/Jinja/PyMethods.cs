using System.Numerics;

namespace EdgeLora.Models;

/// <summary>The methods of Python's str, list, tuple and dict that a template may call.</summary>
internal static partial class PyMethods
{
    private delegate object? Method(object self, object?[] arguments);

    private static readonly Dictionary<(string Type, string Name), (PyParameters Parameters, Method Body)> All = [];

    static PyMethods()
    {
        Add("dict", "get", "key, default=None", (s, a) => ((JinjaDict)s).TryGet(a[0], out object? value) ? value : a[1]);
        Add("dict", "keys", "", (s, _) => new JinjaDictView((JinjaDict)s, "dict_keys"));
        Add("dict", "values", "", (s, _) => new JinjaDictView((JinjaDict)s, "dict_values"));
        Add("dict", "items", "", (s, _) => new JinjaDictView((JinjaDict)s, "dict_items"));
        Add("dict", "copy", "", (s, _) => s);
        Add("dict", "fromkeys", "iterable, value=None", (_, a) =>
        {
            JinjaDict dict = new();
            foreach (object? key in PyType.Iterate(a[0]))
                dict[key] = a[1];
            return dict;
        });
        foreach (string type in new[] { "list", "tuple", "range" })
        {
            Add(type, "index", "value, start=0, stop=None", (s, a) => IndexOf(s, a));
            Add(type, "count", "value", (s, a) => PyType.Iterate(s).LongCount(i => PyEquality.SameItem(i, a[0])));
        }
        Add("list", "copy", "", (s, _) => s);
        Add("bytes", "decode", "encoding='utf-8', errors='strict'", (s, _) => System.Text.Encoding.UTF8.GetString(((JinjaBytes)s).Bytes));
        foreach ((string type, string name) in new[] { ("int", "bit_length"), ("bool", "bit_length") })
            Add(type, name, "", (s, _) => PyNumber.IsInteger(s, out BigInteger n) ? (long)BigInteger.Abs(n).GetBitLength() : 0L);
        Add("float", "is_integer", "", (s, _) => (double)s == Math.Floor((double)s) && double.IsFinite((double)s));
        AddText();
        AddPredicates();
    }

    public static bool TryBind(object? self, string name, out object? method)
    {
        method = null;
        string type = self is JinjaMarkup ? "str" : PyType.Name(self);
        if (self is null || !All.TryGetValue((type, name), out (PyParameters Parameters, Method Body) found))
            return false;
        object receiver = self is JinjaMarkup m ? m.Text : self;
        method = new JinjaFunction($"<built-in method {name} of {type} object>", found.Parameters, (_, a) => found.Body(receiver, a));
        return true;
    }

    private static void Add(string type, string name, string signature, Method body) => All[(type, name)] = (new(name, signature), body);

    private static object IndexOf(object self, object?[] a)
    {
        object?[] items = [.. PyType.Iterate(self)];
        (int start, int stop) = Window(items.Length, a[1], a[2]);
        for (int i = start; i < stop; i++)
            if (PyEquality.SameItem(items[i], a[0]))
                return (long)i;
        throw ChatTemplateException.Value(self is JinjaList ? $"{PyText.Repr(a[0])} is not in list" : "tuple.index(x): x not in tuple");
    }

    private static (int Start, int Stop) Window(int length, object? start, object? stop)
    {
        int At(object? bound, int absent) => bound is null ? absent : PyNumber.ToIndex(bound) is int i && i < 0 ? Math.Max(0, i + length) : Math.Min(length, PyNumber.ToIndex(bound));
        return (At(start, 0), At(stop, length));
    }
}
