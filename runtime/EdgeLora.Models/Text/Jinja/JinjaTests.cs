using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Jinja's tests: <c>x is name</c>.</summary>
internal static class JinjaTests
{
    private static readonly Dictionary<string, (PyParameters Parameters, Func<object?[], bool> Body)> All = new(StringComparer.Ordinal);

    static JinjaTests()
    {
        void Add(string names, string signature, Func<object?[], bool> body)
        {
            string[] all = names.Split(' ');
            foreach (string name in all)
                All[name] = (new("test_" + all[0], signature), body);
        }
        Add("odd", "value", a => IntegerOf(PyNumber.Binary("%", a[0], 2L)) == 1);
        Add("even", "value", a => IntegerOf(PyNumber.Binary("%", a[0], 2L)) == 0);
        Add("divisibleby", "value, num", a => IntegerOf(PyNumber.Binary("%", a[0], a[1])) == 0);
        Add("defined", "value", a => a[0] is not JinjaUndefined);
        Add("undefined", "value", a => a[0] is JinjaUndefined);
        Add("filter", "value", a => PyType.AsText(a[0]) is string name && JinjaFilters.Exists(name));
        Add("test", "value", a => PyType.AsText(a[0]) is string name && Exists(name));
        Add("none", "value", a => a[0] is null);
        Add("boolean", "value", a => a[0] is bool);
        Add("true", "value", a => a[0] is true);
        Add("false", "value", a => a[0] is false);
        Add("integer", "value", a => a[0] is long or BigInteger);
        Add("float", "value", a => a[0] is double);
        Add("number", "value", a => PyNumber.IsNumber(a[0]));
        Add("string", "value", a => PyType.AsText(a[0]) is not null);
        Add("lower", "value", a => PyCase.IsAllLower(PyText.Str(a[0])));
        Add("upper", "value", a => PyCase.IsAllUpper(PyText.Str(a[0])));
        Add("mapping", "value", a => a[0] is JinjaDict);
        Add("iterable", "value", a => PyType.IsIterable(a[0]));
        // Jinja asks for len() and an indexer; these have both.
        Add("sequence", "value", a => a[0] is string or JinjaMarkup or JinjaList or JinjaTuple or JinjaDict or JinjaRange or JinjaBytes or JinjaUndefined);
        Add("callable", "value", a => a[0] is IJinjaCallable or JinjaJoiner or JinjaUndefined or JinjaLoop);
        Add("sameas", "value, other", a => ReferenceEquals(a[0], a[1]) || (PyType.Name(a[0]) == PyType.Name(a[1]) && a[0] is null or bool or long or string && Equals(a[0], a[1])));
        Add("escaped", "value", a => a[0] is JinjaMarkup);
        Add("in", "value, seq", a => PyEquality.Contains(a[1], a[0]));
        foreach ((string names, string op) in new[] { ("eq == equalto", "=="), ("ne !=", "!="), ("gt > greaterthan", ">"), ("ge >=", ">="), ("lt < lessthan", "<"), ("le <=", "<=") })
            Add(names, "a, b", a => PyEquality.Test(op, a[0], a[1]));
    }

    public static bool Exists(string name) => All.ContainsKey(name);

    public static bool Call(JinjaRun run, string name, object? value, List<object?> positional, JinjaDict? named)
    {
        run.Step();
        if (!All.TryGetValue(name, out (PyParameters Parameters, Func<object?[], bool> Body) test))
            throw new ChatTemplateException(ChatTemplateErrorKind.TemplateRuntimeError, $"No test named {PyText.Repr(name)}.");
        return test.Body(test.Parameters.Bind([value, .. positional], named));
    }

    private static double IntegerOf(object? value) => value is string ? throw ChatTemplateException.Type("not all arguments converted during string formatting") : PyNumber.ToDouble(value);
}
