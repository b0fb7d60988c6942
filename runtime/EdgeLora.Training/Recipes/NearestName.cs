namespace EdgeLora.Training;

/// <summary>The name that was probably meant: the least insertions, deletions, changes and swaps of neighbours, where they are few.</summary>
internal static class NearestName
{
    // Longer than any name of a field: what is longer was not meant to be one.
    private const int MaxLetters = 100;

    /// <summary>The nearest of <paramref name="names"/>, the first in ordinal order among equals; null where more than a third of the letters differ.</summary>
    public static string? Of(string name, IEnumerable<string> names)
    {
        string? best = null;
        int least = int.MaxValue;
        if (name.Length > MaxLetters)
            return null;
        foreach (string candidate in names.Order(StringComparer.Ordinal))
        {
            int most = Math.Max(1, Math.Max(name.Length, candidate.Length) / 3);
            if (candidate.Length <= MaxLetters && Math.Abs(name.Length - candidate.Length) <= most && Distance(name, candidate) is int distance && distance <= most && distance < least)
                (best, least) = (candidate, distance);
        }
        return best;
    }

    // Optimal string alignment: three rows of the table.
    private static int Distance(string a, string b)
    {
        Span<int> memory = stackalloc int[3 * (b.Length + 1)], before = memory[..(b.Length + 1)], last = memory.Slice(b.Length + 1, b.Length + 1), row = memory[(2 * (b.Length + 1))..];
        for (int j = 0; j <= b.Length; j++)
            last[j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                row[j] = Math.Min(Math.Min(row[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
            }
            Span<int> spare = before;
            before = last;
            last = row;
            row = spare;
        }
        return last[b.Length];
    }
}
