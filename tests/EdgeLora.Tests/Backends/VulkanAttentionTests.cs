using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule for attention and norms on Vulkan: few rows, many rows and many heads go by different shaders, and a row must not notice.</summary>
public sealed class VulkanAttentionTests : IDisposable
{
    private readonly VulkanBackend _backend = VulkanDriver.Backend();

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void An_attention_row_has_the_same_bits_for_any_chunking()
    {
        // The last ones have more than one chunk a partial sum.
        foreach (AttentionCase c in (AttentionCase[])[.. BackendCases.Attentions(), new(2, 1, 16, 0, 1090, 9), new(2, 1, 16, 1100, 1200, 12)])
        {
            float[] all = ForwardCases.Attention(_backend, c, c.Rows);
            foreach (int chunk in (int[])[1, 2, 5, 33])
                if (chunk < c.Rows)
                    Assert.True(all.AsSpan().SequenceEqual(ForwardCases.Attention(_backend, c, chunk)), $"{c} in chunks of {chunk}");
        }
    }

    [Theory]
    [InlineData(6)]
    [InlineData(66)]
    [InlineData(96)]
    [InlineData(256)]
    [InlineData(512)]
    public void Heads_of_any_size_give_the_reference_by_every_shader(int size)
    {
        using ReferenceBackend reference = new();
        AttentionCase c = new(2, 1, size, 0, 70, 9);
        float[] expected = ForwardCases.Attention(reference, c, c.Rows);
        foreach (int chunk in (int[])[9, 1])
        {
            float[] found = ForwardCases.Attention(_backend, c, chunk);
            for (int i = 0; i < expected.Length; i++)
                Assert.Equal(expected[i], found[i], 1e-6);
        }
    }

    [Fact]
    public void Sequences_of_one_row_have_the_same_bits_alone_and_together()
    {
        const int sequences = 65, heads = 16, size = 12;
        KvBuffer[] caches = [.. Enumerable.Range(0, sequences).Select(_ => new KvBuffer(_backend, 1, size, 80))];
        float[] keys = BackendCases.Random(1, 80 * size), values = BackendCases.Random(2, 80 * size), queries = BackendCases.Random(3, sequences * heads * size);
        for (int s = 0; s < sequences; s++)
        {
            _backend.Write(keys, caches[s].Keys[0], 0);
            _backend.Write(values, caches[s].Values[0], 0);
        }
        float[] together = Run(0, sequences);
        List<float> alone = [];
        for (int s = 0; s < sequences; s++)
            alone.AddRange(Run(s, 1));
        Assert.Equal(together, alone);

        // Sequence s has s + 10 tokens in its cache.
        float[] Run(int first, int count)
        {
            BatchLayout batch = new();
            for (int s = first; s < first + count; s++)
            {
                batch.BeginSequence(caches[s], s + 10);
                batch.Add(0, SiteTable.Base);
            }
            DeviceTensor q = _backend.Allocate("q", DType.F32, new Shape(count, heads * size)), y = _backend.Allocate("y", DType.F32, q.Shape);
            _backend.Write(queries.AsSpan(first * heads * size, count * heads * size), q, 0);
            _backend.Attention(batch, 0, new AttentionShape(heads, 1, size, 0.3f, 0), q, y);
            return BackendCases.Read(_backend, y);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_value_that_is_no_number_stays_hidden_from_the_rows_before_it(bool together)
    {
        float[] whole = Run(float.NaN), clean = Run(1);
        Assert.Equal(clean[..(19 * 96)], whole[..(19 * 96)]);
        Assert.All(whole[(19 * 96)..], v => Assert.True(float.IsNaN(v)));

        // Twenty-two rows, at once or one by one; the value of position 19 has one odd element in every dimension.
        float[] Run(float odd)
        {
            using KvBuffer cache = new(_backend, 1, 48, 22);
            float[] values = BackendCases.Random(2, 22 * 48), keys = BackendCases.Random(1, 22 * 48), queries = BackendCases.Random(3, 22 * 96);
            Array.Fill(values, odd, 19 * 48, 48);
            List<float> result = [];
            for (int t = 0; t < 22; t += together ? 22 : 1)
            {
                int count = together ? 22 : 1;
                BatchLayout batch = new();
                batch.BeginSequence(cache, t);
                for (int i = 0; i < count; i++)
                    batch.Add(0, SiteTable.Base);
                DeviceTensor Rows(float[] all, int width)
                {
                    DeviceTensor tensor = _backend.Allocate("rows", DType.F32, new Shape(count, width));
                    _backend.Write(all.AsSpan(t * width, count * width), tensor, 0);
                    return tensor;
                }
                DeviceTensor y = _backend.Allocate("y", DType.F32, new Shape(count, 96));
                _backend.StoreKeyValues(batch, 0, Rows(keys, 48), Rows(values, 48));
                _backend.Attention(batch, 0, new AttentionShape(2, 1, 48, 0.1f, 0), Rows(queries, 96), y);
                result.AddRange(BackendCases.Read(_backend, y));
            }
            return [.. result];
        }
    }

    [Theory]
    [InlineData(257, 3)]
    [InlineData(2048, 1)]
    public void A_norm_of_a_row_has_the_same_bits_alone_and_in_a_batch(int width, int pieces)
    {
        NormSite site = new("norm", 0, _backend.Upload(BackendCases.Weight(1, DType.BF16, width)), null, 1e-5f);
        float[] rows = BackendCases.Random(2, 21L * width * pieces);
        foreach (bool layer in (bool[])[false, true])
        {
            float[] all = Run(0, 21);
            Assert.Equal(all[(5 * width * pieces)..(6 * width * pieces)], Run(5, 1));
            Assert.Equal(all[(5 * width * pieces)..(18 * width * pieces)], Run(5, 13));

            float[] Run(int first, int count)
            {
                BatchLayout batch = new();
                for (int t = 0; t < count; t++)
                    batch.AddRow(SiteTable.Base);
                DeviceTensor x = _backend.Allocate("x", DType.F32, new Shape(count, width * pieces));
                _backend.Write(rows.AsSpan(first * width * pieces, count * width * pieces), x, 0);
                (layer ? (Action<BatchLayout, NormSite, DeviceTensor, DeviceTensor>)_backend.LayerNorm : _backend.RmsNorm)(batch, site, x, x);
                return BackendCases.Read(_backend, x);
            }
        }
    }

    [Fact]
    public void A_cache_that_grows_and_one_that_is_copied_keep_what_ops_of_the_same_list_stored()
    {
        using KvBuffer first = new(_backend, 1, 12, 3), second = new(_backend, 1, 12, 1);
        DeviceTensor keys = BackendCases.Buffer(_backend, 1, 3, 12), values = BackendCases.Buffer(_backend, 2, 3, 12);
        BatchLayout batch = new();
        batch.BeginSequence(first, 0);
        for (int t = 0; t < 3; t++)
            batch.Add(0, SiteTable.Base);
        _backend.StoreKeyValues(batch, 0, keys, values);
        first.Reserve(9);
        second.CopyFrom(first, 3);
        Assert.Equal(BackendCases.Read(_backend, keys), BackendCases.Read(_backend, second.Keys[0])[..36]);
        Assert.Equal(BackendCases.Read(_backend, values), BackendCases.Read(_backend, second.Values[0])[..36]);
    }
}
