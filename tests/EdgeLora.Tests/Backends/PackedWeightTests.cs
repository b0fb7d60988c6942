using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>What linear layers read is the stored weight, element for element.</summary>
public sealed class PackedWeightTests
{
    public static TheoryData<DType> Types => [DType.F16, DType.BF16, DType.Q8_0, DType.Q4_0];

    [Theory]
    [MemberData(nameof(Types))]
    public void An_input_of_a_single_one_gives_the_stored_column(DType type)
    {
        foreach (SimdTier tier in Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware))
            foreach ((int outputs, int inputs) in ((int, int)[])[(16, 32), (37, 320), (100, type.BlockSize() > 1 ? 288 : 291)])
            {
                using CpuBackend backend = new(2, tier);
                Tensor weight = BackendCases.Weight(1, type, outputs, inputs);
                float[] stored = weight.ToFloats();
                CpuTensor uploaded = (CpuTensor)backend.Upload(weight);
                // One row, four and many: every kernel.
                foreach (int rows in (int[])[1, 3, 4, 9])
                    for (int k = 0; k < inputs; k += 5)
                        Assert.Equal(Enumerable.Range(0, outputs).Select(o => stored[o * inputs + k]), Column(backend, uploaded, k, rows));
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

    [Fact]
    public void A_packed_weight_takes_the_bytes_of_the_stored_one()
    {
        using CpuBackend backend = new(1);
        foreach (DType type in Types)
        {
            Tensor weight = BackendCases.Weight(1, type, 4096, 256);
            CpuTensor uploaded = (CpuTensor)backend.Upload(weight);
            Assert.Equal(weight.ByteLength, uploaded.AllocatedBytes);
            Column(backend, uploaded, 0, 1);
            Assert.InRange(uploaded.Packed!.Bytes, weight.ByteLength, weight.ByteLength + 64);
            Assert.Equal(weight.ByteLength + uploaded.Packed.Bytes, uploaded.AllocatedBytes);
        }
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
