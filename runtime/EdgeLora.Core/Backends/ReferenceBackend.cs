namespace EdgeLora.Core;

/// <summary>
/// The specification: one scalar loop an op, one thread, F32 in and out, F64 inside an op. Slow on purpose and simple enough to be read.
/// </summary>
public sealed class ReferenceBackend : IComputeBackend
{
    /// <inheritdoc/>
    public string Name => "reference";

    /// <inheritdoc/>
    public string Description => "scalar reference, 1 thread";

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => tensor.Type.IsWeight()
        ? new HostTensor(tensor)
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected F32, F16, BF16, Q8_0 or Q4_0");

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => new HostTensor(name, type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) =>
        values.CopyTo(Out(destination)[(row * destination.Columns)..]);

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) =>
        In(source).Slice(row * source.Columns, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) =>
        In(source).Slice(sourceRow * source.Columns, rows * source.Columns).CopyTo(Out(destination)[(destinationRow * destination.Columns)..]);

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns)
    {
        for (int t = 0; t < rows; t++)
            In(source).Slice(t * source.Columns + sourceColumn, columns).CopyTo(Out(destination)[(t * destination.Columns + destinationColumn)..]);
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        int width = site.Table.Columns;
        double[] row = new double[width];
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            for (int t = group.Start; t < group.Start + group.Count; t++)
            {
                int token = batch.Tokens[t];
                int replaced = adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, token) : -1;
                DeviceTensor table = replaced >= 0 ? adapter!.Rows!.Values : adapter?.Weight ?? site.Table;
                ReadRow(table, replaced >= 0 ? replaced : token, row);
                foreach (LowRankStep step in adapter?.Steps ?? [])
                    AddStep(step, r => Element(step.A, (long)r * step.A.Columns + token), row);
                Store(row, Out(y).Slice(t * width, width));
            }
        }
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        int inputs = site.Inputs, outputs = site.Outputs;
        double[] row = new double[outputs];
        float[] weightRow = new float[inputs];
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor weight = adapter?.Weight ?? site.Weight;
            for (int t = group.Start; t < group.Start + group.Count; t++)
            {
                ReadOnlySpan<float> input = In(x).Slice(t * x.Columns, inputs);
                for (int o = 0; o < outputs; o++)
                {
                    int replaced = adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, o) : -1;
                    if (replaced >= 0)
                        ReadRow(adapter!.Rows!.Values, replaced, weightRow);
                    else if (site.InputMajor)
                        for (int i = 0; i < inputs; i++)
                            weightRow[i] = Element(weight, (long)i * outputs + o);
                    else
                        ReadRow(weight, o, weightRow);
                    row[o] = Dot(weightRow, input);
                }
                foreach (LowRankStep step in adapter?.Steps ?? [])
                {
                    float[] a = new float[inputs];
                    double[] down = new double[step.Rank];
                    for (int r = 0; r < step.Rank; r++)
                    {
                        ReadRow(step.A, r, a);
                        down[r] = Dot(a, input);
                    }
                    AddStep(step, r => down[r], row);
                }
                if ((adapter?.Bias ?? site.Bias) is { } bias)
                    for (int o = 0; o < outputs; o++)
                        row[o] += Element(bias, o);
                Store(row, Out(y).Slice(t * y.Columns, outputs));
            }
        }
    }

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: true);

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x)
    {
        int count = cos.Columns;
        for (int t = 0; t < rows; t++)
            for (int head = 0; head < x.Columns; head += headSize)
            {
                Span<float> h = Out(x).Slice(t * x.Columns + head, headSize);
                for (int i = 0; i < count; i++)
                {
                    (int first, int second) = pairs == RopePairs.Halves ? (i, i + count) : (2 * i, 2 * i + 1);
                    double c = In(cos)[t * count + i], s = In(sin)[t * count + i], a = h[first], b = h[second];
                    h[first] = (float)(a * c - b * s);
                    h[second] = (float)(a * s + b * c);
                }
            }
    }

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
        int headSize = shape.HeadSize, group = shape.Heads / shape.KvHeads;
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            ReadOnlySpan<float> keys = In(sequence.Cache.Keys[layer]), values = In(sequence.Cache.Values[layer]);
            int width = sequence.Cache.Keys[layer].Columns;
            for (int t = 0; t < sequence.Count; t++)
            {
                int last = sequence.Past + (shape.Causal ? t : sequence.Count - 1);
                int first = shape.Window > 0 ? Math.Max(0, last - shape.Window + 1) : 0;
                double[] p = new double[last - first + 1];
                for (int head = 0; head < shape.Heads; head++)
                {
                    int at = (sequence.Start + t) * q.Columns + head * headSize, kv = head / group * headSize;
                    double max = double.NegativeInfinity, sum = 0;
                    for (int j = first; j <= last; j++)
                        max = Math.Max(max, p[j - first] = shape.Scale * Dot(In(q).Slice(at, headSize), keys.Slice(j * width + kv, headSize)));
                    for (int j = 0; j < p.Length; j++)
                        sum += p[j] = Math.Exp(p[j] - max);
                    for (int d = 0; d < headSize; d++)
                    {
                        double total = 0;
                        for (int j = first; j <= last; j++)
                            total += p[j - first] * values[j * width + kv + d];
                        Out(y)[at + d] = (float)(total / sum);
                    }
                }
            }
        }
    }

    /// <inheritdoc/>
    public void SwiGlu(int rows, DeviceTensor gate, DeviceTensor up, DeviceTensor y)
    {
        for (int i = 0; i < rows * y.Columns; i++)
        {
            double g = In(gate)[i];
            Out(y)[i] = (float)(g / (1 + Math.Exp(-g)) * In(up)[i]);
        }
    }

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        for (int i = 0; i < rows * y.Columns; i++)
        {
            double v = In(x)[i];
            Out(y)[i] = (float)(kind switch
            {
                Activation.Gelu => 0.5 * v * (1 + ErrorFunction.Erf(v / Math.Sqrt(2))),
                Activation.GeluTanh => 0.5 * v * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v))),
                Activation.Relu => v < 0 ? 0 : v,
                Activation.Silu => v / (1 + Math.Exp(-v)),
                _ => Math.Tanh(v),
            });
        }
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        for (int i = 0; i < rows * z.Columns; i++)
            Out(z)[i] = In(x)[i] + In(y)[i];
    }

    /// <inheritdoc/>
    public void Dispose() { }

    private static void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y, bool subtractMean)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor gain = adapter?.Weight ?? site.Gain;
            DeviceTensor? bias = adapter?.Bias ?? site.Bias;
            for (int at = group.Start * x.Columns; at < (group.Start + group.Count) * x.Columns; at += site.Width)
            {
                ReadOnlySpan<float> input = In(x).Slice(at, site.Width);
                double mean = 0, square = 0;
                foreach (float v in input)
                    mean += subtractMean ? v : 0;
                mean /= site.Width;
                foreach (float v in input)
                    square += (v - mean) * (v - mean);
                double scale = 1 / Math.Sqrt(square / site.Width + site.Epsilon);
                Span<float> output = Out(y).Slice(at, site.Width);
                for (int d = 0; d < site.Width; d++)
                    output[d] = (float)(Element(gain, d) * (input[d] - mean) * scale + (bias is null ? 0 : Element(bias, d)));
            }
        }
    }

    private static void AddStep(LowRankStep step, Func<int, double> down, double[] row)
    {
        for (int o = 0; o < row.Length; o++)
        {
            double up = step.OutputBias is null ? 0 : Element(step.OutputBias, o);
            for (int r = 0; r < step.Rank; r++)
                up += Element(step.B, (long)o * step.Rank + r) * down(r);
            row[o] = (row[o] + step.Scale * up) * (step.Gain is null ? 1 : Element(step.Gain, o));
        }
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += (double)a[i] * b[i];
        return sum;
    }

    private static void ReadRow(DeviceTensor tensor, long row, Span<float> destination)
    {
        int bytes = (int)tensor.Type.Bytes(tensor.Columns);
        Dequantize.ToFloats(tensor.Type, ((HostTensor)tensor).Bytes.Slice(checked((int)(row * bytes)), bytes), destination);
    }

    private static void ReadRow(DeviceTensor tensor, long row, double[] destination)
    {
        float[] floats = new float[destination.Length];
        ReadRow(tensor, row, floats);
        for (int i = 0; i < floats.Length; i++)
            destination[i] = floats[i];
    }

    private static float Element(DeviceTensor tensor, long index)
    {
        int size = tensor.Type.BlockBytes();
        return Dequantize.Element(tensor.Type, ((HostTensor)tensor).Bytes.Slice(checked((int)(index * size)), size));
    }

    private static void Store(double[] row, Span<float> destination)
    {
        for (int i = 0; i < row.Length; i++)
            destination[i] = (float)row[i];
    }

    private static ReadOnlySpan<float> In(DeviceTensor tensor) => ((HostTensor)tensor).ReadFloats;

    private static Span<float> Out(DeviceTensor tensor) => ((HostTensor)tensor).Floats;
}
