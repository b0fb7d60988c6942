namespace EdgeLora.Models;

/// <summary>Prefix search over many texts, in three arrays: children stand together, in the order of UTF-16.</summary>
internal sealed class PieceTrie
{
    private readonly List<int> _keys = [], _firstChild = [], _values = [];

    /// <summary>Of equal texts the last one counts; empty ones never match.</summary>
    public PieceTrie(IEnumerable<(string Text, int Value)> pieces)
    {
        (string Text, int Value)[] sorted = [.. pieces];
        int[] order = [.. Enumerable.Range(0, sorted.Length).OrderBy(i => sorted[i].Text, StringComparer.Ordinal)];
        sorted = [.. order.Select(i => sorted[i])];
        Queue<(int First, int End, int Unit)> open = new();
        AddNode(0, -1);
        open.Enqueue((0, sorted.Length, 0));
        for (int node = 0; open.TryDequeue(out (int First, int End, int Unit) range); node++)
        {
            _firstChild[node] = _keys.Count;
            int i = range.First;
            for (; i < range.End && sorted[i].Text.Length == range.Unit; i++)
                if (node > 0)
                    _values[node] = sorted[i].Value;
            while (i < range.End)
            {
                int c = CharAt(sorted[i].Text, range.Unit, out int units), first = i;
                while (i < range.End && CharAt(sorted[i].Text, range.Unit, out _) == c)
                    i++;
                AddNode(Key(c), -1);
                open.Enqueue((first, i, range.Unit + units));
            }
        }
        _firstChild.Add(_keys.Count);
    }

    /// <summary>The child of <paramref name="node"/> (0 = root) along <paramref name="c"/>, or -1.</summary>
    public int Step(int node, int c)
    {
        int low = _firstChild[node], high = _firstChild[node + 1] - 1, key = Key(c);
        while (low <= high)
        {
            int middle = (low + high) >> 1, at = _keys[middle];
            if (at == key)
                return middle;
            if (at < key)
                low = middle + 1;
            else
                high = middle - 1;
        }
        return -1;
    }

    /// <summary>The value of the text that ends at <paramref name="node"/>, or -1.</summary>
    public int Value(int node) => _values[node];

    /// <summary>The longest text that <paramref name="chars"/> starts with: its value and length, or (-1, 0).</summary>
    public (int Value, int Length) Longest(ReadOnlySpan<int> chars)
    {
        (int Value, int Length) found = (-1, 0);
        int node = 0;
        for (int i = 0; i < chars.Length && (node = Step(node, chars[i])) >= 0; i++)
            if (_values[node] >= 0)
                found = (_values[node], i + 1);
        return found;
    }

    private void AddNode(int key, int value)
    {
        _keys.Add(key);
        _firstChild.Add(0);
        _values.Add(value);
    }

    private static int CharAt(string text, int unit, out int units)
    {
        bool pair = char.IsHighSurrogate(text[unit]) && unit + 1 < text.Length && char.IsLowSurrogate(text[unit + 1]);
        units = pair ? 2 : 1;
        return pair ? char.ConvertToUtf32(text[unit], text[unit + 1]) : text[unit];
    }

    // Ordinal order of UTF-16 puts astral code points before U+E000.
    private static int Key(int c) => c < 0xE000 ? c : c < 0x10000 ? c + 0x200000 : c + 0x10000;
}
