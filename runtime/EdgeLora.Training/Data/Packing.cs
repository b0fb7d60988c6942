namespace EdgeLora.Training;

/// <summary>Puts examples together into rows that are nearly full: best fit, the longest first. Segments stay apart.</summary>
internal static class Packing
{
    /// <summary>Packs examples of at most <paramref name="capacity"/> tokens. Rows stand in the order of their first example, examples in a row as they stood.</summary>
    public static List<TrainingExample> Pack(IReadOnlyList<TrainingExample> examples, int capacity)
    {
        List<List<int>> rows = [];
        SortedSet<(int Free, int Row)> open = [];
        foreach (int i in Enumerable.Range(0, examples.Count).OrderByDescending(i => examples[i].InputIds.Length))
        {
            int length = examples[i].InputIds.Length;
            // The row with the least room that is enough, of equal ones the oldest.
            using IEnumerator<(int Free, int Row)> fits = open.GetViewBetween((length, 0), (capacity, int.MaxValue)).GetEnumerator();
            (int free, int row) = fits.MoveNext() ? fits.Current : (capacity, rows.Count);
            if (row == rows.Count)
                rows.Add([]);
            else
                open.Remove((free, row));
            rows[row].Add(i);
            if (free > length)
                open.Add((free - length, row));
        }
        foreach (List<int> row in rows)
            row.Sort();
        return [.. rows.OrderBy(row => row[0]).Select(row => Join([.. row.Select(i => examples[i])]))];
    }

    private static TrainingExample Join(TrainingExample[] parts) => parts.Length == 1 ? parts[0] : new(
        [.. parts.SelectMany(p => p.InputIds)],
        [.. parts.SelectMany(p => p.Labels)],
        [.. parts.SelectMany(p => p.SegmentLengths)]);
}
