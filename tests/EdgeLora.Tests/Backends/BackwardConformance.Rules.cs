using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

// What holds for the backward ops beside their numbers, and the ops that need no reference.
public abstract partial class BackwardConformance
{
    [Fact]
    public void A_job_s_derivatives_have_the_same_bits_beside_other_jobs()
    {
        foreach (DType type in (DType[])[DType.F32, DType.Q8_0])
            foreach (double dropout in (double[])[0, 0.3])
            {
                float[][] alone = Job(type, dropout, 0, 0);
                Assert.Equal(alone, Job(type, dropout, 4, 0));
                Assert.Equal(alone, Job(type, dropout, 3, 61));
            }
    }

    [Fact]
    public void A_sequence_s_derivatives_have_the_same_bits_beside_other_sequences()
    {
        float[][] alone = Sequence(0), beside = Sequence(37);
        Assert.Equal(alone, beside);

        float[][] Sequence(int before)
        {
            const int count = 21;
            ITrainingBackend b = Backend;
            BatchLayout batch = new();
            foreach (int rows in before > 0 ? (int[])[before, count] : [count])
            {
                batch.BeginSequence(new KvBuffer(b, 1, 66, rows), 0);
                for (int t = 0; t < rows; t++)
                    batch.Add(0, SiteTable.Base);
            }
            b.StoreKeyValues(batch, 0, Placed(2, before, count, 0, 66), Placed(3, before, count, 0, 66));
            DeviceTensor[] d = [Placed(5, before, count, 0, 198), Placed(6, before, count, 0, 66), Placed(7, before, count, 0, 66)];
            b.AttentionBackward(batch, 0, new AttentionShape(6, 2, 33, 0.2f, 0), Placed(1, before, count, 0, 198), Placed(4, before, count, 0, 198), d[0], d[1], d[2]);
            return Array.ConvertAll(d, t => BackendCases.Read(b, t)[(before * t.Columns)..]);
        }
    }

    [Fact]
    public void A_dx_that_is_not_wanted_changes_no_other_derivative()
    {
        float[][] Run(bool wanted)
        {
            ITrainingBackend b = Backend;
            BatchLayout batch = Rows(5, SiteTable.Base);
            DeviceTensor x = BackendCases.Buffer(b, 1, 5, 33), dy = BackendCases.Buffer(b, 2, 5, 33), gain = BackendCases.Buffer(b, 3, 1, 33), weight = BackendCases.Buffer(b, 4, 33, 33);
            DeviceTensor dGain = BackendCases.Buffer(b, 5, 1, 33), dWeight = BackendCases.Buffer(b, 6, 33, 33);
            Gradients gradients = new();
            gradients.Add(gain, dGain);
            gradients.Add(weight, dWeight);
            DeviceTensor? dx = wanted ? BackendCases.Buffer(b, 7, 5, 33) : null;
            b.LinearBackward(batch, new("w", 0, weight, null, false), x, dy, dx, gradients);
            b.RmsNormBackward(batch, new("n", 0, gain, null, 1e-5f), x, dy, dx, gradients);
            b.LayerNormBackward(batch, new("n", 0, gain, null, 1e-5f), x, dy, dx, gradients);
            return [BackendCases.Read(b, dGain), BackendCases.Read(b, dWeight)];
        }
        Assert.Equal(Run(wanted: true), Run(wanted: false));
    }

