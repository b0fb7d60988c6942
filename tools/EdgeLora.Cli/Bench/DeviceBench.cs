using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>Measures devices, one at a time. One that cannot be opened is reported.</summary>
/// <param name="settings">How thoroughly.</param>
/// <param name="threads">Threads of the CPU device; 0: one a core.</param>
/// <param name="int8Activations">Whether devices are opened with 8-bit activations.</param>
/// <param name="peer">Runs beside the CPU device, on the same file; null: nothing does.</param>
/// <param name="progress">Told after each run: what is measured, runs done, runs in all as far as it is known.</param>
internal sealed class DeviceBench(BenchSettings settings, int threads, bool int8Activations, LlamaBench? peer, Action<string, int, int> progress)
{
    private const string Memory = "Memory of the host";

    /// <summary>Stored type of most of the base's bytes, once a device opened it.</summary>
    public string? Type { get; private set; }

    /// <summary>Measures <paramref name="subject"/> on <paramref name="device"/>.</summary>
    public DeviceReport Run(DeviceInfo device, BenchSubject subject, CancellationToken cancellation)
    {
        DeviceReport report = new(device.Id, device.Name, device.Kind, device.Detail, null, null, null, []);
        try
        {
            using MeasuredModel measured = new(subject, device.Id, threads, int8Activations, cancellation);
            Type ??= measured.Model.Sites.Sites.Where(s => s.Linear is not null).GroupBy(s => s.Linear!.Weight.Type).MaxBy(g => g.Sum(s => s.Linear!.Weight.ByteLength))!.Key.ToString();
            using TokenCases tokens = new(measured);
            using SwitchCases switches = new(measured);
            using TickCases ticks = new(measured);
            using TrainingCases training = new(measured, settings);
            MemoryRead memory = new(settings.MemoryBytes, threads == 0 ? Environment.ProcessorCount : threads);
            BenchCase[] cases = [.. tokens.All(), .. switches.All(), .. ticks.All(), .. training.All(), new(new("memory/read", Memory, "read, all threads", BenchUnit.GigabytesPerSecond.Name, BenchUnit.GigabytesPerSecond), memory.Bytes, memory.Run), .. Peers(measured, device)];
            CaseResult[] results = [];
            OtherLoad load = OtherLoad.While(() => results = CaseRounds.Run(cases, settings, (done, total) => progress(device.Id, done, total), cancellation));
            return report with { Driver = measured.Host.Backend.Description, Bytes = measured.Bytes(), Load = load, Cases = [.. results, .. SwitchCases.Added(results), .. TokenCases.LowRank(results)] };
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return report with { Error = CaseRounds.Describe(e) };
        }
    }

    private IEnumerable<BenchCase> Peers(MeasuredModel measured, DeviceInfo device) => peer is null || device.Id != "cpu" ? []
        : measured.Model.Checkpoint.Container is GgufFile gguf ? peer.Cases(gguf.FilePath, measured.Context, measured.DecodeTokens, BenchSettings.Prompts.Where(t => t <= measured.Model.Config.ContextLength))
        : throw new InvalidOperationException("--peer-llama-bench: reads GGUF files only, and this model is none");
}
