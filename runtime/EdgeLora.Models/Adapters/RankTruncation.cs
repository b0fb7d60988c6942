using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What a truncation lost.</summary>
/// <param name="Adapter">The truncated adapter.</param>
/// <param name="Error">‖ΔW − ΔW'‖ / ‖ΔW‖ over all pairs together, Frobenius.</param>
/// <param name="WorstModule">The pair that lost the largest part of itself; empty where none was truncated.</param>
/// <param name="WorstError">That part.</param>
/// <param name="Truncated">How many pairs had a larger rank.</param>
public sealed record RankTruncation(PeftAdapter Adapter, double Error, string WorstModule, double WorstError, int Truncated)
{
    /// <summary>
    /// The best approximation of every pair of a larger rank by one of <paramref name="rank"/>: the leading part of B·A's singular value decomposition, shared evenly between A and B. Scales stay; alphas follow the ranks.
    /// The result holds <paramref name="adapter"/>'s other tensors: of the two, one is disposed. Throws <see cref="ModelFileException"/> where the pairs are also what the base lost (PiSSA, OLoRA),
    /// or a pair is none.
    /// </summary>
    public static RankTruncation To(PeftAdapter adapter, int rank)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        List<string> reasons = [];
        List<LowRankPair> pairs = LowRankPair.Of(adapter, reasons);
        FaultList faults = new(adapter.FilePath);
        reasons.ForEach(faults.Add);
        if (adapter.RowFault is { } rows)
            faults.Add(rows);
        if (adapter.Config.Residual != PeftResidual.None)
            faults.Add($"{PeftConfigReader.FileName}: init_lora_weights: the base lost a part of this rank; its pairs cannot be truncated");
        if (pairs.Count == 0 && faults.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();

        Dictionary<string, Tensor> tensors = adapter.Tensors.ToDictionary(StringComparer.Ordinal);
        Dictionary<string, (int, double)> ranks = [];
        double all = 0, lost = 0, worst = -1;
        string worstModule = "";
        foreach (LowRankPair pair in pairs)
        {
            int kept = Math.Min(pair.Rank, rank);
            ranks[pair.Module] = (kept, PairConfig.AlphaOf(pair.Scale, kept));
            (Tensor a, Tensor b, double norm, double loss) = Truncate(pair, kept, adapter.FilePath);
            (all, lost) = (all + pair.Scale * pair.Scale * norm, lost + pair.Scale * pair.Scale * loss);
            if (kept == pair.Rank)
                continue;
            tensors[pair.A.Name] = a;
            tensors[pair.B.Name] = b;
            double part = norm > 0 ? Math.Sqrt(loss / norm) : 0;
            if (part > worst)
                (worst, worstModule) = (part, pair.Module);
        }
        PeftConfig made = PairConfig.Of(adapter.FilePath, ranks);
        PeftConfig config = adapter.Config with { Rank = made.Rank, Alpha = made.Alpha, RankPattern = made.RankPattern, AlphaPattern = made.AlphaPattern, UseRslora = false };
        PeftAdapter truncated = adapter.WithTensors(tensors, config);
        return new(truncated, all > 0 ? Math.Sqrt(lost / all) : 0, worstModule, Math.Max(worst, 0), pairs.Count(p => p.Rank > rank));
    }

    // With B = Qb·Rb and A = Raᵀ·Qaᵀ, B·A has the singular values of the small Rb·Raᵀ.
    private static (Tensor A, Tensor B, double Norm, double Loss) Truncate(LowRankPair pair, int rank, string path)
    {
        int r = pair.Rank, outputs = (int)pair.B.Shape[0], inputs = (int)pair.A.Shape[1];
        double[] a = Array.ConvertAll(pair.A.ToFloats(), x => (double)x), b = ThinSvd.Transpose(Array.ConvertAll(pair.B.ToFloats(), x => (double)x), outputs, r);
        double[] qa = (double[])a.Clone(), qb = (double[])b.Clone();
        ThinSvd.Orthonormalize(qa, r, inputs);
        ThinSvd.Orthonormalize(qb, r, outputs);
        double[] ra = Products(qa, a, r, inputs), rb = Products(qb, b, r, outputs), small = new double[r * r];
        for (int i = 0; i < r; i++)
            for (int j = 0; j < r; j++)
                for (int k = 0; k < r; k++)
                    small[i * r + j] += rb[i * r + k] * ra[j * r + k];
        double norm = small.Sum(x => x * x);
        if (rank == r)
            return (pair.A, pair.B, norm, 0);
        (double[] left, double[] right) = ThinSvd.Truncate(small, r, r, rank) ?? throw new ModelFileException(path, $"{pair.Module}: its singular values do not settle");
        float[] newA = new float[rank * inputs], newB = new float[outputs * rank];
        double[] row = new double[inputs], column = new double[outputs];
        double keptSquares = 0;
        for (int k = 0; k < rank; k++)
        {
            double square = 0;
            for (int j = 0; j < r; j++)
                square += right[k * r + j] * right[k * r + j];
            keptSquares += square;
            double root = Math.Sqrt(Math.Sqrt(square));
            Array.Clear(row);
            Array.Clear(column);
            for (int j = 0; j < r; j++)
            {
                // Rows of the right part are σ·v.
                LowRankRows.AddScaled(root > 0 ? right[k * r + j] / root : 0, qa.AsSpan(j * inputs, inputs), row);
                LowRankRows.AddScaled(left[j * rank + k] * root, qb.AsSpan(j * outputs, outputs), column);
            }
            for (int i = 0; i < inputs; i++)
                newA[k * inputs + i] = (float)row[i];
            for (int o = 0; o < outputs; o++)
                newB[o * rank + k] = (float)column[o];
        }
        DType typeA = ScaleFold.TypeOf(pair.A, null, DType.F32, DType.F16, DType.BF16), typeB = ScaleFold.TypeOf(pair.B, null, DType.F32, DType.F16, DType.BF16);
        return (QuantBlocks.ToTensor(pair.A.Name, typeA, new(rank, inputs), newA), QuantBlocks.ToTensor(pair.B.Name, typeB, new(outputs, rank), newB), norm, Math.Max(0, norm - keptSquares));
    }

    // [R, R]: entry (i, k) is q_i·v_k.
    private static double[] Products(double[] q, double[] v, int count, int length)
    {
        double[] products = new double[count * count];
        for (int i = 0; i < count; i++)
            for (int k = 0; k < count; k++)
                products[i * count + k] = ThinSvd.Dot(q.AsSpan(i * length, length), v.AsSpan(k * length, length));
        return products;
    }
}
