using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>verify</c>: a device against the scalar reference, or recorded results, run again here; <c>golden</c> is in this file.</summary>
internal static partial class VerifyVerb
{
    public static Command Create(CommandIo io)
    {
        Command verify = new("verify", "Check a device: every op, forward and backward, against the scalar reference over awkward sizes; on a device that runs whole models every op of a model against the CPU. 'golden' and 'trace' check the engine against recorded results.");
        VerifyDevice.AddTo(verify, io);
        Command golden = new("golden", "Run folders with expected.safetensors (models, adapters), expected_logits.safetensors (one model in several files) or cases.json (tokenizers), or converted models with that of their origin; print the worst error of each tensor and the first layer that differs.");
        Argument<string[]> folders = new("folder") { Description = "Model, adapter or tokenizer folders, or .gguf models with an expected.safetensors or expected_logits.safetensors beside them.", Arity = ArgumentArity.OneOrMore };
        Option<string?> expected = new("--expected") { Description = "The expected.safetensors or expected_logits.safetensors of models that lie elsewhere: of what they were converted from.", HelpName = "file" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        DeviceArguments device = new();
        golden.Add(folders);
        golden.Add(expected);
        golden.Add(json);
        device.AddTo(golden);
        golden.SetAction((result, cancellation) => Task.Run(() =>
        {
            List<Outcome> outcomes = [];
            foreach (string folder in result.GetRequiredValue(folders))
            {
                cancellation.ThrowIfCancellationRequested();
                Outcome outcome = Run(folder, result.GetValue(expected), () => device.CreateBackend(result));
                outcomes.Add(outcome);
                if (!result.GetValue(json))
                    Show(io, outcome);
            }
            if (result.GetValue(json))
                WriteJson(io, outcomes);
            foreach (Outcome outcome in outcomes)
                foreach (string fault in outcome.Faults)
                    io.Error.WriteLine($"{outcome.Folder}: {fault}");
            return outcomes.All(o => o.Passed) ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }, CancellationToken.None));
        verify.Add(golden);
        verify.Add(VerifyTraceVerb.Create(io));
        return verify;
    }

    private sealed record Outcome(string Folder, string Kind, IReadOnlyList<GoldenError> Errors, IReadOnlyList<string> Faults, int Compared)
    {
        public bool Passed => Compared > 0 && Faults.Count == 0 && Errors.All(e => e.Passed);

        public int? FirstLayer => Errors.Where(e => !e.Passed).Select(e => HiddenName().Match(e.Tensor)).Where(m => m.Success)
            .Select(m => (int?)int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture)).Min();
    }

    [GeneratedRegex(@"(?:^|\.)hidden\.(\d+)$")]
    private static partial Regex HiddenName();

    private static Outcome Run(string folder, string? expected, Func<IComputeBackend> createBackend)
    {
        try
        {
            if (!Directory.Exists(folder) && !File.Exists(folder))
                throw new ModelFileException(folder, "no such folder or file");
            string? files = FilesGolden.ReferenceOf(folder, expected);
            if (files is null && File.Exists(expected ?? ModelGolden.ExpectedOf(folder)))
            {
                bool model = File.Exists(folder) || File.Exists(Path.Combine(folder, "config.json"));
                IReadOnlyList<GoldenError> errors = model ? Model(folder, expected, createBackend) : AdapterGolden.Verify(folder, createBackend);
                return new(folder, model ? "model" : "adapter", errors, errors.Count > 0 ? [] : ["expected.safetensors has nothing to compare"], errors.Count);
            }
            if (files is not null)
            {
                using IComputeBackend backend = createBackend();
                IReadOnlyList<GoldenError> errors = FilesGolden.Verify(folder, backend, files);
                return new(folder, "models", errors, errors.Count > 0 ? [] : [$"{files} has logits of no file here"], errors.Count);
            }
            if (new[] { "cases.json", "spm_cases.json", "config_flags.json" }.Any(f => File.Exists(Path.Combine(folder, f))))
            {
                TokenizerGolden golden = TokenizerGolden.Verify(folder);
                return new(folder, "tokenizer", [], golden.Mismatches, golden.Compared);
            }
            throw new ModelFileException(folder, "nothing to verify: expected expected.safetensors, expected_logits.safetensors or cases.json");
        }
        catch (Exception e) when (e is IOException or NotSupportedException or KeyNotFoundException or ArgumentException or InvalidDataException)
        {
            return new(folder, "unreadable", [], [e.Message], 0);
        }
    }

    private static IReadOnlyList<GoldenError> Model(string folder, string? expected, Func<IComputeBackend> createBackend)
    {
        using IComputeBackend backend = createBackend();
        return ModelGolden.Verify(folder, backend, expected);
    }

    private static void Show(CommandIo io, Outcome outcome)
    {
        io.Output.WriteLine($"{outcome.Folder}: {outcome.Kind}, {outcome.Compared} compared, {(outcome.Passed ? "passed" : "FAILED")}");
        foreach (GoldenError error in outcome.Errors)
            io.Output.WriteLine(FormattableString.Invariant($"  {error.Tensor,-36} {error.Error:E2}  tolerance {error.Tolerance:E0}{(error.Passed ? "" : "  DIFFERS")}"));
        if (outcome.FirstLayer is { } layer)
            io.Output.WriteLine(layer == 0 ? "  the embeddings differ first" : FormattableString.Invariant($"  the first layer that differs is {layer - 1}"));
        io.Output.Flush();
    }

    private static void WriteJson(CommandIo io, List<Outcome> outcomes) => io.WriteJson(w =>
    {
        w.WriteBoolean("passed", outcomes.All(o => o.Passed));
        w.WriteStartArray("folders");
        foreach (Outcome outcome in outcomes)
        {
            w.WriteStartObject();
            w.WriteString("folder", outcome.Folder);
            w.WriteString("kind", outcome.Kind);
            w.WriteBoolean("passed", outcome.Passed);
            w.WriteNumber("compared", outcome.Compared);
            w.WriteStartArray("tensors");
            foreach (GoldenError error in outcome.Errors)
            {
                w.WriteStartObject();
                w.WriteString("name", error.Tensor);
                w.WriteFinite("error", error.Error);
                w.WriteNumber("tolerance", error.Tolerance);
                w.WriteBoolean("passed", error.Passed);
                w.WriteEndObject();
            }
            w.WriteEndArray();
            if (outcome.FirstLayer is { } first)
                w.WriteNumber("firstHidden", first);
            else
                w.WriteNull("firstHidden");
            w.WriteTexts("faults", outcome.Faults);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    });
}
