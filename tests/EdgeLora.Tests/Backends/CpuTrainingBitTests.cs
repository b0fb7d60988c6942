using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule in training: derivatives depend on neither the thread count nor the jobs beside them.</summary>
public sealed class CpuTrainingBitTests
{
    private static IEnumerable<SimdTier> Tiers => Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware);

    [Fact]
    public void Derivatives_have_the_same_bits_on_any_number_of_threads()
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), two = new(2, tier), three = new(3, tier);
            foreach (Func<ITrainingBackend, BackwardCase> build in Cases())
            {
                List<float[]> expected = Run(one, build);
                Assert.Equal(expected, Run(two, build));
                Assert.Equal(expected, Run(three, build));
            }
        }
    }

    [Theory]
    [InlineData(DType.F32, false)]
    [InlineData(DType.F32, true)]
    [InlineData(DType.BF16, false)]
    [InlineData(DType.Q8_0, false)]
    public void A_job_has_the_same_bits_alone_between_others_and_in_two_runs_of_rows(DType type, bool inputMajor)
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), two = new(2, tier);
            foreach (bool dropout in (bool[])[false, true])
            {
                List<float[]> alone = Job(one, type, inputMajor, dropout, [(1, 0, 45)]);
                Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 13), (1, 0, 45), (0, 13, 30)]));
                Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 300), (1, 0, 45)]));
                // A mask counts its rows from the start of a run: a job with dropout stays in one.
                if (!dropout)
                    Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 1), (1, 0, 7), (0, 1, 1), (1, 7, 38)]));
            }
        }
    }

    [Fact]
    public void Steps_of_the_optimizers_and_a_sum_of_squares_have_the_same_bits_on_any_number_of_threads()
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), three = new(3, tier);
            Assert.Equal(Steps(one), Steps(three));
        }

        static float[] Steps(CpuBackend b)
        {
            DeviceTensor p = BackendCases.Buffer(b, 1, 301, 77), g = BackendCases.Buffer(b, 2, 301, 77), m = BackendCases.Buffer(b, 3, 301, 77), v = b.Allocate("v", DType.F32, p.Shape);
            b.AdamW(p, g, m, v, new AdamWStep(0.01, 0.9, 0.999, 1e-8, 0.1, 3, 0.5));
            b.Sgd(p, g, 0.01, 0.1, 0.5);
            double sum = b.SumOfSquares(p);
            return [.. BackendCases.Read(b, p), .. BackendCases.Read(b, m), .. BackendCases.Read(b, v), (float)sum, (float)(sum - (float)sum)];
        }
    }

    private static IEnumerable<Func<ITrainingBackend, BackwardCase>> Cases() =>
    [
        b => BackwardCases.Linear(b, new(DType.F32, 257, 100, 64, false, PathKind.Mixed, true)),
        b => BackwardCases.Linear(b, new(DType.F32, 257, 100, 64, true, PathKind.Mixed, true)),
        b => BackwardCases.Linear(b, new(DType.F32, 100, 257, 17, false, PathKind.Mixed, true), 0.3),
        b => BackwardCases.Linear(b, new(DType.Q8_0, 544, 300, 130, false, PathKind.Mixed, true)),
        b => BackwardCases.Linear(b, new(DType.Q4_0, 544, 300, 17, false, PathKind.OneStep, true)),
        b => BackwardCases.Embed(b, DType.F32, 257, 64),
        b => BackwardCases.Norm(b, 100, 64, 3, layer: true),
        b => BackwardCases.Norm(b, 257, 64, 1, layer: false),
        b => BackwardCases.Rope(b, RopePairs.Halves, 66, 33, 64),
        b => BackwardCases.Attention(b, new(6, 2, 33, 5, 9, 94)),
        b => BackwardCases.Attention(b, new(4, 4, 64, 0, 0, 70), causal: false),
        b => BackwardCases.Activate(b, Activation.Gelu, 257, 64),
        b => BackwardCases.SwiGlu(b, 257, 64),
        b => BackwardCases.CrossEntropy(b, 1000, 64),
    ];

    private static List<float[]> Run(CpuBackend backend, Func<ITrainingBackend, BackwardCase> build)
    {
        BackwardCase c = build(backend);
        c.Forward();
        c.Backward();
        return [.. c.Leaves.Select(leaf => BackendCases.Read(backend, leaf.Gradient))];
    }

    /// <summary>Gradients of job 1 and its rows of dx, in a batch of runs (job, the job's first row, rows).</summary>
    private static List<float[]> Job(CpuBackend b, DType type, bool inputMajor, bool dropout, (int Job, int First, int Rows)[] runs)
    {
        const int inputs = 96, outputs = 77;
        Gradients gradients = new();
        List<DeviceTensor> own = [];
        DeviceTensor Train(int job, int seed, int rows, int columns)
        {
            DeviceTensor parameter = BackendCases.Buffer(b, seed + 1000 * job, rows, columns), gradient = BackendCases.Buffer(b, seed + 1, rows, columns);
            gradients.Add(parameter, gradient);
            if (job == 1)
                own.Add(gradient);
            return parameter;
        }
        LowRankStep Step(int job, int seed, int rank, bool gain) => new(
            Train(job, seed, rank, inputs), Train(job, seed + 10, outputs, rank), rank, 0.75f, Train(job, seed + 20, 1, outputs), gain ? Train(job, seed + 30, 1, outputs) : null,
            dropout ? new Dropout(0.2) { Seed = (ulong)seed } : null);
        LinearSite site = new("site", 0, b.Upload(inputMajor ? BackendCases.Weight(1, type, inputs, outputs) : BackendCases.Weight(1, type, outputs, inputs)), null, inputMajor);
        SiteTable[] paths = [.. Enumerable.Range(0, 2).Select(job => new SiteTable([new SiteAdapter([Step(job, 100, 8, false), Step(job, 200, 5, true)])]))];
        BatchLayout batch = new();
        int total = runs.Sum(run => run.Rows), at = 0;
        DeviceTensor x = b.Allocate("x", DType.F32, new Shape(total, inputs)), dy = b.Allocate("dy", DType.F32, new Shape(total, outputs)), dx = b.Allocate("dx", DType.F32, x.Shape);
        foreach ((int job, int first, int rows) in runs)
        {
            b.Write(BackendCases.Random(7 + job, 300 * inputs).AsSpan(first * inputs, rows * inputs), x, at);
            b.Write(BackendCases.Random(17 + job, 300 * outputs).AsSpan(first * outputs, rows * outputs), dy, at);
            for (int t = 0; t < rows; t++, at++)
                batch.AddRow(paths[job]);
        }
        b.LinearBackward(batch, site, x, dy, dx, gradients);
        List<float> inputGradient = [];
        float[] all = BackendCases.Read(b, dx);
        at = 0;
        foreach ((int job, _, int rows) in runs)
        {
            if (job == 1)
                inputGradient.AddRange(all.AsSpan(at * inputs, rows * inputs));
            at += rows;
        }
        return [[.. inputGradient], .. own.Select(gradient => BackendCases.Read(b, gradient))];
    }
}
