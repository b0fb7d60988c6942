namespace EdgeLora.Models;

/// <summary>Python's sorted: stable, and reverse keeps the order of equals too.</summary>
internal static class JinjaSort
{
    public static List<T> Sorted<T>(IEnumerable<T> items, Func<T, object?> key, bool reverse)
    {
        List<(T Item, object? Key)> keyed = [.. items.Select(i => (i, key(i)))];
        // A merge of its own: List.Sort is not stable and wraps what a comparison raises.
        (T, object?)[] sorted = Merge([.. keyed], reverse);
        return [.. sorted.Select(s => s.Item1)];
    }

    private static (T, object?)[] Merge<T>((T, object?)[] items, bool reverse)
    {
        if (items.Length < 2)
            return items;
        (T, object?)[] left = Merge(items[..(items.Length / 2)], reverse), right = Merge(items[(items.Length / 2)..], reverse);
        (T, object?)[] merged = new (T, object?)[items.Length];
        for (int i = 0, l = 0, r = 0; i < merged.Length; i++)
        {
            // Python asks whether the later item is less than the earlier one; its messages name them in that order.
            bool takeRight = l == left.Length || (r < right.Length && (reverse
                ? PyEquality.Test("<", left[l].Item2, right[r].Item2)
                : PyEquality.Test("<", right[r].Item2, left[l].Item2)));
            merged[i] = takeRight ? right[r++] : left[l++];
        }
        return merged;
    }
}
