namespace EdgeLora.Core;

/// <summary>
/// A low-rank pair on a fused module (q, k and v in one matrix) as one pair for each part, and back. Parts that share A get it whole with their rows of B; a B that is zero outside of its diagonal blocks is taken
/// apart with its part of A, which is how parts with an A of their own are joined. No number changes either way.
/// </summary>
internal static class FusedRows
{
    /// <summary>Rows of each part, or null where <paramref name="outputs"/> cannot be shared out so.</summary>
    public static long[]? Sizes(FusedRule rule, long outputs, long inputs) => rule.Kind switch
    {
        FusedKind.Equal => outputs % rule.Diffusers.Length == 0 ? [.. Enumerable.Repeat(outputs / rule.Diffusers.Length, rule.Diffusers.Length)] : null,
        FusedKind.InputSized => outputs > inputs * (rule.Diffusers.Length - 1)
            ? [.. Enumerable.Repeat(inputs, rule.Diffusers.Length - 1), outputs - inputs * (rule.Diffusers.Length - 1)] : null,
        _ => [outputs],
    };

    /// <summary>The pairs of the parts; alpha goes along so that each scale stays.</summary>
    public static IEnumerable<(Tensor A, Tensor B, double Alpha, Tensor? Magnitude)> Split(Tensor a, Tensor b, double alpha, Tensor? magnitude, long[] sizes)
    {
        int parts = sizes.Length, rank = (int)a.Shape[0];
        bool apart = parts > 1 && rank % parts == 0 && IsBlockDiagonal(b, sizes);
        long row = 0;
        for (int i = 0; i < parts; i++)
        {
            Tensor rows = b.Slice(b.Name, row, sizes[i]);
            Tensor? m = magnitude?.View("", new Shape(magnitude.Shape.Elements)).Slice("", row, sizes[i]);
            yield return apart
                ? (a.Slice(a.Name, (long)i * rank / parts, rank / parts), Columns(rows, i * rank / parts, rank / parts), alpha / parts, m)
                : (a, rows, alpha, m);
            row += sizes[i];
        }
    }

    /// <summary>One pair of many: A is shared where all parts are there with the same A and scale, else the parts stand one below the other. Null where the scales differ: see <paramref name="pairs"/>.</summary>
    /// <param name="pairs">A part that is absent is null. Its rows are zero.</param>
    /// <param name="sizes">Rows of each part.</param>
    public static (Tensor A, Tensor B, double Alpha)? Join(DiffusionPair?[] pairs, long[] sizes)
    {
        DiffusionPair first = pairs.First(p => p is not null)!;
        bool shared = pairs.All(p => p is not null && p.A.Type == first.A.Type && p.B.Type == first.B.Type && p.Alpha == first.Alpha && p.A.Shape == first.A.Shape && p.A.Bytes.SequenceEqual(first.A.Bytes));
        if (!shared && pairs.Any(p => p is not null && (p.Scale != first.Scale || p.A.Type != first.A.Type || p.B.Type != first.B.Type)))
            return null;
        long rank = shared ? first.Rank : pairs.Sum(p => p?.Rank ?? 0), outputs = sizes.Sum();
        int width = first.B.Type.BlockBytes();
        long[] shapeA = first.A.Shape.Dimensions.ToArray(), shapeB = first.B.Shape.Dimensions.ToArray();
        (shapeA[0], shapeB[0], shapeB[1]) = (rank, outputs, rank);
        ArrayStorage a = new(checked((int)first.A.Type.Bytes(new Shape(shapeA).Elements))), b = new(checked((int)(outputs * rank * width)));
        if (shared)
            first.A.Bytes.CopyTo(a.Writable);
        long row = 0, column = 0, at = 0;
        for (int i = 0; i < pairs.Length; row += sizes[i], i++)
        {
            if (pairs[i] is not { } pair)
                continue;
            if (!shared)
            {
                pair.A.Bytes.CopyTo(a.Writable[(int)at..]);
                at += pair.A.ByteLength;
            }
            for (long o = 0; o < sizes[i]; o++)
                pair.B.Bytes.Slice((int)(o * pair.Rank * width), pair.Rank * width).CopyTo(b.Writable[(int)(((row + o) * rank + (shared ? 0 : column)) * width)..]);
            column += pair.Rank;
        }
        double alpha = shared ? first.Alpha : first.Alpha * rank / first.Rank;
        return (new(first.A.Name, first.A.Type, new Shape(shapeA), a), new(first.B.Name, first.B.Type, new Shape(shapeB), b), alpha);
    }

    /// <summary>The two halves of the rows exchanged.</summary>
    public static Tensor Swapped(Tensor rows)
    {
        int half = checked((int)(rows.ByteLength / 2));
        ArrayStorage storage = new(checked((int)rows.ByteLength));
        rows.Bytes[half..].CopyTo(storage.Writable);
        rows.Bytes[..half].CopyTo(storage.Writable[half..]);
        return new(rows.Name, rows.Type, rows.Shape, storage);
    }

    private static bool IsBlockDiagonal(Tensor b, long[] sizes)
    {
        float[] values = b.ToFloats();
        int rank = (int)b.Shape[1], part = rank / sizes.Length;
        long row = 0;
        for (int i = 0; i < sizes.Length; row += sizes[i], i++)
            for (long o = row; o < row + sizes[i]; o++)
                for (int r = 0; r < rank; r++)
                    if (r / part != i && values[o * rank + r] != 0)
                        return false;
        return true;
    }

    private static Tensor Columns(Tensor b, int start, int count)
    {
        int rows = (int)b.Shape[0], rank = (int)b.Shape[1], width = b.Type.BlockBytes();
        ArrayStorage storage = new(checked(rows * count * width));
        for (int o = 0; o < rows; o++)
            b.Bytes.Slice((o * rank + start) * width, count * width).CopyTo(storage.Writable[(o * count * width)..]);
        long[] shape = b.Shape.Dimensions.ToArray();
        shape[1] = count;
        return new(b.Name, b.Type, new Shape(shape), storage);
    }
}