    [Fact]
    public void A_NaN_is_not_hidden_by_a_backward_op()
    {
        ITrainingBackend b = Backend;
        const int width = 20;
        DeviceTensor half = Filled(0.5f), nan = Filled(float.NaN);
        DeviceTensor Filled(float value)
        {
            DeviceTensor tensor = b.Allocate("x", DType.F32, new Shape(1, width));
            b.Write([.. Enumerable.Repeat(value, width)], tensor, 0);
            return tensor;
        }
        void Spreads(string what, Action<DeviceTensor> op, bool finite = false)
        {
            DeviceTensor dx = Filled(0);
            op(dx);
            Assert.All(BackendCases.Read(b, dx), v => Assert.True(finite ? float.IsFinite(v) : float.IsNaN(v), what));
        }
        foreach (Activation kind in Enum.GetValues<Activation>())
        {
            Spreads($"{kind}, x", dx => b.ActivateBackward(1, kind, nan, half, dx));
            Spreads($"{kind}, dy", dx => b.ActivateBackward(1, kind, half, nan, dx));
        }
        Spreads("gate", dx => b.SwiGluBackward(1, nan, half, half, dx, Filled(0)));
        Spreads("up", dx => b.SwiGluBackward(1, half, half, nan, Filled(0), dx));
        BatchLayout batch = Rows(1, SiteTable.Base);
        Gradients none = new();
        NormSite norm = new("n", 0, Filled(1), null, 1e-5f);
        Spreads("rms", dx => b.RmsNormBackward(batch, norm, nan, half, dx, none));
        Spreads("layer", dx => b.LayerNormBackward(batch, norm, half, nan, dx, none));
        LinearSite linear = new("w", 0, BackendCases.Buffer(b, 1, width, width), null, false);
        Spreads("linear", dx => b.LinearBackward(batch, linear, half, nan, dx, none));
        DeviceTensor logits = Filled(0.5f), loss = b.Allocate("loss", DType.F32, new Shape(1, 1));
        b.Write([float.NaN], logits, 0);
        b.CrossEntropy(logits, [3], [1f], loss);
        Assert.All([.. BackendCases.Read(b, logits), .. BackendCases.Read(b, loss)], v => Assert.True(float.IsNaN(v), "cross-entropy"));
        Assert.True(double.IsNaN(b.SumOfSquares(nan)));
        DeviceTensor two = b.Allocate("x", DType.F32, new Shape(2, width)), dTwo = b.Allocate("dx", DType.F32, two.Shape);
        b.Write([.. Enumerable.Repeat(float.NaN, width)], two, 1);
        b.LinearBackward(Rows(2, SiteTable.Base), linear, two, two, dTwo, none);
        Assert.All(BackendCases.Read(b, dTwo)[..width], v => Assert.Equal(0f, v));
    }

