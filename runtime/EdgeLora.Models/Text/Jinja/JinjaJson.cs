using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Models;

/// <summary>JSON to a template's values, and the filter tojson: Python's json.dumps, nothing escaped for HTML.</summary>
internal static class JinjaJson
{
    /// <summary>Numbers without a fraction or exponent become integers of any size.</summary>
    public static object? Read(JsonElement element)
    {
        JinjaLimits.GuardStack();
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                JinjaDict dict = new();
                foreach (JsonProperty property in element.EnumerateObject())
                    dict[property.Name] = Read(property.Value);
                return dict;
            case JsonValueKind.Array:
                return new JinjaList([.. element.EnumerateArray().Select(Read)]);
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Number:
                string text = element.GetRawText();
                return text.AsSpan().IndexOfAny('.', 'e', 'E') < 0 ? PyNumber.Of(BigInteger.Parse(text, CultureInfo.InvariantCulture)) : double.Parse(text, CultureInfo.InvariantCulture);
            case JsonValueKind.True or JsonValueKind.False:
                return element.ValueKind == JsonValueKind.True;
            default:
                return null;
        }
    }

    /// <summary>A value of an application: what JSON can hold, lists and dictionaries of it.</summary>
    public static object? Read(object? value, string name)
    {
        switch (value)
        {
            case null or bool or string or long or double or BigInteger:
                return value is BigInteger big ? PyNumber.Of(big) : value;
            case int or short or byte or uint or ushort or sbyte:
                return Convert.ToInt64(value, CultureInfo.InvariantCulture);
            case float f:
                return (double)f;
            case JsonElement element:
                return Read(element);
            case JsonNode node:
                using (JsonDocument document = JsonDocument.Parse(node.ToJsonString()))
                    return Read(document.RootElement);
            case IEnumerable<KeyValuePair<string, object?>> pairs:
                JinjaDict dict = new();
                foreach ((string key, object? item) in pairs)
                    dict[key] = Read(item, $"{name}.{key}");
                return dict;
            case System.Collections.IEnumerable items:
                return new JinjaList([.. items.Cast<object?>().Select((item, i) => Read(item, $"{name}[{i}]"))]);
            default:
                throw new ArgumentException($"{name}: expected null, a bool, number, text, JSON, or a list or dictionary of them, found {value.GetType()}");
        }
    }

    /// <summary>json.dumps(value, ...).</summary>
    public static string Write(object? value, object? ensureAscii, object? indent, object? separators, object? sortKeys)
    {
        string? margin = indent is null ? null : PyType.AsText(indent) ?? new string(' ', Math.Clamp(PyNumber.ToIndex(indent), 0, 1000));
        (string item, string key) = (margin is null ? ", " : ",", ": ");
        if (separators is not null)
        {
            object?[] two = [.. PyType.Iterate(separators).Take(3)];
            if (two.Length != 2)
                throw ChatTemplateException.Value("separators: expected two texts");
            (item, key) = (PyText.Str(two[0]), PyText.Str(two[1]));
        }
        StringBuilder text = new();
        Write(text, value, 0, new(PyType.IsTrue(ensureAscii), margin, item, key, PyType.IsTrue(sortKeys)));
        return text.ToString();
    }

    private sealed record Style(bool Ascii, string? Margin, string Item, string Key, bool Sorted);

    private static void Write(StringBuilder text, object? value, int depth, Style style)
    {
        JinjaLimits.GuardStack();
        JinjaLimits.GuardText(text.Length);
        void Line(int at)
        {
            if (style.Margin is null)
                return;
            JinjaLimits.GuardText((long)style.Margin.Length * at);
            text.Append('\n');
            for (int i = 0; i < at; i++)
                text.Append(style.Margin);
        }
        switch (value)
        {
            case null:
                text.Append("null");
                break;
            case bool b:
                text.Append(b ? "true" : "false");
                break;
            case double d:
                text.Append(double.IsNaN(d) ? "NaN" : double.IsInfinity(d) ? d > 0 ? "Infinity" : "-Infinity" : PyFloat.Repr(d));
                break;
            case long or BigInteger:
                text.Append(PyText.Repr(value));
                break;
            case string or JinjaMarkup:
                Quote(text, PyType.AsText(value)!, style.Ascii);
                break;
            case JinjaList or JinjaTuple:
                IReadOnlyList<object?> items = (value as JinjaList)?.Items ?? ((JinjaTuple)value).Items;
                text.Append('[');
                for (int i = 0; i < items.Count; i++)
                {
                    text.Append(i > 0 ? style.Item : "");
                    Line(depth + 1);
                    Write(text, items[i], depth + 1, style);
                }
                if (items.Count > 0)
                    Line(depth);
                text.Append(']');
                break;
            case JinjaDict dict:
                List<KeyValuePair<object?, object?>> entries = [.. dict.Entries];
                if (style.Sorted)
                    entries = JinjaSort.Sorted(entries, e => e.Key, false);
                text.Append('{');
                for (int i = 0; i < entries.Count; i++)
                {
                    text.Append(i > 0 ? style.Item : "");
                    Line(depth + 1);
                    Quote(text, Key(entries[i].Key), style.Ascii);
                    text.Append(style.Key);
                    Write(text, entries[i].Value, depth + 1, style);
                }
                if (entries.Count > 0)
                    Line(depth);
                text.Append('}');
                break;
            default:
                throw ChatTemplateException.Type($"Object of type {(value is JinjaFunction ? "function" : PyType.Name(value))} is not JSON serializable");
        }
    }

    private static string Key(object? key) => key switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        string or JinjaMarkup or long or BigInteger or double => PyText.Str(key),
        _ => throw ChatTemplateException.Type($"keys must be str, int, float, bool or None, not {PyType.Name(key)}"),
    };

    private static void Quote(StringBuilder text, string value, bool ascii)
    {
        text.Append('"');
        foreach (char c in value)
            text.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\b' => "\\b",
                '\f' => "\\f",
                < ' ' => $"\\u{(int)c:x4}",
                > '~' when ascii && c != '\x7f' => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        text.Append('"');
    }
}
