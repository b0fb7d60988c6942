using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>What linear layers read is the stored weight, element for element.</summary>
public sealed class PackedWeightTests
{
    public static TheoryData<DType> Types => [.. Enum.GetValues<DType>().Where(type => PackedLayout.Of(type) is not null)];

    /// <summary>Bits of a packed element, where they are not those of a stored one.</summary>
    public static TheoryData<DType, double> WiderTypes => new()
    {
        { DType.Q4_K, 4.625 }, { DType.Q5_K, 5.625 }, { DType.Q3_K, 3.5625 }, { DType.IQ4_XS, 4.3125 }, { DType.TQ1_0, 2.0625 },
    };

    [Theory]
    [MemberData(nameof(Types))]
    public void An_input_of_a_single_one_gives_the_stored_column(DType type)
    {
        foreach (SimdTier tier in Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware))
            foreach ((int outputs, int inputs) in type.BlockSize() > 32 ? [(16, 256), (37, 512)] : ((int, int)[])[(16, 32), (37, 320), (100, type.BlockSize() > 1 ? 288 : 291)])
            {
                using CpuBackend backend = new(2, tier);
                Tensor weight = BackendCases.Weight(1, type, outputs, inputs);
                float[] stored = weight.ToFloats();
                CpuTensor uploaded = (CpuTensor)backend.Upload(weight);
                // A minimum is added before the element is rounded: an ulp of the larger of the two.
                float error = PackedLayout.Of(type)!.HasMinimums ? stored.Max(MathF.Abs) * 2.4e-7f : 0;
                // One row, four and many: every kernel.
                foreach (int rows in (int[])[1, 3, 4, 9])
                    for (int k = 0; k < inputs; k += inputs > 320 ? 61 : 11)
                    {
                        float[] column = Column(backend, uploaded, k, rows);
                        for (int o = 0; o < outputs; o++)
                            Assert.True(MathF.Abs(column[o] - stored[o * inputs + k]) <= error, $"{tier} [{outputs}, {inputs}], {rows} rows: [{o}, {k}] is {stored[o * inputs + k]:R}, found {column[o]:R}");
                    }
                Assert.NotNull(uploaded.Packed);
            }
    }

    [Fact]
    public void An_F16_weight_with_an_infinity_is_used_as_stored()
    {
        using CpuBackend backend = new(2);
        foreach (Half odd in (Half[])[Half.PositiveInfinity, Half.NegativeInfinity, Half.NaN])
            foreach (int at in (int[])[0, 32, 65])
            {
                byte[] bytes = new byte[2 * 33 * sizeof(ushort)];
                BitConverter.TryWriteBytes(bytes.AsSpan(at * sizeof(ushort)), odd);
                ArrayStorage storage = new(bytes.Length);
                bytes.CopyTo(storage.Writable);
                CpuTensor weight = (CpuTensor)backend.Upload(new Tensor("w", DType.F16, new Shape(2, 33), storage));
                Assert.Equal((float)odd, Column(backend, weight, at % 33, 1)[at / 33]);
                Assert.Null(weight.Packed);
            }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void A_packed_weight_takes_the_bytes_of_the_stored_one_or_a_little_more(DType type)
    {
        using CpuBackend backend = new(1);
        Tensor weight = BackendCases.Weight(1, type, 1024, 256);
        CpuTensor uploaded = (CpuTensor)backend.Upload(weight);
        Assert.Equal(weight.ByteLength, uploaded.AllocatedBytes);
        Column(backend, uploaded, 0, 1);
        long expected = WiderTypes.Where(row => row.Data.Item1 == type).Select(row => (long)(row.Data.Item2 * 1024 * 256 / 8)).SingleOrDefault(weight.ByteLength);
        Assert.InRange(uploaded.Packed!.Bytes, expected, expected + 64);
        Assert.Equal(weight.ByteLength + uploaded.Packed.Bytes, uploaded.AllocatedBytes);
    }

    [Theory, InlineData(DType.Q4_0), InlineData(DType.Q8_0), InlineData(DType.Q4_K), InlineData(DType.Q6_K)]
    public void A_quantised_weight_with_an_infinite_scale_is_used_as_stored(DType type)
    {
        using CpuBackend backend = new(2);
        Tensor weight = BackendCases.Weight(1, type, 33, 256);
        byte[] bytes = weight.Bytes.ToArray();
        BitConverter.TryWriteBytes(bytes.AsSpan((int)type.Bytes(256) * 32 + QuantFields.ScaleAt(type)), Half.PositiveInfinity);
        ArrayStorage storage = new(bytes.Length);
        bytes.CopyTo(storage.Writable);
        Tensor odd = new("w", type, weight.Shape, storage);
        CpuTensor uploaded = (CpuTensor)backend.Upload(odd);
        float[] stored = odd.ToFloats(), column = Column(backend, uploaded, 3, 1);
        Assert.Equal(stored[3], column[0]);
        Assert.False(float.IsFinite(column[32]));
        Assert.Null(uploaded.Packed);
    }

    [Fact]
    public void Of_a_mapped_file_only_the_packed_form_counts()
    {
        string path = Path.GetTempFileName();
        try
        {
            Tensor weight = BackendCases.Weight(1, DType.Q8_0, 640, 256);
            File.WriteAllBytes(path, weight.Bytes);
            using MappedFile file = new(path);
            using CpuBackend backend = new(1);
            CpuTensor uploaded = (CpuTensor)backend.Upload(new Tensor("w", DType.Q8_0, weight.Shape, file));
            float[] stored = weight.ToFloats();
            Assert.Equal(Enumerable.Range(0, 640).Select(o => stored[o * 256 + 7]), Column(backend, uploaded, 7, 1));
            Assert.Equal(uploaded.Packed!.Bytes, uploaded.AllocatedBytes);
            // Pages that were let go of are read again.
            Assert.Equal(stored, uploaded.ToFloats());
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static float[] Column(CpuBackend backend, DeviceTensor weight, int k, int rows)
    {
        DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(rows, weight.Columns)), y = backend.Allocate("y", DType.F32, new Shape(rows, weight.Shape[0]));
        float[] one = new float[weight.Columns];
        one[k] = 1;
        backend.Write(one, x, rows - 1);
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(SiteTable.Base);
        backend.Linear(batch, new LinearSite("site", 0, weight, null, false), x, y);
        float[] column = new float[weight.Shape[0]];
        backend.Read(y, rows - 1, column);
        return column;
    }
}
