using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule: a row's result depends on that row alone.</summary>
public sealed class CpuBitTests
{
    private static IEnumerable<SimdTier> Tiers => Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware);

    public static TheoryData<DType> WeightTypes => [.. BackendCases.WeightTypes];

    [Theory]
    [MemberData(nameof(WeightTypes))]
    public void A_linear_row_has_the_same_bits_alone_in_any_batch_and_on_any_number_of_threads(DType type)
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), two = new(2, tier), three = new(3, tier);
            foreach (LinearCase c in Cases(type))
            {
                float[] all = BackendConformance.Linear(one, c);
                Assert.Equal(all, BackendConformance.Linear(two, c));
                Assert.Equal(all, BackendConformance.Linear(three, c));
                foreach (int chunk in (int[])[1, 2, 3, 4, 7])
                {
                    List<float> pieces = [];
                    for (int t = 0; t < c.Rows; t += chunk)
                        pieces.AddRange(BackendConformance.Linear(two, c, t, Math.Min(chunk, c.Rows - t)));
                    Assert.True(all.AsSpan().SequenceEqual(pieces.ToArray()), $"{tier} {c} in chunks of {chunk}");
                }
            }
        }
    }

    [Fact]
    public void An_attention_row_has_the_same_bits_for_any_chunking_and_on_any_number_of_threads()
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), two = new(2, tier), three = new(3, tier);
            foreach (AttentionCase c in BackendCases.Attentions())
            {
                float[] all = BackendConformance.Attention(one, c, c.Rows);
                foreach (int chunk in (int[])[1, 2, 5, 64])
                {
                    Assert.Equal(all, BackendConformance.Attention(two, c, chunk));
                    Assert.Equal(all, BackendConformance.Attention(three, c, chunk));
                }
            }
        }
    }

    [Fact]
    public void All_other_ops_have_the_same_bits_on_any_number_of_threads()
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), three = new(3, tier);
            foreach (DType type in BackendCases.WeightTypes)
                Assert.Equal(BackendConformance.Embed(one, type, 256, 300), BackendConformance.Embed(three, type, 256, 300));
            foreach (bool layer in (bool[])[false, true])
                Assert.Equal(BackendConformance.Norm(one, 257, 100, 3, layer), BackendConformance.Norm(three, 257, 100, 3, layer));
            foreach (Action<IComputeBackend, DeviceTensor> op in (Action<IComputeBackend, DeviceTensor>[])
                [
                    (b, x) => b.SwiGlu(99, x, x, x), (b, x) => b.Activate(99, Activation.Gelu, x, x), (b, x) => b.Activate(99, Activation.GeluTanh, x, x), (b, x) => b.Add(99, x, x, x),
                    (b, x) => b.Rope(99, 321, RopePairs.Halves, BackendCases.Buffer(b, 2, 99, 101), BackendCases.Buffer(b, 3, 99, 101), x),
                ])
            {
                DeviceTensor x = BackendCases.Buffer(one, 1, 99, 321, 6), y = BackendCases.Buffer(three, 1, 99, 321, 6);
                op(one, x);
                op(three, y);
                Assert.Equal(BackendCases.Read(one, x), BackendCases.Read(three, y));
            }
        }
    }

    private static IEnumerable<LinearCase> Cases(DType type)
    {
        if (type.BlockSize() > 1)
            return [new(type, 544, 100, 17, false, PathKind.Mixed, true), new(type, 1056, 250, 9, false, PathKind.OneStep, false)];
        return
        [
            new(type, 33, 13, 17, false, PathKind.Mixed, true), new(type, 1030, 250, 9, false, PathKind.OneStep, false), new(type, 512, 40, 131, false, PathKind.Base, true),
            new(type, 33, 13, 17, true, PathKind.Mixed, true), new(type, 300, 250, 9, true, PathKind.OneStep, false),
        ];
    }
}
