using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The backward ops over the forward suite's sizes. Sizes of derivatives are those of sums of random terms: 0.1·√(number of terms).</summary>
public static class BackwardCases
{
    /// <summary>A linear layer. On an F32 weight all that the paths bring trains, W and bias too; on another only their F32 tensors, over a frozen base.</summary>
    public static BackwardCase Linear(ITrainingBackend b, LinearCase c, double dropout = 0)
    {
        BackwardCase result = new(b);
        bool all = c.Type == DType.F32;
        double rows = Math.Sqrt(Math.Max(1, c.Rows / 5.0)), inputs = 0.1 * rows * Math.Sqrt(c.Inputs), outputs = 0.1 * rows * Math.Sqrt(c.Outputs);
        DeviceTensor? Trained(string name, DeviceTensor? stored, double size) => stored is not null && (all || stored.Type == DType.F32) ? result.Train(name, stored, size) : stored;
        LinearSite site = BackendCases.Site(b, c);
        // A device may hold a frozen type as F32.
        site = site with { Weight = all ? Trained("W", site.Weight, 0.1 * rows)! : site.Weight, Bias = Trained("bias", site.Bias, 0.1 * rows) };
        LowRankStep Step(string name, LowRankStep step, ulong seed) => step with
        {
            A = Trained($"{name}: A", step.A, outputs)!,
            B = Trained($"{name}: B", step.B, inputs)!,
            OutputBias = Trained($"{name}: output bias", step.OutputBias, 0.1 * rows),
            Gain = Trained($"{name}: gain", step.Gain, inputs),
            Dropout = dropout > 0 ? new Dropout(dropout) { Seed = seed } : null,
        };
        SiteTable[] paths = BackendCases.Paths(b, c);
        for (int p = 0; p < paths.Length; p++)
            if (paths[p][0] is { } adapter)
                paths[p] = new([adapter with
                {
                    Steps = [.. adapter.Steps.Select((step, k) => Step($"path {p}, step {k}", step, (ulong)(10 * p + k)))],
                    Weight = Trained($"path {p}: W", adapter.Weight, 0.1 * rows),
                    Bias = Trained($"path {p}: bias", adapter.Bias, 0.1 * rows),
                    // Replaced rows want a frozen weight beneath them.
                    Rows = all ? null : adapter.Rows,
                }]);
        BatchLayout batch = new();
        BackendCases.Fill(batch, paths, 0, c.Rows);
        Leaf x = result.Input("x", c.Rows, c.Inputs, 0.1 * Math.Sqrt(c.Outputs));
        Output y = result.Output(c.Rows, c.Outputs);
        result.Forward = () => b.Linear(batch, site, x.Value, y.Y);
        result.Backward = () => b.LinearBackward(batch, site, x.Value, y.Dy, x.Gradient, result.Gradients);
        return result;
    }

