using System.Globalization;

namespace EdgeLora.Models;

/// <summary>The Unicode property Script.</summary>
internal static class UnicodeScripts
{
    /// <summary>What no script claims.</summary>
    public const string Unassigned = "Any";

    private static readonly Lazy<(int[] Starts, int[] Ends, string[] Names)> s_ranges = new(Load);

    public static string Of(int c)
    {
        (int[] starts, int[] ends, string[] names) = s_ranges.Value;
        int i = Array.BinarySearch(starts, c);
        if (i < 0)
            i = ~i - 1;
        return i >= 0 && c <= ends[i] ? names[i] : Unassigned;
    }

    /// <summary>All ranges of a script, its name compared without case, underscores and spaces; null for a name that is none.</summary>
    public static List<(int First, int Last)>? Ranges(string name)
    {
        (int[] starts, int[] ends, string[] names) = s_ranges.Value;
        List<(int, int)> found = [];
        for (int i = 0; i < starts.Length; i++)
            if (string.Equals(names[i].Replace("_", ""), name, StringComparison.OrdinalIgnoreCase))
                found.Add((starts[i], ends[i]));
        return found.Count == 0 ? null : found;
    }

    private static (int[], int[], string[]) Load()
    {
        List<int> starts = [], ends = [];
        List<string> names = [];
        using StreamReader reader = new(typeof(UnicodeScripts).Assembly.GetManifestResourceStream("scripts.txt")!);
        while (reader.ReadLine() is { } line)
        {
            if (line[0] == '#')
                continue;
            int dots = line.IndexOf("..", StringComparison.Ordinal), semicolon = line.IndexOf(';');
            starts.Add(int.Parse(line.AsSpan(0, dots), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            ends.Add(int.Parse(line.AsSpan(dots + 2, semicolon - dots - 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            names.Add(string.Intern(line[(semicolon + 1)..]));
        }
        return ([.. starts], [.. ends], [.. names]);
    }
}
