namespace EdgeLora.Models;

/// <summary>A text, or a pair of texts, as tokens. All arrays have one entry for each token.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="Tokens">Token texts as the vocabulary writes them.</param>
/// <param name="Offsets">Spans in Unicode code points of the original text; <c>(0, 0)</c> for a token that was added.</param>
/// <param name="TypeIds">0 for the first text, 1 for the second, or what the post-processor says.</param>
/// <param name="AttentionMask">1, and 0 for padding.</param>
/// <param name="SpecialTokensMask">1 for a token that the post-processor or padding added.</param>
/// <param name="SequenceIds">0 or 1: the text that the token came from; null for an added one.</param>
/// <param name="Overflowing">What truncation cut off, in windows that overlap by the stride.</param>
public sealed record Encoding(
    int[] Ids,
    string[] Tokens,
    (int Start, int End)[] Offsets,
    int[] TypeIds,
    int[] AttentionMask,
    int[] SpecialTokensMask,
    int?[] SequenceIds,
    IReadOnlyList<Encoding> Overflowing)
{
    internal int Length => Ids.Length;

    /// <summary>Tokens of a text, none of them added.</summary>
    internal static Encoding Of(int[] ids, string[] tokens, (int, int)[] offsets, int sequence)
    {
        int[] types = new int[ids.Length], attention = new int[ids.Length];
        int?[] sequences = new int?[ids.Length];
        Array.Fill(types, sequence);
        Array.Fill(attention, 1);
        Array.Fill(sequences, sequence);
        return new(ids, tokens, offsets, types, attention, new int[ids.Length], sequences, []);
    }

    /// <summary>Tokens that a post-processor adds.</summary>
    internal static Encoding Added(int[] ids, string[] tokens, int type)
    {
        int[] types = new int[ids.Length], ones = new int[ids.Length];
        Array.Fill(types, type);
        Array.Fill(ones, 1);
        return new(ids, tokens, new (int, int)[ids.Length], types, ones, [.. ones], new int?[ids.Length], []);
    }

    internal Encoding WithType(int type)
    {
        int[] types = new int[Length];
        Array.Fill(types, type);
        return this with { TypeIds = types };
    }

    /// <summary>One after the other; overflowing windows are combined with everything they may stand beside.</summary>
    internal static Encoding Merge(IReadOnlyList<Encoding> parts)
    {
        if (parts.Count == 1)
            return parts[0];
        if (parts.All(p => p.Overflowing.Count == 0))
            return Join(parts);
        Encoding result = parts[0];
        for (int i = 1; i < parts.Count; i++)
            result = MergeOverflowing(result, parts[i]);
        return result;
    }

    private static Encoding MergeOverflowing(Encoding a, Encoding b)
    {
        List<Encoding> overflowing = [];
        foreach (Encoding mine in a.Overflowing)
        {
            overflowing.Add(MergeOverflowing(mine, b));
            foreach (Encoding other in b.Overflowing)
                overflowing.Add(MergeOverflowing(mine, other));
        }
        foreach (Encoding other in b.Overflowing)
            overflowing.Add(MergeOverflowing(a, other));
        return Join([a, b]) with { Overflowing = overflowing };
    }

    private static Encoding Join(IReadOnlyList<Encoding> parts) => new(
        [.. parts.SelectMany(p => p.Ids)],
        [.. parts.SelectMany(p => p.Tokens)],
        [.. parts.SelectMany(p => p.Offsets)],
        [.. parts.SelectMany(p => p.TypeIds)],
        [.. parts.SelectMany(p => p.AttentionMask)],
        [.. parts.SelectMany(p => p.SpecialTokensMask)],
        [.. parts.SelectMany(p => p.SequenceIds)],
        []);

    internal Encoding Slice(int start, int end) => new(
        Ids[start..end], Tokens[start..end], Offsets[start..end], TypeIds[start..end], AttentionMask[start..end], SpecialTokensMask[start..end], SequenceIds[start..end], []);
}
