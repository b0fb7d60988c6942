using System.Text.Json;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Reference bytes: fixtures/quants/ggml, made by fixtures/scripts/quants.py and checked there against ggml.</summary>
public sealed class QuantBlocksTests
{
    private const string Ggml = "fixtures/quants/ggml/";

    [Theory, InlineData("f16", DType.F16), InlineData("bf16", DType.BF16), InlineData("q8_0", DType.Q8_0), InlineData("q4_0", DType.Q4_0)]
    public void Writing_gives_the_reference_library_s_bytes(string name, DType type)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require(Ggml + name + ".safetensors"));
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/quants/cases.json")));
        JsonElement row = cases.RootElement.GetProperty("ggml").EnumerateArray().Single(c => c.GetProperty("file").GetString() == $"ggml/{name}.safetensors");
        string[] names = [.. row.GetProperty("rows").EnumerateArray().Select(r => r.GetString()!)];
        HashSet<string?> byValue = [.. row.GetProperty("rows_by_value_only").EnumerateArray().Select(r => r.GetString())];
        Tensor input = file.Tensors["input"], bytes = file.Tensors["bytes"];
        for (int i = 0; i < names.Length; i++)
        {
            ReadOnlySpan<float> x = input.Floats.Slice(i * input.Shape.Columns, input.Shape.Columns);
            byte[] found = new byte[bytes.Shape.Columns];
            QuantBlocks.FromFloats(type, x, found);
            if (byValue.Contains(names[i]))
                Assert.Equal(Floats(type, bytes.Bytes.Slice(i * found.Length, found.Length), x.Length), Floats(type, found, x.Length));
            else
                Assert.True(bytes.Bytes.Slice(i * found.Length, found.Length).SequenceEqual(found), $"{name} row {names[i]}");
        }
    }

    [Theory, InlineData("f16", DType.F16), InlineData("bf16", DType.BF16), InlineData("q8_0", DType.Q8_0), InlineData("q4_0", DType.Q4_0),
        InlineData("f16_all", DType.F16), InlineData("random_q8_0", DType.Q8_0), InlineData("random_q4_0", DType.Q4_0)]
    public void Reading_gives_the_reference_library_s_bits(string name, DType type)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require(Ggml + name + ".safetensors"));
        AssertSameBits(name, type, file.Tensors[name == "f16_all" ? "bits" : "bytes"].Bytes, file.Tensors["expected"].Floats);
    }

    [Fact]
    public void Blocks_of_every_type_that_is_read_give_the_reference_library_s_bits()
    {
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/quants/cases.json")));
        HashSet<DType> seen = [];
        foreach (JsonElement row in cases.RootElement.GetProperty("ggml").EnumerateArray())
        {
            string name = row.GetProperty("file").GetString()!;
            Assert.True(GgufTensorType.TryFind(row.GetProperty("id").GetUInt32(), out GgufTensorType? stored), name);
            Assert.Equal((row.GetProperty("type").GetString(), row.GetProperty("block_size").GetInt32(), row.GetProperty("type_size").GetInt32()), (stored.Name, stored.BlockSize, stored.BlockBytes));
            if (stored.Type is not { } type)
                continue;
            Assert.Equal((stored.BlockSize, stored.BlockBytes), (type.BlockSize(), type.BlockBytes()));
            using TensorFile file = Safetensors.Open(SharedFolder.Require("fixtures/quants/" + name));
            AssertSameBits(name, type, file.Tensors["bytes"].Bytes, file.Tensors["expected"].Floats);
            seen.Add(type);
        }
        Assert.Equal(Enum.GetValues<DType>().Where(t => t.IsWeight() && t != DType.F32), seen.Order());
    }

    [Theory, InlineData(DType.Q8_0), InlineData(DType.Q4_0)]
    public void Subnormal_blocks_become_zeros(DType type)
    {
        float[] x = [.. Enumerable.Range(0, 32).Select(i => i % 2 == 0 ? 1e-40f : -1e-40f)];
        Assert.All(QuantBlocks.ToTensor("w", type, new Shape(32), x).ToFloats(), y => Assert.Equal(0f, y));
    }

    [Theory, InlineData(DType.Q8_0, 65504f * 127), InlineData(DType.Q4_0, 65504f * 8)]
    public void A_scale_past_f16_is_refused_by_name(DType type, float largest)
    {
        float[] x = new float[64];
        x[40] = largest;
        QuantBlocks.ToTensor("fits", type, new Shape(2, 32), x);
        foreach (float bad in new[] { largest * 1.01f, -largest * 1.01f, float.PositiveInfinity, float.NaN })
        {
            x[40] = bad;
            string message = Assert.Throws<OverflowException>(() => QuantBlocks.ToTensor("blk.0.w", type, new Shape(2, 32), x)).Message;
            Assert.Contains("blk.0.w", message, StringComparison.Ordinal);
        }
    }

    // The scale's own rounding to f16 adds up to 127/2048 and 8/2048 of a step.
    [Theory, InlineData(DType.Q8_0, 0.57f), InlineData(DType.Q4_0, 1.01f)]
    public void Quantising_errs_by_at_most_a_step(DType type, float steps)
    {
        Random random = new(3);
        float[] x = [.. Enumerable.Range(0, 32 * 50).Select(_ => (float)(random.NextDouble() * 2 - 1))];
        float[] y = QuantBlocks.ToTensor("w", type, new Shape(50, 32), x).ToFloats();
        for (int block = 0; block < 50; block++)
        {
            float step = x.AsSpan(block * 32, 32).ToArray().Max(MathF.Abs) / (type == DType.Q8_0 ? 127 : 8);
            for (int i = block * 32; i < block * 32 + 32; i++)
                Assert.InRange(MathF.Abs(x[i] - y[i]), 0, step * steps);
        }
    }

    [Fact]
    public void Rows_that_are_no_whole_blocks_are_refused()
    {
        Assert.Throws<ArgumentException>(() => QuantBlocks.FromFloats(DType.Q8_0, new float[40], new byte[68]));
        Assert.Throws<ArgumentException>(() => QuantBlocks.ToTensor("w", DType.Q4_0, new Shape(2, 16), new float[32]));
        Assert.Throws<NotSupportedException>(() => QuantBlocks.FromFloats(DType.I8, new float[1], new byte[1]));
    }

    private static void AssertSameBits(string name, DType type, ReadOnlySpan<byte> bytes, ReadOnlySpan<float> expected)
    {
        float[] found = Floats(type, bytes, expected.Length);
        for (int i = 0; i < found.Length; i++)
            Assert.True(float.IsNaN(expected[i]) ? float.IsNaN(found[i]) : BitConverter.SingleToUInt32Bits(expected[i]) == BitConverter.SingleToUInt32Bits(found[i]), $"{name} element {i}: expected {expected[i]:R}, found {found[i]:R}");
    }

    private static float[] Floats(DType type, ReadOnlySpan<byte> bytes, int count)
    {
        float[] result = new float[count];
        Dequantize.ToFloats(type, bytes, result);
        return result;
    }
}
