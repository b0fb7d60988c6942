namespace EdgeLora.Training;

/// <summary>The name that was probably meant: the least insertions, deletions, changes and swaps of neighbours, where they are few.</summary>
internal static class NearestName
{
    /// <summary>The nearest of <paramref name="names"/>, the first in ordinal order among equals; null where more than a third of the letters differ.</summary>
    public static string? Of(string name, IEnumerable<string> names)
    {
        string? best = null;
        int least = int.MaxValue;
        foreach (string candidate in names.Order(StringComparer.Ordinal))
        {
            int distance = Distance(name, candidate);
            if (distance <= Math.Max(1, Math.Max(name.Length, candidate.Length) / 3) && distance < least)
                (best, least) = (candidate, distance);
        }
        return best;
    }

    // Optimal string alignment: three rows of the table.
    private static int Distance(string a, string b)
    {
        int[] before = new int[b.Length + 1], last = [.. Enumerable.Range(0, b.Length + 1)], row = new int[b.Length + 1];
        for (int i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                row[j] = Math.Min(Math.Min(row[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
            }
            (before, last, row) = (last, row, before);
        }
        return last[b.Length];
    }
}
