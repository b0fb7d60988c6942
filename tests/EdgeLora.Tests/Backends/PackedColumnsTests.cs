using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>A step's B in panels gives the bits of the stored B: what is mapped and what lies in memory may meet in one tree.</summary>
public sealed class PackedColumnsTests
{
    private const float Scale = 0.7f;

    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.F16)]
    [InlineData(DType.BF16)]
    [InlineData(DType.Q8_0)]
    public void A_mapped_B_gives_the_bits_of_one_in_memory(DType type)
    {
        int[] ranks = type == DType.Q8_0 ? [32] : [1, 3, 16, 21];
        foreach (SimdTier tier in Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware))
            foreach (int outputs in (int[])[5, 16, 48, 100, 203])
                foreach (int rank in ranks)
                    WithMapped(BackendCases.Weight(2, type, outputs, rank), (stored, mapped) =>
                    {
                        using CpuBackend backend = new(2, tier);
                        CpuTensor packed = (CpuTensor)backend.Upload(mapped);
                        // Rows for every kernel, on an unpacked base and on a packed one.
                        foreach (int rows in (int[])[1, 2, 3, 4, 9])
                            foreach (DType weight in (DType[])[DType.F32, DType.BF16])
                                Assert.Equal(Linear(backend, weight, (CpuTensor)backend.Upload(stored), rows), Linear(backend, weight, packed, rows));
                        Assert.Equal(type != DType.Q8_0, packed.Columnwise is not null);
                        // Pages that were let go of are read again.
                        Assert.Equal(stored.ToFloats(), packed.ToFloats());
                    });
    }

    [Fact]
    public void Only_what_is_mapped_is_packed_and_takes_its_bytes_once() => WithMapped(BackendCases.Weight(2, DType.BF16, 4096, 16), (stored, mapped) =>
    {
        using CpuBackend backend = new(1);
        CpuTensor memory = (CpuTensor)backend.Upload(stored), file = (CpuTensor)backend.Upload(mapped);
        Linear(backend, DType.F32, memory, 1);
        Linear(backend, DType.F32, file, 1);
        Assert.Null(memory.Columnwise);
        Assert.Equal(stored.ByteLength, memory.AllocatedBytes);
        Assert.InRange(file.AllocatedBytes, stored.ByteLength, stored.ByteLength + 64);
    });

    private static void WithMapped(Tensor stored, Action<Tensor, Tensor> test)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, stored.Bytes);
            using MappedFile file = new(path);
            test(stored, new Tensor(stored.Name, stored.Type, stored.Shape, file));
        }
        finally
        {
            File.Delete(path);
        }
    }

    // Two steps of one B: a tile is used for both.
    private static float[] Linear(CpuBackend backend, DType weight, CpuTensor b, int rows)
    {
        int inputs = 32, outputs = (int)b.Shape[0], rank = b.Columns;
        LowRankStep Step(int seed, float scale) => new(backend.Upload(BackendCases.Weight(seed, DType.F32, rank, inputs)), b, rank, scale);
        SiteTable path = new([new SiteAdapter([Step(3, Scale), Step(4, 1)])]);
        LinearSite site = new("site", 0, backend.Upload(BackendCases.Weight(5, weight, outputs, inputs)), null, false);
        DeviceTensor x = BackendCases.Buffer(backend, 6, rows, inputs), y = backend.Allocate("y", DType.F32, new Shape(rows, outputs));
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(path);
        backend.Linear(batch, site, x, y);
        return BackendCases.Read(backend, y);
    }
}