    [Fact]
    public void AdamW_is_its_formula_over_three_steps()
    {
        const int count = 131;
        ITrainingBackend b = Backend;
        // The second size is where epsilon counts.
        foreach (float size in (float[])[30, 1e-7f])
        {
            DeviceTensor p = BackendCases.Buffer(b, 1, 1, count), m = b.Allocate("m", DType.F32, p.Shape), v = b.Allocate("v", DType.F32, p.Shape);
            double[] weight = [.. BackendCases.Read(b, p)], first = new double[count], second = new double[count];
            for (int n = 1; n <= 3; n++)
            {
                DeviceTensor g = BackendCases.Buffer(b, 10 + n, 1, count, size);
                float[] gradient = BackendCases.Read(b, g);
                b.AdamW(p, g, m, v, new AdamWStep(0.01 * n, 0.9, 0.95, 1e-8, 0.1, n, 0.25));
                Assert.Equal(gradient, BackendCases.Read(b, g));
                for (int i = 0; i < count; i++)
                {
                    double d = 0.25 * gradient[i];
                    first[i] = 0.9 * first[i] + 0.1 * d;
                    second[i] = 0.95 * second[i] + 0.05 * d * d;
                    weight[i] -= 0.01 * n * 0.1 * weight[i];
                    weight[i] -= 0.01 * n * (first[i] / (1 - Math.Pow(0.9, n))) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.95, n))) + 1e-8);
                }
                Near(weight, BackendCases.Read(b, p), 1);
                Near(first, BackendCases.Read(b, m), size);
                Near(second, BackendCases.Read(b, v), size * size);
            }
        }
    }

    [Fact]
    public void Sgd_is_its_formula()
    {
        ITrainingBackend b = Backend;
        DeviceTensor p = BackendCases.Buffer(b, 1, 3, 43), g = BackendCases.Buffer(b, 2, 3, 43, 5);
        float[] weight = BackendCases.Read(b, p), gradient = BackendCases.Read(b, g);
        b.Sgd(p, g, 0.1, 0.02, 0.5);
        Near([.. weight.Select((w, i) => w - 0.1 * (0.5 * gradient[i] + 0.02 * w))], BackendCases.Read(b, p), 1);
    }

    [Fact]
    public void A_sum_of_squares_keeps_the_digits_of_F64()
    {
        ITrainingBackend b = Backend;
        foreach ((int rows, int columns) in ((int, int)[])[(1, 1), (3, 5), (1, 257), (129, 1030)])
        {
            DeviceTensor x = BackendCases.Buffer(b, rows, rows, columns, 100);
            double expected = BackendCases.Read(b, x).Sum(v => (double)v * v);
            Assert.Equal(expected, b.SumOfSquares(x), 1e-12 * expected);
        }
        DeviceTensor huge = b.Allocate("x", DType.F32, new Shape(1, 2));
        b.Write([1e30f, 1e30f], huge, 0);
        Assert.Equal(2e60, b.SumOfSquares(huge), 1e54);
    }

    [Fact]
    public void Clear_leaves_the_rows_behind()
    {
        DeviceTensor x = BackendCases.Buffer(Backend, 1, 5, 33);
        float[] before = BackendCases.Read(Backend, x);
        Backend.Clear(3, x);
        Assert.Equal([.. new float[99], .. before[99..]], BackendCases.Read(Backend, x));
    }

    [Fact]
    public void An_optimizer_s_step_is_seen_by_the_next_pass()
    {
        ITrainingBackend b = Backend;
        DeviceTensor weight = BackendCases.Buffer(b, 1, 33, 33), x = BackendCases.Buffer(b, 2, 3, 33), y = b.Allocate("y", DType.F32, x.Shape), dx = b.Allocate("dx", DType.F32, x.Shape);
        LinearSite site = new("w", 0, weight, null, false);
        BatchLayout batch = Rows(3, SiteTable.Base);
        b.Linear(batch, site, x, y);
        b.LinearBackward(batch, site, x, y, dx, new Gradients());
        // A step of 1 on a gradient of W itself leaves nothing.
        DeviceTensor gradient = b.Allocate("gradient", DType.F32, weight.Shape);
        b.Copy(weight, 0, gradient, 0, 33);
        b.Sgd(weight, gradient, 1, 0, 1);
        b.Clear(3, dx);
        b.LinearBackward(batch, site, x, y, dx, new Gradients());
        b.Linear(batch, site, x, y);
        Assert.All([.. BackendCases.Read(b, y), .. BackendCases.Read(b, dx)], v => Assert.Equal(0f, v));
    }

    /// <summary>All derivatives of a job of seven rows (two steps, one with a gain, its own W and bias, a norm), between rows of another job.</summary>
    private float[][] Job(DType type, double dropout, int before, int after)
    {
        const int count = 7, width = 96;
        ITrainingBackend b = Backend;
        Gradients gradients = new();
        List<DeviceTensor> found = [];
        DeviceTensor Trained(int seed, int rows, int columns)
        {
            DeviceTensor tensor = BackendCases.Buffer(b, seed, rows, columns), gradient = BackendCases.Buffer(b, seed + 100, rows, columns);
            gradients.Add(tensor, gradient);
            found.Add(gradient);
            return tensor;
        }
        SiteTable Path(int seed) => new(
        [
            new SiteAdapter(
            [
                new(Trained(seed, 5, width), Trained(seed + 1, width, 5), 5, 0.5f, null, null, new Dropout(dropout) { Seed = 3 }),
                new(Trained(seed + 2, 8, width), Trained(seed + 3, width, 8), 8, 0.5f, Trained(seed + 4, 1, width), Trained(seed + 5, 1, width)),
            ], type == DType.F32 ? Trained(seed + 6, width, width) : null, Trained(seed + 7, 1, width)),
            new SiteAdapter([], Trained(seed + 8, 1, width), Trained(seed + 9, 1, width)),
        ]);
        SiteTable path = Path(10);
        int own = found.Count;
        SiteTable other = Path(30);
        BatchLayout batch = new();
        for (int t = 0; t < before + count + after; t++)
            batch.AddRow(t >= before && t < before + count ? path : other);
        LinearSite linear = new("w", 0, b.Upload(BackendCases.Weight(1, type, width, width)), null, false);
        NormSite norm = new("n", 1, b.Upload(BackendCases.Weight(2, DType.F32, width)), null, 1e-5f);
        DeviceTensor x = Placed(50, before, count, after, width), dy = Placed(51, before, count, after, width), dx = Placed(52, before, count, after, width);
        b.LinearBackward(batch, linear, x, dy, dx, gradients);
        b.LayerNormBackward(batch, norm, x, dy, dx, gradients);
        return [.. found.Take(own).Select(t => BackendCases.Read(b, t)), BackendCases.Read(b, dx)[(before * width)..((before + count) * width)]];
    }

    /// <summary>Rows of random numbers, between others that do not change them.</summary>
    private DeviceTensor Placed(int seed, int before, int count, int after, int columns)
    {
        DeviceTensor tensor = BackendCases.Buffer(Backend, seed + 1000, before + count + after, columns);
        Backend.Write(BackendCases.Random(seed, (long)count * columns), tensor, before);
        return tensor;
    }

    private static BatchLayout Rows(int count, SiteTable path)
    {
        BatchLayout batch = new();
        for (int t = 0; t < count; t++)
            batch.AddRow(path);
        return batch;
    }

    private static void Near(double[] expected, float[] found, double size)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < found.Length; i++)
            Assert.Equal(expected[i], found[i], 1e-6 * Math.Abs(expected[i]) + 1e-7 * size);
    }
}