    /// <summary>An embedding; with <paramref name="head"/> its table is a linear layer's weight too, whose input is the embedding's output.</summary>
    public static BackwardCase Embed(ITrainingBackend b, DType type, int width, int rows, bool head = false)
    {
        const int vocabulary = 50;
        BackwardCase result = new(b);
        bool all = type == DType.F32;
        DeviceTensor Stored(string name, int seed, DType t, double size, params ReadOnlySpan<long> shape)
        {
            DeviceTensor stored = b.Upload(BackendCases.Weight(seed, t, shape));
            return all || t == DType.F32 ? result.Train(name, stored, size) : stored;
        }
        LowRankStep Step(int seed, int rank, DType t, bool gain) => new(
            Stored($"A{seed}", seed, t, 0.1 * Math.Sqrt(width), rank, vocabulary), Stored($"B{seed}", seed + 1, t, 0.1, width, rank), rank, 0.5f,
            null, gain ? Stored($"gain{seed}", seed + 2, DType.F32, 0.1, width) : null);
        EmbeddingSite site = new("embed", 0, Stored("table", 1, type, head ? 1 : 0.1, vocabulary, width));
        SiteTable[] paths =
        [
            SiteTable.Base,
            new([new SiteAdapter([Step(10, 8, DType.F32, false)])]),
            new([new SiteAdapter([Step(20, 3, DType.BF16, true), Step(30, 5, DType.F16, false)])]),
            new([new SiteAdapter([Step(40, 2, DType.F32, true)], Rows: all ? null : new([0, 7, 20, 21, 22, 23, 24, 25], b.Upload(BackendCases.Weight(44, DType.F32, 8, width))))]),
            new([new SiteAdapter([], Stored("path's table", 50, DType.BF16, 0.1, vocabulary, width))]),
        ];
        KvBuffer cache = new(b, 1, 1, 1);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        for (int t = 0; t < rows; t++)
            batch.Add(t * 7 % 11, paths[t / 2 % paths.Length]);
        if (!head)
        {
            Output y = result.Output(rows, width);
            result.Forward = () => b.Embed(batch, site, y.Y);
            result.Backward = () => b.EmbedBackward(batch, site, y.Dy, result.Gradients);
            return result;
        }
        LinearSite tied = new("head", 1, site.Table, null, false);
        DeviceTensor hidden = result.Scratch(rows, width), dHidden = result.Scratch(rows, width);
        Output logits = result.Output(rows, vocabulary);
        result.Forward = () =>
        {
            b.Embed(batch, site, hidden);
            b.Linear(batch, tied, hidden, logits.Y);
        };
        result.Backward = () =>
        {
            b.Clear(rows, dHidden);
            b.LinearBackward(batch, tied, hidden, logits.Dy, dHidden, result.Gradients);
            b.EmbedBackward(batch, site, dHidden, result.Gradients);
        };
        return result;
    }

    /// <summary>A norm on two paths that both train, over <paramref name="pieces"/> pieces a row, of so many heads with gains of their own.</summary>
    public static BackwardCase Norm(ITrainingBackend b, int width, int rows, int pieces, bool layer, int heads = 1, float offset = 0)
    {
        BackwardCase result = new(b);
        double size = 0.1 * Math.Sqrt(rows * pieces);
        DeviceTensor Stored(string name, int seed, DType type) => result.Train(name, b.Upload(BackendCases.Weight(seed, type, heads * width)), size);
        NormSite site = new("norm", 0, Stored("gain", 1, DType.BF16), layer ? Stored("bias", 2, DType.F32) : null, 1e-5f, heads, offset);
        SiteTable other = new([new SiteAdapter([], Stored("path's gain", 3, DType.F16), layer ? Stored("path's bias", 4, DType.F16) : null)]);
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(t % 3 == 1 ? other : SiteTable.Base);
        // A short piece may be almost constant or almost zero: its derivative is then a difference of numbers as large as 1/√(what is left).
        Leaf x = result.Input("x", rows, width * pieces, width < 8 ? 10 : 0.1);
        Output y = result.Output(rows, width * pieces);
        result.Forward = () => (layer ? (Action<BatchLayout, NormSite, DeviceTensor, DeviceTensor>)b.LayerNorm : b.RmsNorm)(batch, site, x.Value, y.Y);
        result.Backward = () =>
        {
            if (layer)
                b.LayerNormBackward(batch, site, x.Value, y.Dy, x.Gradient, result.Gradients);
            else
                b.RmsNormBackward(batch, site, x.Value, y.Dy, x.Gradient, result.Gradients);
        };
        return result;
    }

    /// <summary>Rotary positions: three heads, of which 2·<paramref name="n"/> dimensions turn by angles that are no angles (cos² + sin² ≠ 1, as with an attention factor).</summary>
    public static BackwardCase Rope(ITrainingBackend b, RopePairs pairs, int headSize, int n, int rows)
    {
        BackwardCase result = new(b);
        DeviceTensor cos = BackendCases.Buffer(b, 2, rows, n), sin = BackendCases.Buffer(b, 3, rows, n), turned = result.Scratch(rows, 3 * headSize);
        Leaf x = result.Input("x", rows, 3 * headSize, 0.1);
        Output y = result.Output(rows, 3 * headSize);
        result.Forward = () =>
        {
            b.Copy(x.Value, 0, y.Y, 0, rows);
            b.Rope(rows, headSize, pairs, cos, sin, y.Y);
        };
        result.Backward = () =>
        {
            b.Copy(y.Dy, 0, turned, 0, rows);
            b.RopeBackward(rows, headSize, pairs, cos, sin, turned);
            b.Add(rows, x.Gradient, turned, x.Gradient);
        };
        return result;
    }

