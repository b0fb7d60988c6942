using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Python's names of types, truth, length and iteration.</summary>
internal static class PyType
{
    public static string Name(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        JinjaMarkup => "Markup",
        JinjaList => "list",
        JinjaTuple => "tuple",
        JinjaDict => "dict",
        JinjaRange => "range",
        JinjaGenerator => "generator",
        JinjaDictView view => view.Kind,
        JinjaBytes => "bytes",
        JinjaUndefined => "Undefined",
        JinjaNamespace => "Namespace",
        JinjaCycler => "Cycler",
        JinjaJoiner => "Joiner",
        JinjaLoop => "LoopContext",
        JinjaMacro => "Macro",
        JinjaSelf => "TemplateReference",
        PySlice => "slice",
        _ => "builtin_function_or_method",
    };

    /// <summary>The type as Jinja names an object in its messages.</summary>
    public static string ObjectName(object? value) => value switch
    {
        null => "None",
        JinjaMarkup => "markupsafe.Markup object",
        JinjaUndefined or JinjaLoop or JinjaMacro or JinjaSelf => $"jinja2.runtime.{Name(value)} object",
        JinjaNamespace or JinjaCycler or JinjaJoiner => $"jinja2.utils.{Name(value)} object",
        _ => Name(value) + " object",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or JinjaUndefined => false,
        bool b => b,
        long n => n != 0,
        BigInteger n => !n.IsZero,
        double d => d != 0,
        string s => s.Length > 0,
        JinjaMarkup m => m.Text.Length > 0,
        JinjaList l => l.Items.Count > 0,
        JinjaTuple t => t.Items.Count > 0,
        JinjaDict d => d.Count > 0,
        JinjaRange r => !r.Length.IsZero,
        JinjaDictView v => v.Owner.Count > 0,
        JinjaBytes b => b.Bytes.Length > 0,
        _ => true,
    };

    /// <summary>len(value), or null where it has none.</summary>
    public static BigInteger? Length(object? value) => value switch
    {
        JinjaUndefined => 0,
        string s => PyText.Length(s),
        JinjaMarkup m => PyText.Length(m.Text),
        JinjaList l => l.Items.Count,
        JinjaTuple t => t.Items.Count,
        JinjaDict d => d.Count,
        JinjaRange r => r.Length,
        JinjaDictView v => v.Owner.Count,
        JinjaBytes b => b.Bytes.Length,
        JinjaLoop loop => loop.Length,
        _ => null,
    };

    public static bool IsIterable(object? value) => value is JinjaUndefined or string or JinjaMarkup or JinjaList or JinjaTuple or JinjaDict or JinjaRange or JinjaGenerator or JinjaDictView or JinjaBytes or JinjaLoop;

    /// <summary>The items of a value, as iter() gives them.</summary>
    public static IEnumerable<object?> Iterate(object? value) => value switch
    {
        JinjaUndefined => [],
        string s => PyText.Points(s),
        JinjaMarkup m => PyText.Points(m.Text),
        JinjaList l => l.Items,
        JinjaTuple t => t.Items,
        JinjaDict d => d.Keys,
        JinjaRange r => Walk(r),
        JinjaGenerator g => g.Rest(),
        JinjaDictView v => v.Items(),
        JinjaBytes b => b.Bytes.Select(x => (object?)(long)x),
        JinjaLoop loop => loop.Rest(),
        _ => throw ChatTemplateException.Type($"'{Name(value)}' object is not iterable"),
    };

    /// <summary>The text of a string or markup; otherwise null.</summary>
    public static string? AsText(object? value) => value as string ?? (value as JinjaMarkup)?.Text;

    private static IEnumerable<object?> Walk(JinjaRange range)
    {
        for (BigInteger i = 0; i < range.Length; i++)
            yield return range.At(i);
    }
}
