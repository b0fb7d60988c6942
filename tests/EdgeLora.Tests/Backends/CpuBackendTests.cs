using System.Diagnostics;
using System.Runtime.Intrinsics;
using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

public sealed class CpuBackendTests
{
    [Fact]
    public void The_widest_tier_that_runs_in_hardware_is_picked_and_named()
    {
        using CpuBackend backend = new(3);
        Assert.Equal(SimdTiers.Hardware, backend.Tier);
        string width = Vector512.IsHardwareAccelerated ? "512-bit vectors" : Vector256.IsHardwareAccelerated ? "256-bit vectors" : Vector128.IsHardwareAccelerated ? "128-bit vectors" : "scalar";
        Assert.Equal($"cpu, {width}, 3 threads", backend.Description);
        Assert.Equal("cpu", backend.Name);
    }

    [Fact]
    public void A_switch_of_the_runtime_really_turns_its_tier_off()
    {
        if (Environment.GetEnvironmentVariable("DOTNET_EnableHWIntrinsic") == "0")
            Assert.Equal(SimdTier.Scalar, SimdTiers.Hardware);
        if (Environment.GetEnvironmentVariable("DOTNET_EnableAVX2") == "0")
            Assert.True(SimdTiers.Hardware <= SimdTier.Vector128, $"AVX2 is off, but the tier is {SimdTiers.Hardware}");
        if (Environment.GetEnvironmentVariable("DOTNET_EnableAVX512") == "0")
            Assert.True(SimdTiers.Hardware <= SimdTier.Vector256, $"AVX-512 is off, but the tier is {SimdTiers.Hardware}");
    }

    [Theory]
    [InlineData("DOTNET_EnableAVX512")]
    [InlineData("DOTNET_EnableAVX2")]
    [InlineData("DOTNET_EnableHWIntrinsic")]
    public async Task The_suite_passes_with_an_instruction_set_switched_off(string variable)
    {
        if (Environment.GetEnvironmentVariable("EDGELORA_INNER_TESTS") is not null)
            Assert.Skip("runs in the outer test process only");
        ProcessStartInfo start = new(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])["-class", "EdgeLora.Tests.Backends.CpuConformance", "-class", "EdgeLora.Tests.Backends.CpuBackwardConformance", "-class", "EdgeLora.Tests.Backends.CpuBackendTests", "-noColor"])
            start.ArgumentList.Add(argument);
        start.Environment[variable] = "0";
        start.Environment["EDGELORA_INNER_TESTS"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync() + await errors;
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{variable}=0\n{output}");
    }

    [Fact]
    public void A_tier_above_the_hardware_is_refused()
    {
        if (SimdTiers.Hardware == SimdTier.Vector512)
            Assert.Skip("this machine has every tier");
        Assert.Contains("widest tier", Assert.Throws<NotSupportedException>(() => new CpuBackend(1, SimdTier.Vector512)).Message);
    }

    [Fact]
    public void Nothing_is_allocated_once_warm()
    {
        using CpuBackend backend = new(2);
        LinearCase wide = new(DType.Q8_0, 256, 640, 9, false, PathKind.Mixed, true), odd = new(DType.BF16, 257, 640, 9, false, PathKind.OneStep, true), column = new(DType.F32, 257, 640, 1, true, PathKind.OneStep, true);
        List<Action> ops = [];
        foreach (LinearCase c in (LinearCase[])[wide, odd, column])
        {
            BatchLayout batch = new();
            BackendCases.Fill(batch, BackendCases.Paths(backend, c), 0, c.Rows);
            LinearSite site = BackendCases.Site(backend, c);
            DeviceTensor x = BackendCases.Buffer(backend, 1, c.Rows, c.Inputs), y = BackendCases.Buffer(backend, 2, c.Rows, c.Outputs);
            ops.Add(() => backend.Linear(batch, site, x, y));
        }
        using KvBuffer cache = new(backend, 1, 128, 200);
        BatchLayout tokens = new();
        tokens.BeginSequence(cache, 100);
        for (int t = 0; t < 40; t++)
            tokens.Add(t, SiteTable.Base);
        DeviceTensor q = BackendCases.Buffer(backend, 3, 40, 512), k = BackendCases.Buffer(backend, 4, 40, 128), z = BackendCases.Buffer(backend, 5, 40, 512);
        NormSite norm = new("n", 1, backend.Upload(BackendCases.Weight(6, DType.F32, 512)), backend.Upload(BackendCases.Weight(7, DType.F32, 512)), 1e-5f);
        EmbeddingSite table = new("e", 2, backend.Upload(BackendCases.Weight(8, DType.F16, 50, 512)));
        DeviceTensor cos = BackendCases.Buffer(backend, 9, 40, 32), sin = BackendCases.Buffer(backend, 10, 40, 32);
        float[] host = new float[512];
        ops.Add(() => backend.StoreKeyValues(tokens, 0, k, k));
        ops.Add(() => backend.Attention(tokens, 0, new AttentionShape(8, 2, 64, 0.125f, 0), q, z));
        ops.Add(() => backend.RmsNorm(tokens, norm, q, z));
        ops.Add(() => backend.LayerNorm(tokens, norm, q, z));
        ops.Add(() => backend.Embed(tokens, table, z));
        ops.Add(() => backend.Rope(40, 64, RopePairs.Halves, cos, sin, z));
        ops.Add(() => backend.GatedActivation(40, Activation.Silu, q, z, z));
        ops.Add(() => backend.Activate(40, Activation.Gelu, q, z));
        ops.Add(() => backend.Activate(40, Activation.GeluTanh, q, z));
        ops.Add(() => backend.Add(40, q, z, z));
        ops.Add(() => backend.Copy(q, 0, z, 0, 40));
        ops.Add(() => backend.CopyColumns(40, q, 0, z, 1, 5));
        ops.Add(() => backend.Write(host, z, 0));
        ops.Add(() => backend.Read(z, 0, host));
        NoneAllocates(ops);
    }

    /// <summary>Every op allocates nothing once warm. A collection that other tests cause charges a thread for what it had set aside: one quiet round is the proof.</summary>
    internal static void NoneAllocates(List<Action> ops)
    {
        for (int i = 0; i < ops.Count; i++)
        {
            long least = long.MaxValue;
            for (int round = 0; round < 30 && least > 0; round++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int n = 0; n < 20; n++)
                    ops[i]();
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            Assert.True(least == 0, $"op {i} allocated {least} bytes in 20 calls");
        }
    }

    [Fact]
    public async Task Calls_from_several_host_threads_take_turns()
    {
        using CpuBackend backend = new(2);
        LinearCase c = new(DType.BF16, 257, 640, 5, false, PathKind.Mixed, true);
        float[] expected = ForwardCases.Linear(backend, c);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 10; i++)
                Assert.Equal(expected, ForwardCases.Linear(backend, c));
        })));
    }
}
