using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule: a row's result depends on that row alone.</summary>
public sealed class CpuBitTests
{
    private static IEnumerable<SimdTier> Tiers => Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware);

    // One of every form of factors, and one that is never packed.
    public static TheoryData<DType> WeightTypes =>
        [.. BackendCases.WeightTypes, DType.Q4_K, DType.Q5_1, DType.Q6_K, DType.Q2_K, DType.NVFP4, DType.IQ3_S];

    [Theory]
    [MemberData(nameof(WeightTypes))]
    public void A_linear_row_has_the_same_bits_alone_in_any_batch_and_on_any_number_of_threads(DType type)
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend one = new(1, tier), two = new(2, tier), three = new(3, tier);
            foreach (LinearCase c in LinearBits.Cases(type))
            {
                float[] all = ForwardCases.Linear(one, c);
                Assert.Equal(all, ForwardCases.Linear(two, c));
                Assert.Equal(all, ForwardCases.Linear(three, c));
                LinearBits.EqualInChunks(two, c, all, tier.ToString());
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
                float[] all = ForwardCases.Attention(one, c, c.Rows);
                foreach (int chunk in (int[])[1, 2, 5, 64])
                {
                    Assert.Equal(all, ForwardCases.Attention(two, c, chunk));
                    Assert.Equal(all, ForwardCases.Attention(three, c, chunk));
                }
            }
        }
    }

    [Fact]
    public void A_value_that_is_no_number_stays_hidden_from_the_rows_before_it()
    {
        foreach (SimdTier tier in Tiers)
        {
            using CpuBackend backend = new(2, tier);
            float[] whole = Prefill(float.NaN), clean = Prefill(1);
            Assert.Equal(clean[..(19 * 2 * 48)], whole[..(19 * 2 * 48)]);
            Assert.All(whole[(19 * 2 * 48)..(19 * 2 * 48 + 48)], v => Assert.True(float.IsNaN(v)));

            // Twenty-two rows at once; the value of position 19 has one odd element.
            float[] Prefill(float odd)
            {
                using KvBuffer cache = new(backend, 1, 48, 22);
                BatchLayout batch = new();
                batch.BeginSequence(cache, 0);
                for (int t = 0; t < 22; t++)
                    batch.Add(0, SiteTable.Base);
                float[] values = BackendCases.Random(2, 22 * 48);
                Array.Fill(values, odd, 19 * 48, 48);
                DeviceTensor k = BackendCases.Buffer(backend, 1, 22, 48), v = backend.Allocate("v", DType.F32, new Shape(22, 48)), q = BackendCases.Buffer(backend, 3, 22, 96), y = BackendCases.Buffer(backend, 4, 22, 96);
                backend.Write(values, v, 0);
                backend.StoreKeyValues(batch, 0, k, v);
                backend.Attention(batch, 0, new AttentionShape(2, 1, 48, 0.1f, 0), q, y);
                return BackendCases.Read(backend, y);
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
                Assert.Equal(ForwardCases.Embed(one, type, 256, 300), ForwardCases.Embed(three, type, 256, 300));
            foreach (bool layer in (bool[])[false, true])
                Assert.Equal(ForwardCases.Norm(one, 257, 100, 3, layer), ForwardCases.Norm(three, 257, 100, 3, layer));
            foreach (Action<IComputeBackend, DeviceTensor> op in (Action<IComputeBackend, DeviceTensor>[])
                [
                    (b, x) => b.GatedActivation(99, Activation.Silu, x, x, x), (b, x) => b.GatedActivation(99, Activation.GeluTanh, x, x, x), (b, x) => b.Scale(99, 1.7f, x, x), (b, x) => b.Activate(99, Activation.Gelu, x, x), (b, x) => b.Activate(99, Activation.GeluTanh, x, x), (b, x) => b.Add(99, x, x, x),
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
}
