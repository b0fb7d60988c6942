namespace EdgeLora.Core;

/// <summary>
/// Row order of fused q, k and v. A checkpoint of GPT-NeoX or Falcon has them in pieces: some heads of q, their k, their v. A GGUF has all q, all k, all v. Source: conversion/gptneox.py and falcon.py of llama.cpp.
/// </summary>
public static class QueryKeyValueRows
{
    /// <summary>For every row of a GGUF the checkpoint's row that it holds.</summary>
    /// <param name="query">Rows of q: H·Hd.</param>
    /// <param name="keyValue">Rows of k, and of v: K·Hd.</param>
    /// <param name="pieces">Pieces in the checkpoint.</param>
    public static int[] ToPieces(int query, int keyValue, int pieces)
    {
        int total = query + 2 * keyValue;
        return [.. Rows(0, query), .. Rows(query, keyValue), .. Rows(query + keyValue, keyValue)];

        // The checkpoint's rows of what begins at this row when all pieces are one.
        IEnumerable<int> Rows(int start, int count) =>
            from piece in Enumerable.Range(0, pieces)
            from row in Enumerable.Range(0, count / pieces)
            select piece * (total / pieces) + start / pieces + row;
    }

    /// <summary>For every row of a checkpoint the GGUF's row that it holds: the inverse of <see cref="ToPieces"/>.</summary>
    public static int[] FromPieces(int query, int keyValue, int pieces)
    {
        int[] order = ToPieces(query, keyValue, pieces), inverse = new int[order.Length];
        for (int row = 0; row < order.Length; row++)
            inverse[order[row]] = row;
        return inverse;
    }
}
