using System.Globalization;

namespace EdgeLora.Models;

/// <summary>A Python signature such as <c>s, width=4, first=False</c>: binds arguments to an array, defaults filled in. <c>*name</c> and <c>**name</c> collect the rest.</summary>
internal sealed class PyParameters
{
    private readonly string function;
    private readonly string[] names;
    private readonly object?[] defaults;
    private readonly bool[] required;
    private readonly bool collectsPositional, collectsNamed;

    public PyParameters(string function, string signature)
    {
        this.function = function;
        List<string> found = [];
        List<object?> values = [];
        List<bool> needed = [];
        foreach (string part in signature.Split(", ", StringSplitOptions.RemoveEmptyEntries))
        {
            if (part.StartsWith("**", StringComparison.Ordinal))
                collectsNamed = true;
            else if (part[0] == '*')
                collectsPositional = true;
            else
            {
                int equals = part.IndexOf('=');
                found.Add(equals < 0 ? part : part[..equals]);
                needed.Add(equals < 0);
                values.Add(equals < 0 ? null : Literal(part[(equals + 1)..]));
            }
        }
        (names, defaults, required) = ([.. found], [.. values], [.. needed]);
    }

    /// <summary>The named parameters in order, then the collected tuple and dict where the signature has them.</summary>
    public object?[] Bind(IReadOnlyList<object?> positional, JinjaDict? named)
    {
        object?[] bound = new object?[names.Length + (collectsPositional ? 1 : 0) + (collectsNamed ? 1 : 0)];
        int given = Math.Min(positional.Count, names.Length);
        if (positional.Count > names.Length && !collectsPositional)
            throw ChatTemplateException.Type($"{function}() takes {names.Length} positional argument{(names.Length == 1 ? "" : "s")} but {positional.Count} were given");
        for (int i = 0; i < given; i++)
            bound[i] = positional[i];
        JinjaDict rest = new();
        bool[] byName = new bool[names.Length];
        if (named is not null)
            foreach ((object? key, object? value) in named.Entries)
            {
                int at = Array.IndexOf(names, (string)key!);
                if (at >= 0 && at < given)
                    throw ChatTemplateException.Type($"{function}() got multiple values for argument '{key}'");
                if (at >= 0)
                    (bound[at], byName[at]) = (value, true);
                else if (collectsNamed)
                    rest[key] = value;
                else
                    throw ChatTemplateException.Type($"{function}() got an unexpected keyword argument '{key}'");
            }
        string[] missing = [.. Enumerable.Range(given, names.Length - given).Where(i => required[i] && !byName[i]).Select(i => $"'{names[i]}'")];
        if (missing.Length > 0)
            throw ChatTemplateException.Type($"{function}() missing {missing.Length} required positional argument{(missing.Length == 1 ? "" : "s")}: {string.Join(" and ", missing)}");
        for (int i = given; i < names.Length; i++)
            if (!byName[i])
                bound[i] = defaults[i];
        int end = names.Length;
        if (collectsPositional)
            bound[end++] = new JinjaTuple([.. positional.Skip(names.Length)]);
        if (collectsNamed)
            bound[end] = rest;
        return bound;
    }

    private static object? Literal(string text) => text switch
    {
        "None" => null,
        "True" => true,
        "False" => false,
        _ when text[0] == '\'' => text[1..^1],
        _ when text.Contains('.') => double.Parse(text, CultureInfo.InvariantCulture),
        _ => long.Parse(text, CultureInfo.InvariantCulture),
    };
}
