using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>str.format: {}, {0}, {name.attribute[key]!r:spec}, looked up as the sandbox looks up attributes.</summary>
internal static class PyBraceFormat
{
    public static string Apply(string format, JinjaTuple positional, JinjaDict named)
    {
        int automatic = 0;
        return Apply(format, positional, named, ref automatic, 2);
    }

    private static string Apply(string format, JinjaTuple positional, JinjaDict named, ref int automatic, int depth)
    {
        if (depth < 0)
            throw ChatTemplateException.Value("Max string recursion exceeded");
        StringBuilder text = new();
        for (int i = 0; i < format.Length; i++)
        {
            char c = format[i];
            if (c is not ('{' or '}'))
            {
                text.Append(c);
                continue;
            }
            if (i + 1 < format.Length && format[i + 1] == c)
            {
                text.Append(c);
                i++;
                continue;
            }
            if (c == '}')
                throw ChatTemplateException.Value("Single '}' encountered in format string");
            int end = i + 1;
            for (int open = 1; end < format.Length; end++)
            {
                open += format[end] == '{' ? 1 : format[end] == '}' ? -1 : 0;
                if (open == 0)
                    break;
            }
            if (end >= format.Length)
                throw ChatTemplateException.Value(i + 1 == format.Length ? "Single '{' encountered in format string" : "expected '}' before end of string");
            string field = format[(i + 1)..end];
            i = end;
            string spec = "";
            char conversion = ' ';
            int bracket = field.IndexOf(']'), colon = field.IndexOf(':', Math.Max(0, field.IndexOf('[') is int b and >= 0 && bracket > b ? bracket : 0));
            if (colon >= 0)
                (field, spec) = (field[..colon], field[(colon + 1)..]);
            if (field.Length >= 2 && field[^2] == '!')
                (field, conversion) = (field[..^2], field[^1]);
            object? value = Field(field, positional, named, ref automatic);
            if (spec.Contains('{'))
                spec = Apply(spec, positional, named, ref automatic, depth - 1);
            if (conversion != ' ')
                value = conversion switch { 'r' or 'a' => PyText.Repr(value), 's' => PyText.Str(value), _ => throw ChatTemplateException.Value($"Unknown conversion specifier {conversion}") };
            text.Append(spec.Length == 0 ? PyText.Str(value) : PyFormatSpec.Parse(spec).Apply(value));
            JinjaLimits.GuardText(text.Length);
        }
        return text.ToString();
    }

    private static object? Field(string field, JinjaTuple positional, JinjaDict named, ref int automatic)
    {
        int end = field.IndexOfAny(['.', '[']);
        string first = end < 0 ? field : field[..end];
        object? value;
        if (first.Length == 0 || first.All(char.IsAsciiDigit))
        {
            if (first.Length == 0 && automatic < 0)
                throw ChatTemplateException.Value("cannot switch from manual field specification to automatic field numbering");
            if (first.Length > 0 && automatic > 0)
                throw ChatTemplateException.Value("cannot switch from automatic field numbering to manual field specification");
            int index = first.Length == 0 ? automatic++ : int.TryParse(first, CultureInfo.InvariantCulture, out int n) ? n : int.MaxValue;
            if (first.Length > 0)
                automatic = -1;
            value = index < positional.Items.Count ? positional.Items[index] : throw new ChatTemplateException(ChatTemplateErrorKind.IndexError, $"Replacement index {index} out of range for positional args tuple");
        }
        else if (!named.TryGet(first, out value))
            throw new ChatTemplateException(ChatTemplateErrorKind.KeyError, PyText.Repr(first));
        for (int i = end; i >= 0 && i < field.Length;)
        {
            if (field[i] == '.')
            {
                int next = field.IndexOfAny(['.', '['], i + 1);
                value = JinjaAttributes.Attribute(value, field[(i + 1)..(next < 0 ? field.Length : next)]);
                i = next;
            }
            else
            {
                int close = field.IndexOf(']', i);
                if (close < 0)
                    throw ChatTemplateException.Value("Missing ']' in format string");
                string key = field[(i + 1)..close];
                value = JinjaAttributes.Item(value, key.Length > 0 && key.All(char.IsAsciiDigit) && key.Length < 10 ? long.Parse(key, CultureInfo.InvariantCulture) : key);
                i = close + 1;
            }
        }
        return value;
    }
}
