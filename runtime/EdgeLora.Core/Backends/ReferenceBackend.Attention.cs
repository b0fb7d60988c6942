using System.Diagnostics;

namespace EdgeLora.Core;

// Attention.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values)
    {
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            Copy(keys, sequence.Start, sequence.Cache.Keys[layer], sequence.Past, sequence.Count);
            Copy(values, sequence.Start, sequence.Cache.Values[layer], sequence.Past, sequence.Count);
        }
    }

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        int size = shape.HeadSize, group = shape.Heads / shape.KvHeads, width = shape.KvHeads * size;
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            double[] keys = Load(sequence.Cache.Keys[layer], 0, sequence.Past + sequence.Count), values = Load(sequence.Cache.Values[layer], 0, sequence.Past + sequence.Count);
            for (int t = 0; t < sequence.Count; t++)
            {
                double[] query = Load(q, sequence.Start + t, 1), row = new double[query.Length];
                (int first, int last) = Seen(sequence, shape, t);
                for (int head = 0; head < shape.Heads; head++)
                {
                    int at = head * size, kv = head / group * size;
                    (double[] p, double sum, _) = Weights(shape, head, query.AsSpan(at, size), keys, first, last, width, kv);
                    for (int d = 0; d < size; d++)
                    {
                        double total = 0;
                        for (int j = first; j <= last; j++)
                            total += p[j - first] * values[j * width + kv + d];
                        row[at + d] = total / sum;
                    }
                }
                Store(row, y, sequence.Start + t);
            }
        }
    }

    /// <inheritdoc/>
    public void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv)
    {
        int size = shape.HeadSize, group = shape.Heads / shape.KvHeads, width = shape.KvHeads * size;
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            Debug.Assert(sequence.Past == 0, "a backward pass knows no past");
            double[] keys = Load(sequence.Cache.Keys[layer], 0, sequence.Count), values = Load(sequence.Cache.Values[layer], 0, sequence.Count);
            double[] dKeys = new double[keys.Length], dValues = new double[values.Length];
            for (int t = 0; t < sequence.Count; t++)
            {
                double[] query = Load(q, sequence.Start + t, 1), dRow = Load(dy, sequence.Start + t, 1), dQuery = new double[query.Length];
                (int first, int last) = Seen(sequence, shape, t);
                for (int head = 0; head < shape.Heads; head++)
                {
                    int at = head * size, kv = head / group * size;
                    (double[] p, double sum, double[] slopes) = Weights(shape, head, query.AsSpan(at, size), keys, first, last, width, kv);
                    double[] dp = new double[p.Length];
                    for (int j = 0; j < p.Length; j++)
                    {
                        p[j] /= sum;
                        dp[j] = Dot(dRow.AsSpan(at, size), values.AsSpan((first + j) * width + kv, size));
                    }
                    double mean = Dot(p, dp);
                    for (int j = 0; j < p.Length; j++)
                    {
                        double ds = slopes[j] * p[j] * (dp[j] - mean);
                        int key = (first + j) * width + kv;
                        for (int d = 0; d < size; d++)
                        {
                            dQuery[at + d] += ds * keys[key + d];
                            dKeys[key + d] += ds * query[at + d];
                            dValues[key + d] += p[j] * dRow[at + d];
                        }
                    }
                }
                Accumulate(dQuery, dq, sequence.Start + t);
            }
            Accumulate(dKeys, dk, sequence.Start);
            Accumulate(dValues, dv, sequence.Start);
        }
    }

    /// <summary>Positions [First, Last] that row <paramref name="t"/> of a sequence sees.</summary>
    private static (int First, int Last) Seen(in SequenceSpan sequence, in AttentionShape shape, int t)
    {
        int last = sequence.Past + (shape.Causal ? t : sequence.Count - 1);
        return (shape.Window > 0 ? Math.Max(0, last - shape.Window + 1) : 0, last);
    }

    /// <summary>Softmax of the scores over positions [first, last], before it is divided by its sum; and each score's derivative in q·k.</summary>
    private static (double[] Weights, double Sum, double[] Slopes) Weights(in AttentionShape shape, int head, ReadOnlySpan<double> query, double[] keys, int first, int last, int width, int kv)
    {
        double[] p = new double[last - first + 1], slopes = new double[p.Length];
        double max = double.NegativeInfinity, sum = 0;
        float slope = shape.Slopes is null ? 0 : (float)Element(shape.Slopes, head);
        for (int j = first; j <= last; j++)
        {
            double product = Dot(query, keys.AsSpan(j * width + kv, query.Length)), score = shape.Scale * (shape.Slopes is null ? product : product + Alibi.Bias(slope, j));
            double capped = shape.Cap > 0 ? Math.Tanh(score / shape.Cap) : 0;
            slopes[j - first] = shape.Scale * (1 - capped * capped);
            max = Math.Max(max, p[j - first] = shape.Cap > 0 ? shape.Cap * capped : score);
        }
        for (int j = 0; j < p.Length; j++)
            sum += p[j] = Math.Exp(p[j] - max);
        return (p, sum, slopes);
    }
}
