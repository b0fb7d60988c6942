namespace EdgeLora.Models;

/// <summary>How the sign of an entry is elected among several adapters.</summary>
public enum SignElection
{
    /// <summary>By the sum of the values.</summary>
    Total,
    /// <summary>By the sum of the signs.</summary>
    Frequency,
}

/// <summary>Sparsifying and merging of task vectors, entry by entry, in PEFT's order: prune, elect signs on what is left, weight, merge. TIES: arXiv:2306.01708; DARE: arXiv:2311.03099; huggingface/peft utils/merge_utils.py.</summary>
internal static class Pruning
{
    /// <summary>Keeps the ⌊density·n⌋ largest by size and zeroes the rest; of equal ones the first. A density of 1 or more keeps all.</summary>
    public static void Magnitude(double[] values, double density)
    {
        if (density >= 1)
            return;
        int keep = (int)(density * values.Length);
        double[] sizes = Array.ConvertAll(values, Math.Abs);
        int[] order = [.. Enumerable.Range(0, values.Length)];
        Array.Sort(order, (a, b) => sizes[a] != sizes[b] ? sizes[b].CompareTo(sizes[a]) : a.CompareTo(b));
        for (int i = keep; i < order.Length; i++)
            values[order[i]] = 0;
    }

    /// <summary>Keeps each entry with the chance <paramref name="density"/> and divides it by that; drops the others.</summary>
    public static void Random(double[] values, double density, Random random)
    {
        if (density >= 1)
            return;
        for (int i = 0; i < values.Length; i++)
            values[i] = random.NextDouble() < density ? values[i] / density : 0;
    }

    /// <summary>Σ weightᵢ·tensorᵢ.</summary>
    public static double[] Sum(IReadOnlyList<double[]> tensors, IReadOnlyList<double> weights)
    {
        double[] sum = new double[tensors[0].Length];
        for (int t = 0; t < tensors.Count; t++)
            LowRankRows.AddScaled(weights[t], tensors[t], sum);
        return sum;
    }

    /// <summary>For each entry the mean of the weighted values whose sign is the elected one; zeros have no sign, an even vote elects +.</summary>
    public static double[] Disjoint(IReadOnlyList<double[]> tensors, IReadOnlyList<double> weights, SignElection election)
    {
        double[] merged = new double[tensors[0].Length];
        for (int i = 0; i < merged.Length; i++)
        {
            double vote = 0;
            foreach (double[] tensor in tensors)
                vote += election == SignElection.Total ? tensor[i] : Math.Sign(tensor[i]);
            int elected = vote >= 0 ? 1 : -1, agreeing = 0;
            for (int t = 0; t < tensors.Count; t++)
                if (Math.Sign(tensors[t][i]) == elected)
                {
                    merged[i] += weights[t] * tensors[t][i];
                    agreeing++;
                }
            merged[i] /= Math.Max(1, agreeing);
        }
        return merged;
    }
}
