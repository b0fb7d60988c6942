namespace EdgeLora.Core;

/// <summary>Which heads the rows of a module are.</summary>
/// <param name="Heads">Heads of q, or of k where the module is k alone.</param>
/// <param name="KvHeads">Heads of k, and of v, where q, k and v are one module; else 0.</param>
public readonly record struct HeadRows(int Heads, int KvHeads = 0)
{
    /// <summary>For every row of a GGUF file the checkpoint's row that it holds; null where so many rows are no such heads.</summary>
    public int[]? ToFile(long rows) => !Fit(rows) ? null : KvHeads == 0 ? QueryKeyPermutation.ToHalves((int)rows, Heads) : QueryKeyValueRows.ToPieces(Heads * Size(rows), KvHeads * Size(rows), KvHeads);

    /// <summary>For every row of a checkpoint the file's row that it holds; null where so many rows are no such heads.</summary>
    public int[]? ToCheckpoint(long rows) => !Fit(rows) ? null : KvHeads == 0 ? QueryKeyPermutation.ToAdjacent((int)rows, Heads) : QueryKeyValueRows.FromPieces(Heads * Size(rows), KvHeads * Size(rows), KvHeads);

    /// <summary>What rows are expected: <c>4 heads of an even size</c>.</summary>
    public override string ToString() => KvHeads == 0 ? $"{Heads} heads of an even size" : $"{Heads} heads of q and {KvHeads} of k and v";

    private bool Fit(long rows) => rows is > 0 and <= int.MaxValue && rows % (KvHeads == 0 ? 2L * Heads : Heads + 2L * KvHeads) == 0;

    private int Size(long rows) => (int)(rows / (Heads + 2L * KvHeads));
}
