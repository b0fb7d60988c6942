using System.CommandLine;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Onnx;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>verify</c> on a device that runs whole models: a model's ops, layer by layer, against the SIMD backend. Without a model of the caller's: small ones with random weights and adapters.</summary>
internal sealed class VerifyGraphs
{
    // F32 sums in another order; F16 keeps three digits, and loses some of them from layer to layer.
    private const double Tolerance = 1e-4, HalfTolerance = 3e-2;
    private const int Tokens = 8;

    private readonly Option<string?> _model = new("--model") { Description = "On a device that runs whole models: a model folder or .gguf file to compare on. Default: small models with random weights.", HelpName = "path" };
    private readonly Option<string[]> _adapter = new("--adapter") { Description = "With --model: adapter folder or file; repeated: each builds on the one before. Default: none.", HelpName = "folder" };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        command.Add(_model);
        command.Add(_adapter);
    }

    /// <summary>Throws <see cref="UsageException"/> where the options are given for a device that runs single ops.</summary>
    public void Refuse(ParseResult result, IComputeBackend backend)
    {
        if (result.GetValue(_model) is not null || result.GetValue(_adapter) is { Length: > 0 })
            throw new UsageException($"--model and --adapter: {backend.Name} runs single operations, which are compared without a model; 'verify golden' runs one");
    }

    /// <summary>Compares, reports and returns the exit code.</summary>
    public int Run(CommandIo io, OnnxBackend device, ParseResult result, bool json, CancellationToken cancellation)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-verify-").FullName;
        try
        {
            string[] adapters = result.GetValue(_adapter) ?? [];
            if (result.GetValue(_model) is null && adapters.Length > 0)
                throw new UsageException("--adapter: needs --model");
            Case[] cases = result.GetValue(_model) is { } model ? [new(model, model, adapters)] : [.. WriteCases(folder)];
            using CpuBackend cpu = new(device.Threads);
            List<Outcome> outcomes = [];
            foreach (Case c in cases)
            {
                cancellation.ThrowIfCancellationRequested();
                outcomes.Add(Compare(c, device, cpu));
                io.Progress("models", outcomes.Count, cases.Length);
            }
            if (json)
                io.WriteJson(w => Write(w, device, outcomes));
            else
                Show(io, device, cpu, outcomes);
            foreach (Outcome outcome in outcomes)
                if (outcome.First is { } first)
                    io.Error.WriteLine(Text($"{outcome.Case.Name}: the first operator that differs is {first.Operator}, {Layer(first, outcome)}, at {first.Step}: {first.Error:0.0e-0}, tolerance {outcome.Tolerance:0e-0}"));
            return outcomes.TrueForAll(o => o.First is null) ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static IEnumerable<Case> WriteCases(string folder)
    {
        LlamaShape shape = new("verify", 128, 256, 3, 8, 4, 320);
        string[] stack = [Path.Combine(folder, "first"), Path.Combine(folder, "second")];
        foreach (DType type in (DType[])[DType.F32, DType.BF16, DType.Q8_0, DType.Q4_0])
        {
            string stem = Path.Combine(folder, type.ToString()), model = type.BlockSize() == 1 ? stem : stem + ".gguf";
            RandomModel.Write(stem, shape, type);
            if (type == DType.F32)
                using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(model))
                    for (int i = 0; i < stack.Length; i++)
                        RandomAdapter.Write(stack[i], RandomAdapter.LayersOf(checkpoint.Config), 4 + i, 1000 * (1 + i));
            yield return new($"random {type}", model, []);
            yield return new($"random {type}, two adapters", model, stack);
        }
    }

    private static Outcome Compare(Case c, OnnxBackend device, CpuBackend cpu)
    {
        List<ResidentAdapter> resident = [];
        try
        {
            AdapterPath Resolve(DecoderModel model)
            {
                ResidentAdapter[] own = [.. c.Adapters.Select(a => ResidentAdapter.Load(a, Path.GetFileName(Path.TrimEndingDirectorySeparator(a)), model.Sites, model.Backend))];
                resident.AddRange(own);
                return PathResolver.Resolve("verify", model.Sites, model.Backend, [.. own.Select(a => (a, 1f))]);
            }
            int vocabulary = 0;
            using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(c.Model))
                vocabulary = ArchitectureRegistry.For(checkpoint.Config).ReadConfig(checkpoint).Vocabulary;
            int[] tokens = [.. Enumerable.Range(0, Tokens).Select(i => (int)((1 + 7919L * i) % vocabulary))];
            return new(c, GraphVerifier.Compare(() => BaseCheckpoint.Open(c.Model), device, cpu, Resolve, tokens), device.Options.Half ? HalfTolerance : Tolerance);
        }
        finally
        {
            resident.ForEach(a => a.Dispose());
        }
    }

    private static void Show(CommandIo io, OnnxBackend device, CpuBackend cpu, List<Outcome> outcomes)
    {
        Table table = new Table().Border(TableBorder.Simple).AddColumns("model", "layer", "operators", "largest error", "operator", "");
        foreach (Outcome outcome in outcomes)
            foreach (IGrouping<int, OperatorError> layer in outcome.Operators.GroupBy(o => o.Layer))
            {
                OperatorError worst = layer.Aggregate((a, b) => b.Error > a.Error || !double.IsFinite(b.Error) ? b : a);
                table.AddRow([.. new[] { outcome.Case.Name, Layer(worst, outcome), Text($"{layer.Count()}"), Text($"{worst.Error:0.0e-0}"), $"{worst.Operator} ({worst.Step})", worst.Error <= outcome.Tolerance ? "passed" : "DIFFERS" }.Select(Markup.Escape)]);
            }
        io.Output.WriteLine(Text($"{device.Name}: {device.Description}; compared with {cpu.Description}, tolerance {outcomes[0].Tolerance:0e-0}"));
        io.Console().Write(table);
        io.Output.WriteLine(Text($"{outcomes.Count(o => o.First is null)} of {outcomes.Count} models agree"));
        io.Output.Flush();
    }

    private static void Write(Utf8JsonWriter w, OnnxBackend device, List<Outcome> outcomes)
    {
        w.WriteBoolean("passed", outcomes.TrueForAll(o => o.First is null));
        w.WriteString("device", device.Name);
        w.WriteString("description", device.Description);
        w.WriteStartArray("models");
        foreach (Outcome outcome in outcomes)
        {
            w.WriteStartObject();
            w.WriteString("name", outcome.Case.Name);
            w.WriteBoolean("passed", outcome.First is null);
            w.WriteNumber("tolerance", outcome.Tolerance);
            if (outcome.First is { } first)
                w.WriteString("firstThatDiffers", first.Operator);
            else
                w.WriteNull("firstThatDiffers");
            w.WriteStartArray("operators");
            foreach (OperatorError op in outcome.Operators)
            {
                w.WriteStartObject();
                w.WriteString("step", op.Step);
                w.WriteNumber("layer", op.Layer);
                w.WriteString("operator", op.Operator);
                w.WriteFinite("error", op.Error);
                w.WriteEndObject();
            }
            w.WriteEndArray();
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    private static string Layer(OperatorError op, Outcome outcome) => op.Layer < 0 ? "embeddings" : op.Layer >= outcome.Layers ? "head" : Text($"layer {op.Layer}");

    private static string Text(FormattableString text) => FormattableString.Invariant(text);

    private sealed record Case(string Name, string Model, string[] Adapters);

    private sealed record Outcome(Case Case, IReadOnlyList<OperatorError> Operators, double Tolerance)
    {
        public OperatorError? First { get; } = Operators.FirstOrDefault(o => !(o.Error <= Tolerance));

        public int Layers { get; } = Operators.Max(o => o.Layer);
    }
}
