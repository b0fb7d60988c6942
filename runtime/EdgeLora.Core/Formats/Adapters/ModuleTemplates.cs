using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// Names of a model's modules as its structure gives them, with running numbers left open: <c>down_blocks.#.resnets.#.conv1</c>. A name whose dots became underscores is found again by matching it
/// with every template, never by splitting it: <c>to_out_0</c> is <c>to_out.0</c>, <c>conv_in</c> stays <c>conv_in</c>. Two templates that one such name could mean are a fault of the list.
/// </summary>
public sealed class ModuleTemplates
{
    private readonly Dictionary<string, List<string>> _byKey = new(StringComparer.Ordinal);

    /// <summary>Templates with alternatives in braces: <c>attn1.{to_q,to_out.0}</c>; # is any whole number.</summary>
    public ModuleTemplates(params ReadOnlySpan<string> patterns)
    {
        foreach (string pattern in patterns)
            foreach (string template in Expand(pattern))
                Add(template);
    }

    /// <summary>The template that a dotted or underscored name is one of, and the numbers that stand for its #; null for a foreign name.</summary>
    public (string Template, int[] Numbers)? Match(string name)
    {
        string[] tokens = name.Split('.', '_');
        if (!_byKey.TryGetValue(Key(tokens), out List<string>? templates))
            return null;
        foreach (string template in templates)
        {
            string[] parts = template.Split('.', '_');
            List<int> numbers = [];
            bool same = true;
            for (int i = 0; i < parts.Length && same; i++)
                if (parts[i] != "#")
                    same = parts[i] == tokens[i];
                else if (int.TryParse(tokens[i], System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int number))
                    numbers.Add(number);
                else
                    same = false;
            if (same)
                return (template, [.. numbers]);
        }
        return null;
    }

    /// <summary>The name with its dots again; null for a foreign name.</summary>
    public string? Dotted(string name) => Match(name) is var (template, numbers) ? Fill(template, numbers) : null;

    /// <summary>A template with its # replaced, first to last.</summary>
    public static string Fill(string template, ReadOnlySpan<int> numbers)
    {
        StringBuilder text = new();
        int next = 0;
        foreach (char c in template)
            _ = c == '#' ? text.Append(numbers[next++]) : text.Append(c);
        return text.ToString();
    }

    /// <summary>All names that a pattern with alternatives in braces stands for.</summary>
    public static IEnumerable<string> Expand(string pattern)
    {
        int open = pattern.IndexOf('{');
        if (open < 0)
            return [pattern];
        int depth = 0, start = open + 1;
        List<string> alternatives = [];
        for (int i = open; ; i++)
        {
            depth += pattern[i] switch { '{' => 1, '}' => -1, _ => 0 };
            if (depth == 0 || depth == 1 && pattern[i] == ',')
            {
                alternatives.Add(pattern[start..i]);
                start = i + 1;
            }
            if (depth == 0)
                return alternatives.SelectMany(a => Expand(pattern[..open] + a + pattern[(i + 1)..]));
        }
    }

    private void Add(string template)
    {
        string[] parts = template.Split('.', '_');
        string key = Key(parts);
        if (!_byKey.TryGetValue(key, out List<string>? templates))
            _byKey[key] = templates = [];
        foreach (string other in templates)
            if (other.Split('.', '_').Zip(parts, (a, b) => a == b || a == "#" || b == "#").All(same => same))
                throw new InvalidOperationException($"{template} and {other} are the same name with underscores");
        templates.Add(template);
    }

    // Whole numbers look alike; up to nine digits, and no leading zero, so that a name can be had back from its parts.
    private static string Key(string[] tokens) =>
        string.Join('_', tokens.Select(t => t.Length is > 0 and < 10 && t.All(char.IsAsciiDigit) && (t.Length == 1 || t[0] != '0') ? "#" : t));
}
