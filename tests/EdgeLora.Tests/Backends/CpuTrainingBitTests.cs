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
            LinearBits.JobsAreEqual(one, two, type, inputMajor);
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
        b => BackwardCases.GatedActivation(b, Activation.Silu, 257, 64),
        b => BackwardCases.CrossEntropy(b, 1000, 64),
    ];

    private static List<float[]> Run(CpuBackend backend, Func<ITrainingBackend, BackwardCase> build)
    {
        BackwardCase c = build(backend);
        c.Forward();
        c.Backward();
        return [.. c.Leaves.Select(leaf => BackendCases.Read(backend, leaf.Gradient))];
    }
}
