using System.Runtime.Intrinsics;
using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The CPU device with 8-bit activations: products of whole numbers, the same bits for everybody.</summary>
public sealed class Int8ActivationsTests
{
    private static IEnumerable<SimdTier> Tiers => Enum.GetValues<SimdTier>().Where(t => t <= SimdTiers.Hardware);

    public static TheoryData<DType> Types => [.. Enum.GetValues<DType>().Where(t => RoundedRows.Words(t) > 0)];

    [Theory]
    [MemberData(nameof(Types))]
    public void Products_are_those_of_the_definition_bit_for_bit_on_every_tier_and_for_any_rows(DType type)
    {
        foreach ((int outputs, int inputs) in type.BlockSize() > 32 ? [(16, 256), (37, 512), (200, 1280)] : ((int, int)[])[(16, 32), (37, 320), (100, 288), (200, 1184)])
            foreach (int rows in outputs == 37 ? [1, 4, 131] : (int[])[1, 2, 3, 5, 9])
            {
                Tensor weight = BackendCases.Weight(1, type, outputs, inputs);
                float[] x = Inputs(rows, inputs), expected = Expected(weight, x, rows);
                foreach (SimdTier tier in Tiers)
                {
                    using CpuBackend backend = new(rows == 9 ? 3 : 2, tier, int8Activations: true);
                    float[] found = Linear(backend, weight, x, rows);
                    for (int i = 0; i < expected.Length; i++)
                        Assert.True(expected[i].Equals(found[i]), $"{tier} [{outputs}, {inputs}], {rows} rows, [{i / outputs}, {i % outputs}]: expected {expected[i]:R}, found {found[i]:R}");
                }
            }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void A_row_has_the_same_bits_alone_in_any_batch_and_on_any_number_of_threads_and_tier(DType type)
    {
        foreach (LinearCase c in LinearBits.Cases(type))
        {
            using CpuBackend one = new(1, SimdTiers.Hardware, int8Activations: true);
            float[] all = ForwardCases.Linear(one, c);
            foreach (int threads in (int[])[2, 3])
            {
                using CpuBackend several = new(threads, SimdTiers.Hardware, int8Activations: true);
                Assert.Equal(all, ForwardCases.Linear(several, c));
                LinearBits.EqualInChunks(several, c, all, $"{threads} threads");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void The_error_is_that_of_rounding_the_inputs(DType type)
    {
        Tensor weight = BackendCases.Weight(1, type, 96, 1280);
        float[] x = Inputs(7, 1280);
        using CpuBackend exact = new(2), rounded = new(new CpuOptions { Threads = 2, Int8Activations = true });
        float[] expected = Linear(exact, weight, x, 7), found = Linear(rounded, weight, x, 7);
        double error = Math.Sqrt(expected.Zip(found, (e, f) => Math.Pow(e - f, 2)).Sum() / expected.Sum(e => (double)e * e));
        // Some groups have one input that is forty times the others.
        Assert.InRange(error, 1e-7, RoundedRows.Words(type) == 16 ? 1e-4 : 2e-2);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void What_is_no_finite_number_spoils_its_own_row_only(DType type)
    {
        Tensor weight = BackendCases.Weight(1, type, 37, 256);
        foreach (float odd in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
            foreach (SimdTier tier in Tiers)
            {
                float[] x = Inputs(3, 256), clean = [.. x];
                x[256 + 70] = odd;
                using CpuBackend backend = new(1, tier, int8Activations: true);
                float[] expected = Linear(backend, weight, clean, 3), found = Linear(backend, weight, x, 3);
                Assert.Equal(expected[..37], found[..37]);
                Assert.All(found[37..74], y => Assert.True(float.IsNaN(y)));
                Assert.Equal(expected[74..], found[74..]);
            }
    }

    [Fact]
    public void Types_without_such_products_give_the_exact_bits()
    {
        using CpuBackend exact = new(2), rounded = new(new CpuOptions { Threads = 2, Int8Activations = true });
        foreach (DType type in Enum.GetValues<DType>().Where(t => t.IsWeight() && RoundedRows.Words(t) == 0))
        {
            Tensor weight = BackendCases.Weight(1, type, 37, 256);
            float[] x = Inputs(9, 256);
            Assert.Equal(Linear(exact, weight, x, 9), Linear(rounded, weight, x, 9));
        }
    }

    [Fact]
    public void Adapters_read_the_exact_inputs()
    {
        using CpuBackend exact = new(2), rounded = new(new CpuOptions { Threads = 2, Int8Activations = true });
        Tensor zeros = new("w", DType.Q8_0, new Shape(64, 96), new ArrayStorage((int)DType.Q8_0.Bytes(64 * 96)));
        Assert.Equal(Adapted(exact), Adapted(rounded));

        float[] Adapted(CpuBackend b)
        {
            LowRankStep step = new(BackendCases.Buffer(b, 1, 8, 96), BackendCases.Buffer(b, 2, 64, 8), 8, 0.5f, null, null, null);
            return Linear(b, zeros, Inputs(5, 96), 5, new SiteTable([new SiteAdapter([step])]));
        }
    }

    [Fact]
    public void Instructions_that_are_missing_elsewhere_have_the_same_results()
    {
        Random random = new(1);
        byte[] a = new byte[16], b = new byte[16];
        for (int i = 0; i < 1000; i++)
        {
            random.NextBytes(a);
            random.NextBytes(b);
            Vector128<float> x = Vector128.Create(a).AsSingle(), y = Vector128.Create(b).AsSingle(), small = (Vector128.Create(a) & Vector128.Create((byte)63)).AsSingle();
            Assert.Equal(Lanes128.MultiplyHalves(x, y).AsInt32(), Lanes128.MultiplyHalvesAnywhere(x, y).AsInt32());
            Assert.Equal(Lanes128.MultiplyBytes(small, y).AsInt32(), Lanes128.MultiplyBytesAnywhere(small, y).AsInt32());
        }
    }

    [Fact]
    public void Only_devices_that_have_them_are_opened_with_them()
    {
        Assert.Contains("reference has no 8-bit activations", Assert.Throws<DeviceException>(() => ComputeDevices.Open("reference", int8Activations: true)).Message);
        List<string> passed = [];
        using IComputeBackend backend = ComputeDevices.Open("reference,cpu", 1, passed.Add, int8Activations: true);
        Assert.EndsWith("1 thread, 8-bit activations", backend.Description);
        Assert.Contains("reference cannot be used: reference has no 8-bit activations; going on with cpu", passed);
    }

    [Fact]
    public void Such_a_device_does_not_train()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new EdgeHostOptions { Threads = 1, Int8Activations = true });
        Assert.Contains("device 'cpu' does not train: it was opened with 8-bit activations", Assert.Throws<NotSupportedException>(() => new TrainingEngine(host.Model)).Message);
    }

    // Rows of very different sizes, with a group of zeros, one of halves to be rounded, and one with one large input.
    private static float[] Inputs(int rows, int inputs)
    {
        float[] x = BackendCases.Random(3, (long)rows * inputs);
        for (int t = 0; t < rows; t++)
        {
            Span<float> row = x.AsSpan(t * inputs, inputs);
            foreach (ref float v in row)
                v *= MathF.ScaleB(1, t % 7 * 4 - 12);
            if (t % 3 == 1)
                row[..32].Clear();
            if (t % 3 == 2)
                for (int i = 0; i < 32; i++)
                    row[i] = i == 5 ? -127 : i - 15.5f;
            row[^3] *= 40;
        }
        return x;
    }

    private static float[] Linear(CpuBackend backend, Tensor weight, float[] values, int rows, SiteTable? path = null)
    {
        int inputs = values.Length / rows;
        DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(rows, inputs)), y = backend.Allocate("y", DType.F32, new Shape(rows, weight.Shape[0]));
        backend.Write(values, x, 0);
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(path ?? SiteTable.Base);
        backend.Linear(batch, new LinearSite("site", 0, backend.Upload(weight), null, false), x, y);
        return BackendCases.Read(backend, y);
    }

    // The definition, one product at a time.
    private static float[] Expected(Tensor weight, float[] x, int rows)
    {
        int outputs = (int)weight.Shape[0], inputs = (int)weight.Shape[1], groups = inputs / 32;
        float limit = RoundedRows.Words(weight.Type) == 16 ? 32767 : 127;
        int[] rounded = new int[x.Length];
        float[] units = new float[x.Length / 32], y = new float[rows * outputs];
        for (int g = 0; g < units.Length; g++)
        {
            float max = x.Skip(32 * g).Take(32).Max(MathF.Abs);
            units[g] = max / limit;
            for (int i = 32 * g; i < 32 * g + 32 && max > 0; i++)
                rounded[i] = (int)MathF.Round(x[i] * (limit / max), MidpointRounding.ToEven);
        }
        int[] q = new int[32];
        for (int o = 0; o < outputs; o++)
            for (int g = 0; g < groups; g++)
            {
                (float factor, float? minimum) = Group(weight, o, g, q);
                for (int t = 0; t < rows; t++)
                {
                    int products = 0, sum = 0;
                    for (int i = 0; i < 32; i++)
                    {
                        products += q[i] * rounded[t * inputs + 32 * g + i];
                        sum += rounded[t * inputs + 32 * g + i];
                    }
                    ref float total = ref y[t * outputs + o];
                    total = Lanes.MultiplyAdd(products, factor * units[t * groups + g], total);
                    if (minimum is { } m)
                        total = Lanes.MultiplyAdd(m, units[t * groups + g] * sum, total);
                }
            }
        return y;
    }

    // 32 weights as whole numbers, what they are multiplied with, and what is added to each.
    private static (float Factor, float? Minimum) Group(Tensor weight, int output, int group, int[] q)
    {
        int block = weight.Type.BlockSize(), bytes = weight.Type.BlockBytes(), at = group * 32 % block;
        ReadOnlySpan<byte> stored = weight.Bytes.Slice((output * (int)weight.Shape[1] + group * 32) / block * bytes, bytes);
        if (weight.Type is DType.Q8_0 or DType.Q4_0)
        {
            for (int i = 0; i < 32; i++)
                q[i] = weight.Type == DType.Q8_0 ? (sbyte)stored[2 + i] : (stored[2 + i % 16] >> i / 16 * 4 & 15) - 8;
            return ((float)BitConverter.ToHalf(stored), null);
        }
        sbyte[] all = new sbyte[block], scales = new sbyte[QuantFields.MostScales], minimums = new sbyte[QuantFields.MostScales];
        QuantFields.Read(weight.Type, stored, all, scales, minimums);
        for (int i = 0; i < 32; i++)
            q[i] = all[at + i];
        ReadOnlySpan<byte> halves = stored[QuantFields.ScaleAt(weight.Type)..];
        float d = (float)BitConverter.ToHalf(halves);
        return weight.Type switch
        {
            DType.Q5_0 => (d, null),
            DType.Q4_1 or DType.Q5_1 => (d, (float)BitConverter.ToHalf(halves[2..])),
            _ => (d * scales[at / 32], -(float)BitConverter.ToHalf(halves[2..]) * minimums[at / 32]),
        };
    }
}
