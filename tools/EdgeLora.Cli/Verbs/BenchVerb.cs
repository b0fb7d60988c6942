using System.CommandLine;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Cli.Bench;
using EdgeLora.Core;
using EdgeLora.Models;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>bench</c>: how fast models and adapters are on the devices here.</summary>
internal static class BenchVerb
{
    private static readonly DType[] s_types = [DType.F32, DType.BF16, DType.F16, DType.Q8_0, DType.Q4_0, DType.Q4_K, DType.Q6_K];
    private static readonly DType[] s_adapterTypes = [DType.F32, DType.BF16, DType.F16];

    /// <summary>Whether a command line names this verb.</summary>
    public static bool IsNamed(string[] args) => args is ["bench", ..];

    /// <summary>The verb; its flags only for the command line that names it.</summary>
    public static Command Create(CommandIo io, bool withFlags)
    {
        Command command = new("bench", "Measure the devices here: decoding and prompts under adapters, mixed batches, switching, loading, training, bytes, memory bandwidth.");
        if (withFlags)
            AddFlags(command, io);
        return command;
    }

    private static void AddFlags(Command command, CommandIo io)
    {
        Option<string[]> devices = new("--device") { Description = "Device ids with commas between, see 'edgelora devices'; repeated: all are measured. Default: every device but the scalar reference.", HelpName = "id[,id]" };
        Option<int> threads = new("--threads") { Description = "Threads of the CPU device; 0: one a core. Default: 0.", HelpName = "count" };
        Option<string> activations = DeviceArguments.CreateActivations();
        Option<string?> model = new("--model") { Description = "A model or a tree, measured under random adapters and, of a tree, at up to eight of its own nodes. Default: none.", HelpName = "folder" };
        Option<string?> shape = new("--shape") { Description = $"A random model of a standard shape: {Names(LlamaShape.Standard.Select(s => s.Name))}. Default: 135m; with --quick 15m.", HelpName = "shape" };
        Option<string?> type = new("--type") { Description = $"How the random model's weights are stored: {Names(s_types.Select(Name))}. Default: q8_0. Of q4_k and q6_k, matrices whose rows are no multiple of 256 are q5_0 and q8_0, as llama.cpp has them.", HelpName = "type" };
        Option<string> adapterType = new("--adapter-type") { Description = $"How the random adapters are stored, in their files and in memory: {Names(s_adapterTypes.Select(Name))}. Default: f32.", DefaultValueFactory = _ => "f32", HelpName = "type" };
        Option<bool> quick = new("--quick") { Description = "Few and short samples: under 30 seconds a device with the 15m shape." };
        Option<double?> seconds = new("--seconds") { Description = "How long to measure a device, about; three rounds at least where five minutes or five times as long, warm-up and all, are enough for them: a large model may get fewer. Default: 60; with --quick 8, and no more than 22 in all.", HelpName = "seconds" };
        Option<string?> json = new("--json") { Description = "Print one line of JSON with all samples instead of the tables; with a file name, write it there beside them.", Arity = ArgumentArity.ZeroOrOne, HelpName = "file" };
        Option<string?> archive = new("--out") { Description = "Archive of all raw samples as MessagePack, for 'bench compare'.", HelpName = $"file{BenchArchive.Extension}" };
        Option<string?> html = new("--html") { Description = "Report with charts and tables as one page that needs nothing beside it.", HelpName = "file.html" };
        Option<string?> peer = new("--peer-llama-bench") { Description = "Your own build of llama.cpp's llama-bench: runs on the same GGUF file, in turns with the CPU device's cases, in the same tables. It knows no adapters. Default: none.", HelpName = "program" };
        archive.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string?>() is { } file && !file.EndsWith(BenchArchive.Extension, StringComparison.OrdinalIgnoreCase))
                r.AddError($"--out {file}: expected a name that ends in {BenchArchive.Extension}");
        });
        devices.Validators.Add(r =>
        {
            foreach (string id in Split(r.GetValueOrDefault<string[]>()))
                if (!ComputeDevices.IsId(id))
                    r.AddError($"--device {id}: expected one of {ComputeDevices.Ids}; 'edgelora devices' lists those here");
        });
        threads.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 0 or > 1024)
                r.AddError("--threads: expected 0..1024");
        });
        shape.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string?>() is { } name && Shape(name) is null)
                r.AddError($"--shape {name}: expected {Names(LlamaShape.Standard.Select(s => s.Name))}");
        });
        type.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string?>() is { } name && Type(s_types, name) is null)
                r.AddError($"--type {name}: expected {Names(s_types.Select(Name))}");
        });
        adapterType.Validators.Add(r =>
        {
            if (Type(s_adapterTypes, r.GetValueOrDefault<string>()) is null)
                r.AddError($"--adapter-type {r.GetValueOrDefault<string>()}: expected {Names(s_adapterTypes.Select(Name))}");
        });
        seconds.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<double?>() is not (null or (>= 0 and <= 86400)))
                r.AddError("--seconds: expected 0..86400");
        });
        foreach (Option option in (Option[])[devices, threads, activations, model, shape, type, adapterType, quick, seconds, json, archive, html, peer])
            command.Add(option);
        command.Add(BenchCompareVerb.Create(io));
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string? given = result.GetValue(model);
            if (given is not null && (result.GetValue(shape) ?? result.GetValue(type)) is not null)
                throw new UsageException("--model: is measured as it is; --shape and --type are of a random one");
            // Not after minutes of measuring.
            foreach (string? file in (string?[])[result.GetValue(json), result.GetValue(archive), result.GetValue(html)])
                if (file is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(file))))
                    throw new DirectoryNotFoundException($"{file}: its folder does not exist");
            BenchSettings settings = result.GetValue(quick) ? BenchSettings.Quick : BenchSettings.Full;
            if (result.GetValue(seconds) is { } time)
                settings = settings with { Seconds = time, Rounds = BenchSettings.Quick.Rounds, LimitSeconds = Math.Max(BenchSettings.Full.LimitSeconds, BenchSettings.MostTimes * time) };
            string[] named = Split(result.GetValue(devices));
            LlamaBench? other = result.GetValue(peer) is { } program ? new(program, result.GetValue(threads)) : null;
            DType adapters = Type(s_adapterTypes, result.GetRequiredValue(adapterType))!.Value;
            using BenchSubject subject = given is not null ? BenchSubject.Of(given, adapters) : BenchSubject.Of(Shape(result.GetValue(shape) ?? (result.GetValue(quick) ? "15m" : "135m"))!, Type(s_types, result.GetValue(type) ?? "q8_0")!.Value, adapters, gguf: other is not null);
            bool line = result.GetResult(json) is not null && result.GetValue(json) is null;
            BenchReport report = Measure(io, settings, subject, Devices(named), result.GetValue(threads), DeviceArguments.IsInt8(result, activations), other, result.GetValue(quick), tables: !line, cancellation);
            if (line)
                io.WriteJson(w => BenchJson.Write(w, report));
            else if (result.GetValue(json) is { } file)
                AtomicFile.WriteBytes(file, BenchJson.ToUtf8(report));
            if (result.GetValue(archive) is { } packed)
                BenchArchive.Write(packed, report);
            if (result.GetValue(html) is { } page)
                AtomicFile.WriteText(page, BenchHtml.Write(report));
            foreach (DeviceReport device in report.Devices)
                foreach (IGrouping<string, string> fault in Faults(device).GroupBy(f => f))
                    io.Error.WriteLine($"{device.Id}: {fault.Key}{(fault.Count() > 1 ? $" ({fault.Count()} cases)" : "")}");
            // What was asked for by name must work, as far as there was time; of the others one.
            bool good = named.Length > 0 ? report.Devices.All(d => Faults(d).All(f => f.StartsWith(CaseRounds.NotMeasured, StringComparison.Ordinal)) && d.Cases.Any(c => c.Error is null)) : report.Devices.Any(d => d.Cases.Any(c => c.Error is null));
            return good ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }, CancellationToken.None));
    }

    private static BenchReport Measure(CommandIo io, BenchSettings settings, BenchSubject subject, IReadOnlyList<DeviceInfo> devices, int threads, bool int8Activations, LlamaBench? peer, bool quick, bool tables, CancellationToken cancellation)
    {
        string[] version = (typeof(EdgeHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown").Split('+');
        BenchReport report = new(version[0], version.ElementAtOrDefault(1), RuntimeInformation.FrameworkDescription + (RuntimeFeature.IsDynamicCodeSupported ? "" : " NativeAOT"), RuntimeInformation.OSDescription,
            RuntimeInformation.ProcessArchitecture.ToString(), Environment.ProcessorCount, DateTimeOffset.UtcNow, subject.Name, null, quick, []);
        DeviceBench bench = new(settings, threads, int8Activations, peer, (what, done, total) => io.Progress(what, done, total));
        if (tables)
            io.Console().WriteLine(BenchTables.Legend);
        foreach (DeviceInfo device in devices)
        {
            DeviceReport measured = bench.Run(device, subject, cancellation);
            report = report with { Type = bench.Type, Devices = [.. report.Devices, measured] };
            if (tables)
                BenchTables.Write(io.Console(), report, measured);
            io.Output.Flush();
        }
        return report;
    }

    private static IEnumerable<string> Faults(DeviceReport device) => device.Error is { } error ? [error] : device.Cases.Where(c => c.Error is not null).Select(c => c.Error!);

    private static IReadOnlyList<DeviceInfo> Devices(string[] named)
    {
        IReadOnlyList<DeviceInfo> all = ComputeDevices.All(out _);
        return named.Length == 0
            ? [.. all.Where(d => d.Id != "reference")]
            : [.. named.Select(id => id == "vulkan" ? "vulkan:0" : id).Distinct().Select(id => all.FirstOrDefault(d => d.Id == id) ?? new DeviceInfo(id, id, "other", "not listed", false))];
    }

    private static string[] Split(string[]? ids) => [.. (ids ?? []).SelectMany(i => i.Split(',', StringSplitOptions.TrimEntries))];

    private static LlamaShape? Shape(string name) => LlamaShape.Standard.FirstOrDefault(s => s.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    private static DType? Type(DType[] types, string? name) => types.Select(t => (DType?)t).FirstOrDefault(t => Name(t!.Value).Equals(name, StringComparison.OrdinalIgnoreCase));

    private static string Name(DType type) => type.ToString().ToLowerInvariant();

    private static string Names(IEnumerable<string> names) => string.Join(", ", names);
}
