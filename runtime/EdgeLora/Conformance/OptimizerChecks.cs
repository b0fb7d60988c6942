using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The optimizers and what they need: formulas in F64 are their reference.</summary>
internal static class OptimizerChecks
{
    private const double Relative = 1e-6, Absolute = 1e-7;

    public static readonly ConformanceCheck[] All =
    [
        new("AdamW is its formula over three steps", AdamW),
        new("Sgd is its formula", Sgd),
        new("A sum of squares keeps the digits of F64", SumOfSquares),
        new("DoraGainBackward adds the gain's derivative over the norm", DoraGainBackward),
        new("Clear leaves the rows behind", Clear),
        new("An optimizer's step is seen by the next pass", NextPass),
    ];

    private static void AdamW(ConformanceRun run)
    {
        const int count = 131;
        ITrainingBackend b = run.Training;
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
                for (int i = 0; i < count; i++)
                {
                    double d = 0.25 * gradient[i];
                    first[i] = 0.9 * first[i] + 0.1 * d;
                    second[i] = 0.95 * second[i] + 0.05 * d * d;
                    weight[i] -= 0.01 * n * 0.1 * weight[i];
                    weight[i] -= 0.01 * n * (first[i] / (1 - Math.Pow(0.9, n))) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.95, n))) + 1e-8);
                }
                string what = FormattableString.Invariant($"step {n}, gradients of {size:g1}");
                run.Same(nameof(b.AdamW), $"{what}: the gradient stays", gradient, BackendCases.Read(b, g));
                run.Near(nameof(b.AdamW), $"{what}: weight", weight, BackendCases.Read(b, p), Relative, Absolute);
                run.Near(nameof(b.AdamW), $"{what}: m", first, BackendCases.Read(b, m), Relative, Absolute * size);
                run.Near(nameof(b.AdamW), $"{what}: v", second, BackendCases.Read(b, v), Relative, Absolute * size * size);
            }
        }
    }

    private static void Sgd(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        DeviceTensor p = BackendCases.Buffer(b, 1, 3, 43), g = BackendCases.Buffer(b, 2, 3, 43, 5);
        float[] weight = BackendCases.Read(b, p), gradient = BackendCases.Read(b, g);
        b.Sgd(p, g, 0.1, 0.02, 0.5);
        run.Near(nameof(b.Sgd), "3 x 43", [.. weight.Select((w, i) => w - 0.1 * (0.5 * gradient[i] + 0.02 * w))], BackendCases.Read(b, p), Relative, Absolute);
    }

    private static void SumOfSquares(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        foreach ((int rows, int columns) in ((int, int)[])[(1, 1), (3, 5), (1, 257), (129, 1030)])
        {
            DeviceTensor x = BackendCases.Buffer(b, rows, rows, columns, 100);
            run.Near(nameof(b.SumOfSquares), $"{rows} x {columns}", BackendCases.Read(b, x).Sum(v => (double)v * v), b.SumOfSquares(x), 1e-12);
        }
        DeviceTensor huge = b.Allocate("x", DType.F32, new Shape(1, 2));
        b.Write([1e30f, 1e30f], huge, 0);
        run.Near(nameof(b.SumOfSquares), "1e30 twice", 2e60, b.SumOfSquares(huge), 5e-7);
    }

    private static void DoraGainBackward(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        DeviceTensor norms = BackendCases.Buffer(b, 1, 1, 300, 4), dgain = BackendCases.Buffer(b, 2, 1, 300), dm = BackendCases.Buffer(b, 3, 1, 300);
        float[] norm = Array.ConvertAll(BackendCases.Read(b, norms), v => v < -3 ? 0 : 0.1f + Math.Abs(v)), d = BackendCases.Read(b, dgain), before = BackendCases.Read(b, dm);
        b.Write(norm, norms, 0);
        b.DoraGainBackward(norms, dgain, dm);
        run.Near(nameof(b.DoraGainBackward), "300 outputs, some of norm 0", [.. norm.Select((n, i) => before[i] + (n > 0 ? d[i] / (double)n : 0))], BackendCases.Read(b, dm), Relative, Absolute);
        run.Same(nameof(b.DoraGainBackward), "the gain's derivative stays", d, BackendCases.Read(b, dgain));
    }

    private static void Clear(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        DeviceTensor x = BackendCases.Buffer(b, 1, 5, 33);
        float[] before = BackendCases.Read(b, x);
        b.Clear(3, x);
        run.Same(nameof(b.Clear), "three of five rows", [.. new float[99], .. before[99..]], BackendCases.Read(b, x));
    }

    private static void NextPass(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        DeviceTensor weight = BackendCases.Buffer(b, 1, 33, 33), x = BackendCases.Buffer(b, 2, 3, 33), y = b.Allocate("y", DType.F32, x.Shape), dx = b.Allocate("dx", DType.F32, x.Shape);
        LinearSite site = new("w", 0, weight, null, false);
        BatchLayout batch = BackendCases.Rows(3, SiteTable.Base);
        b.Linear(batch, site, x, y);
        b.LinearBackward(batch, site, x, y, dx, new Gradients());
        // A step of 1 on a gradient of W itself leaves nothing.
        DeviceTensor gradient = b.Allocate("gradient", DType.F32, weight.Shape);
        b.Copy(weight, 0, gradient, 0, 33);
        b.Sgd(weight, gradient, 1, 0, 1);
        b.Clear(3, dx);
        b.LinearBackward(batch, site, x, y, dx, new Gradients());
        b.Linear(batch, site, x, y);
        float[] zeros = new float[99];
        run.Same(nameof(b.Linear), "on a weight that is 0 now", zeros, BackendCases.Read(b, y));
        run.Same(nameof(b.LinearBackward), "on a weight that is 0 now", zeros, BackendCases.Read(b, dx));
    }
}