    /// <summary>Attention over two sequences: the case's past and rows as one, and half as many.</summary>
    public static BackwardCase Attention(ITrainingBackend b, AttentionCase c, bool causal = true, float scale = 1)
    {
        const int layer = 1;
        BackwardCase result = new(b);
        int total = c.Past + c.Rows, width = c.KvHeads * c.HeadSize, heads = c.Heads * c.HeadSize, rows = total + (total + 1) / 2;
        BatchLayout batch = new();
        foreach (int count in (int[])[total, rows - total])
        {
            batch.BeginSequence(new KvBuffer(b, 2, width, count), 0);
            for (int t = 0; t < count; t++)
                batch.Add(0, SiteTable.Base);
        }
        AttentionShape shape = c.Shape(b, causal);
        Leaf q = result.Input("q", rows, heads, 0.02, v => scale * v), k = result.Input("k", rows, width, 0.02, v => scale * v), v = result.Input("v", rows, width, 0.02);
        Output y = result.Output(rows, heads);
        result.Forward = () =>
        {
            b.StoreKeyValues(batch, layer, k.Value, v.Value);
            b.Attention(batch, layer, shape, q.Value, y.Y);
        };
        result.Backward = () => b.AttentionBackward(batch, layer, shape, q.Value, y.Dy, q.Gradient, k.Gradient, v.Gradient);
        return result;
    }

    /// <summary>A nonlinearity; numbers keep away from 0, where ReLU has no derivative.</summary>
    public static BackwardCase Activate(ITrainingBackend b, Activation kind, int width, int rows)
    {
        BackwardCase result = new(b);
        Leaf x = result.Input("x", rows, width, 0.1, v => 6 * v + 0.1f * MathF.Sign(v));
        Output y = result.Output(rows, width);
        result.Forward = () => b.Activate(rows, kind, x.Value, y.Y);
        result.Backward = () => b.ActivateBackward(rows, kind, x.Value, y.Dy, x.Gradient);
        return result;
    }

    /// <summary>A gated nonlinearity; gates keep away from 0, as in <see cref="Activate"/>.</summary>
    public static BackwardCase GatedActivation(ITrainingBackend b, Activation kind, int width, int rows)
    {
        BackwardCase result = new(b);
        Leaf gate = result.Input("gate", rows, width, 0.1, v => 6 * v + 0.1f * MathF.Sign(v)), up = result.Input("up", rows, width, 0.1, v => 3 * v);
        Output y = result.Output(rows, width);
        result.Forward = () => b.GatedActivation(rows, kind, gate.Value, up.Value, y.Y);
        result.Backward = () => b.GatedActivationBackward(rows, kind, gate.Value, up.Value, y.Dy, gate.Gradient, up.Gradient);
        return result;
    }

    /// <summary>Cross-entropy over a vocabulary of <paramref name="width"/>, every fourth row without a label; what a row counts is its output's derivative.</summary>
    public static BackwardCase CrossEntropy(ITrainingBackend b, int width, int rows, float scale = 4)
    {
        BackwardCase result = new(b);
        int[] labels = [.. Enumerable.Range(0, rows).Select(t => t % 4 == 1 ? -100 : t * 31 % width)];
        Leaf z = result.Input("logits", rows, width, 0.02, v => scale * v);
        DeviceTensor copy = result.Scratch(rows, width);
        Output losses = result.Output(rows, 1);
        float[] scales = losses.Derivative[..rows];
        void Run()
        {
            b.Copy(z.Value, 0, copy, 0, rows);
            b.CrossEntropy(copy, labels, scales, losses.Y);
        }
        result.Forward = Run;
        result.Backward = () =>
        {
            Run();
            b.Add(rows, z.Gradient, copy, z.Gradient);
        };
        return result;
    }
}
