namespace EdgeLora.Models;

/// <summary>The settings after the temperature: top_k, top_p, min_p and typical_p, each on what the one before it left, then the softmax. All buffers are made once.</summary>
internal sealed class TokenFilters(SamplingOptions options, int vocabularySize)
{
    private readonly int[] ids = new int[vocabularySize];
    private readonly double[] weights = new double[vocabularySize];
    private readonly double[] keys = options.TopK > 0 || options.TypicalP < 1 ? new double[vocabularySize] : [];
    private double max;

    /// <summary>How many tokens are left.</summary>
    public int Count { get; private set; }

    /// <summary>The tokens left, in no particular but always the same order.</summary>
    public Span<int> Ids => ids.AsSpan(0, Count);

    /// <summary>The weight of each token left: its probability times <see cref="Mass"/>.</summary>
    public Span<double> Weights => weights.AsSpan(0, Count);

    /// <summary>The sum of the weights.</summary>
    public double Mass { get; private set; }

    /// <summary>Selects from scores that the temperature already divided.</summary>
    /// <param name="scores">[V], none of them NaN and not all -infinity.</param>
    public void Apply(ReadOnlySpan<double> scores)
    {
        double least = options.TopK > 0 && options.TopK < scores.Length ? KthLargest(scores, options.TopK) : double.NegativeInfinity;
        Count = 0;
        for (int id = 0; id < scores.Length; id++)
            if (scores[id] >= least && scores[id] > double.NegativeInfinity)
                ids[Count++] = id;
        Narrow(scores);
    }

    /// <summary>As <see cref="Apply(ReadOnlySpan{double})"/>, where top_k was done already.</summary>
    /// <param name="scores">[V]; only those of the candidates are looked at, none of them NaN or -infinity.</param>
    /// <param name="candidates">Ascending, at least one.</param>
    public void Apply(ReadOnlySpan<double> scores, ReadOnlySpan<int> candidates)
    {
        candidates.CopyTo(ids);
        Count = candidates.Length;
        Narrow(scores);
    }

    private void Narrow(ReadOnlySpan<double> scores)
    {
        Weigh(scores);
        if (options.TopP < 1)
            KeepTopP(scores);
        if (options.MinP > 0)
            KeepMinP();
        if (options.TypicalP < 1)
            KeepTypical(scores);
    }

    private void Weigh(ReadOnlySpan<double> scores)
    {
        // Found anew each time: typical_p may drop the most probable token, and what is left must not underflow against it.
        max = double.NegativeInfinity;
        foreach (int id in Ids)
            max = Math.Max(max, scores[id]);
        Mass = 0;
        for (int i = 0; i < Count; i++)
        {
            // Equal to the largest is 1 by itself: infinity less infinity would not be.
            double score = scores[ids[i]];
            Mass += weights[i] = score == max ? 1 : Math.Exp(score - max);
        }
    }

    // A heap of the k largest seen, the least of them on top: one comparison for most of a vocabulary.
    private double KthLargest(ReadOnlySpan<double> scores, int k)
    {
        Span<double> heap = keys.AsSpan(0, k);
        scores[..k].CopyTo(heap);
        for (int i = k / 2 - 1; i >= 0; i--)
            SinkLeast(heap, i);
        foreach (double score in scores[k..])
            if (score > heap[0])
            {
                heap[0] = score;
                SinkLeast(heap, 0);
            }
        return heap[0];
    }

    private static void SinkLeast(Span<double> heap, int at)
    {
        double value = heap[at];
        for (int child = 2 * at + 1; child < heap.Length; child = 2 * at + 1)
        {
            if (child + 1 < heap.Length && heap[child + 1] < heap[child])
                child++;
            if (value <= heap[child])
                break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = value;
    }

    // Takes tokens off a heap, most probable first and the lowest id among equals, until they reach the mass: sorts only what is kept.
    private void KeepTopP(ReadOnlySpan<double> scores)
    {
        Span<int> heap = Ids;
        for (int i = heap.Length / 2 - 1; i >= 0; i--)
            SinkFirst(heap, i, scores);
        double wanted = options.TopP * Mass, taken = 0;
        int left = heap.Length;
        do
        {
            left--;
            (heap[0], heap[left]) = (heap[left], heap[0]);
            taken += scores[heap[left]] == max ? 1 : Math.Exp(scores[heap[left]] - max);
            SinkFirst(heap[..left], 0, scores);
        } while (left > 0 && taken < wanted);
        heap[left..].CopyTo(heap);
        Count = heap.Length - left;
        Ids.Reverse();
        Weigh(scores);
    }

    private static void SinkFirst(Span<int> heap, int at, ReadOnlySpan<double> scores)
    {
        if (heap.Length == 0)
            return;
        int value = heap[at];
        for (int child = 2 * at + 1; child < heap.Length; child = 2 * at + 1)
        {
            if (child + 1 < heap.Length && Before(heap[child + 1], heap[child], scores))
                child++;
            if (!Before(heap[child], value, scores))
                break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = value;
    }

    private static bool Before(int a, int b, ReadOnlySpan<double> scores) => scores[a] > scores[b] || (scores[a] == scores[b] && a < b);

    // The largest weight is 1, so min_p is the least weight itself.
    private void KeepMinP()
    {
        int kept = 0;
        double mass = 0;
        for (int i = 0; i < Count; i++)
            if (weights[i] >= options.MinP)
            {
                ids[kept] = ids[i];
                mass += weights[kept++] = weights[i];
            }
        Count = kept;
        Mass = mass;
    }

    private void KeepTypical(ReadOnlySpan<double> scores)
    {
        double logMass = Math.Log(Mass), entropy = 0;
        for (int i = 0; i < Count; i++)
            if (weights[i] > 0)
                entropy -= (scores[ids[i]] - max - logMass) * (weights[i] / Mass);
        for (int i = 0; i < Count; i++)
            keys[i] = Math.Abs(-(scores[ids[i]] - max - logMass) - entropy);
        // The order of the tokens follows their distance; equal distances stay or go together, so their order among themselves does not matter.
        keys.AsSpan(0, Count).Sort(Ids);
        double taken = 0;
        int last = 0;
        for (; last < Count - 1; last++)
        {
            taken += (scores[ids[last]] == max ? 1 : Math.Exp(scores[ids[last]] - max)) / Mass;
            if (taken >= options.TypicalP)
                break;
        }
        int kept = last + 1;
        while (kept < Count && keys[kept] <= keys[last])
            kept++;
        Count = kept;
        Weigh(scores);
    }
}
