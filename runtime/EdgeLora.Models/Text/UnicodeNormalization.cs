using System.Globalization;

namespace EdgeLora.Models;

/// <summary>
/// NFC, NFD, NFKC and NFKD with the alignment that <see cref="NormalizedText.Transform"/> wants (Unicode Standard Annex 15).
/// Own tables: the runtime normalizes nothing when an application chooses invariant globalization.
/// </summary>
internal static class UnicodeNormalization
{
    private const int SBase = 0xAC00, LBase = 0x1100, VBase = 0x1161, TBase = 0x11A7, LCount = 19, VCount = 21, TCount = 28, SCount = LCount * VCount * TCount;

    private static readonly Lazy<Tables> s_tables = new(Load);

    private sealed record Tables(Dictionary<int, int[]> Canonical, Dictionary<int, int[]> Compatibility, Dictionary<(int, int), int> Compositions, Dictionary<int, byte> Classes);

    public static void Apply(NormalizedText text, bool compatibility, bool compose)
    {
        ReadOnlySpan<int> chars = text.Chars;
        if (chars.IndexOfAnyExceptInRange(0, 0x7F) < 0)
            return;
        Tables tables = s_tables.Value;
        List<(int Char, int Change, byte Class)> buffer = Decompose(tables, chars, compatibility);
        if (compose)
            buffer = Compose(tables, buffer);
        int[] result = new int[buffer.Count], changes = new int[buffer.Count];
        for (int i = 0; i < result.Length; i++)
            (result[i], changes[i]) = (buffer[i].Char, buffer[i].Change);
        text.Transform(result, changes);
    }

    private static List<(int Char, int Change, byte Class)> Decompose(Tables tables, ReadOnlySpan<int> chars, bool compatibility)
    {
        Dictionary<int, int[]> map = compatibility ? tables.Compatibility : tables.Canonical;
        List<(int Char, int Change, byte Class)> buffer = new(chars.Length + 16);
        int pending = 0;
        void Push(int c, int change)
        {
            byte ccc = c < 0x300 ? (byte)0 : tables.Classes.GetValueOrDefault(c);
            if (ccc == 0)
            {
                SortMarks(buffer, pending);
                pending = buffer.Count + 1;
            }
            buffer.Add((c, change, ccc));
        }
        foreach (int c in chars)
        {
            int s = c - SBase;
            if (c < 0x80)
            {
                Push(c, 0);
            }
            else if ((uint)s < SCount)
            {
                Push(LBase + s / (VCount * TCount), 0);
                Push(VBase + s % (VCount * TCount) / TCount, 1);
                if (s % TCount != 0)
                    Push(TBase + s % TCount, 1);
            }
            else if (map.TryGetValue(c, out int[]? parts))
            {
                for (int i = 0; i < parts.Length; i++)
                    Push(parts[i], i == 0 ? 0 : 1);
            }
            else
            {
                Push(c, 0);
            }
        }
        SortMarks(buffer, pending);
        return buffer;
    }

    // Stable, and not quadratic: a text may be one long pile of marks.
    private static void SortMarks(List<(int Char, int Change, byte Class)> buffer, int start)
    {
        int count = buffer.Count - start;
        bool sorted = true;
        for (int i = start + 1; i < buffer.Count; i++)
            sorted &= buffer[i - 1].Class <= buffer[i].Class;
        if (count < 2 || sorted)
            return;
        (int, int, byte)[] marks = [.. buffer.GetRange(start, count).OrderBy(m => m.Class)];
        for (int i = 0; i < count; i++)
            buffer[start + i] = marks[i];
    }

    private static List<(int Char, int Change, byte Class)> Compose(Tables tables, List<(int Char, int Change, byte Class)> input)
    {
        List<(int Char, int Change, byte Class)> output = new(input.Count);
        int starter = -1;
        int lastClass = -1;
        foreach ((int Char, int Change, byte Class) next in input)
        {
            if (starter >= 0 && lastClass < next.Class && TryCompose(tables, output[starter].Char, next.Char, out int composed))
            {
                // What the composition swallows is counted on its starter.
                output[starter] = (composed, output[starter].Change + next.Change - 1, 0);
                continue;
            }
            if (next.Class == 0)
            {
                starter = output.Count;
                lastClass = -1;
            }
            else
            {
                lastClass = next.Class;
            }
            output.Add(next);
        }
        return output;
    }

    private static bool TryCompose(Tables tables, int a, int b, out int composed)
    {
        if ((uint)(a - LBase) < LCount && (uint)(b - VBase) < VCount)
        {
            composed = SBase + ((a - LBase) * VCount + b - VBase) * TCount;
            return true;
        }
        if ((uint)(a - SBase) < SCount && (a - SBase) % TCount == 0 && b > TBase && b < TBase + TCount)
        {
            composed = a + b - TBase;
            return true;
        }
        return tables.Compositions.TryGetValue((a, b), out composed);
    }

    private static Tables Load()
    {
        Tables tables = new(new(2100), new(5800), new(1000), new(1000));
        using StreamReader reader = new(typeof(UnicodeNormalization).Assembly.GetManifestResourceStream("normalization.txt")!);
        while (reader.ReadLine() is { } line)
        {
            if (line[0] == '#')
                continue;
            int at = line.IndexOfAny(['=', '!', '~', '@']);
            if (line[at] == '@')
            {
                int dots = line.IndexOf("..", StringComparison.Ordinal);
                int last = Hex(line.AsSpan(dots + 2, at - dots - 2));
                for (int c = Hex(line.AsSpan(0, dots)); c <= last; c++)
                    tables.Classes[c] = byte.Parse(line.AsSpan(at + 1), provider: CultureInfo.InvariantCulture);
                continue;
            }
            int[] parts = [.. line[(at + 1)..].Split(' ').Select(p => Hex(p))];
            int code = Hex(line.AsSpan(0, at));
            (line[at] == '~' ? tables.Compatibility : tables.Canonical)[code] = parts;
            if (line[at] == '=')
                tables.Compositions[(parts[0], parts[1])] = code;
        }
        foreach (int code in tables.Canonical.Keys.ToArray())
            tables.Canonical[code] = Expand(tables.Canonical[code], tables.Canonical, null);
        foreach (int code in tables.Compatibility.Keys.ToArray())
            tables.Compatibility[code] = Expand(tables.Compatibility[code], tables.Compatibility, tables.Canonical);
        foreach ((int code, int[] parts) in tables.Canonical)
            tables.Compatibility.TryAdd(code, Expand(parts, tables.Compatibility, tables.Canonical));
        return tables;
    }

    private static int[] Expand(int[] parts, Dictionary<int, int[]> map, Dictionary<int, int[]>? other) =>
        [.. parts.SelectMany(c => map.TryGetValue(c, out int[]? more) || (other?.TryGetValue(c, out more) ?? false) ? Expand(more!, map, other) : [c])];

    private static int Hex(ReadOnlySpan<char> digits) => int.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
