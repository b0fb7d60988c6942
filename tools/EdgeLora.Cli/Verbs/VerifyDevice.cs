using System.CommandLine;
using System.Text.Json;
using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Onnx;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>verify</c> alone: the conformance suite on a device. Is the driver right?</summary>
internal static class VerifyDevice
{
    public static void AddTo(Command verify, CommandIo io)
    {
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        Option<string[]> only = new("--only") { Description = "On a device that runs single operations: only the checks whose sentence holds this text, such as Attention; repeated: any of them. Default: all.", HelpName = "text" };
        DeviceArguments device = new();
        VerifyGraphs graphs = new();
        device.AddTo(verify);
        graphs.AddTo(verify);
        verify.Add(only);
        verify.Add(json);
        verify.SetAction((result, cancellation) => Task.Run(() =>
        {
            using IComputeBackend backend = device.CreateBackend(result);
            string[] texts = result.GetValue(only) ?? [];
            if (backend is OnnxBackend && texts.Length > 0)
                throw new UsageException($"--only: {backend.Name} runs whole models, whose operations are compared together");
            if (backend is OnnxBackend onnx)
                return graphs.Run(io, onnx, result, result.GetValue(json), cancellation);
            graphs.Refuse(result, backend);
            return Run(io, backend, result.GetValue(json), cancellation, texts);
        }, CancellationToken.None));
    }

    /// <summary>Runs the suite, or the checks whose sentence holds one of the texts, reports it and returns the exit code.</summary>
    public static int Run(CommandIo io, IComputeBackend backend, bool json, CancellationToken cancellation, params string[] only)
    {
        List<CheckResult> checks = [];
        IReadOnlyList<ConformanceCheck> asked = ConformanceSuite.Of(backend);
        foreach (string text in only)
            if (!asked.Any(c => c.Sentence.Contains(text, StringComparison.OrdinalIgnoreCase)))
                throw new UsageException($"--only: no check of {backend.Name} is called \"{text}\"; they are:\n  {string.Join("\n  ", asked.Select(c => c.Sentence))}");
        if (only.Length > 0)
            asked = [.. asked.Where(c => only.Any(text => c.Sentence.Contains(text, StringComparison.OrdinalIgnoreCase)))];
        int count = asked.Count;
        foreach (CheckResult check in ConformanceSuite.Run(backend, asked))
        {
            checks.Add(check);
            io.Progress("checks", checks.Count, count);
            cancellation.ThrowIfCancellationRequested();
        }
        if (json)
            io.WriteJson(w => Write(w, backend, checks));
        else
            Show(io, backend, checks);
        foreach (CheckResult check in checks)
            foreach (string fault in check.Faults)
                io.Error.WriteLine($"{check.Sentence}: {fault}");
        return checks.All(c => c.Passed) ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
    }

    private static void Show(CommandIo io, IComputeBackend backend, List<CheckResult> checks)
    {
        Table table = new Table().Border(TableBorder.Simple).AddColumns("op", "compared", "largest error", "tolerance", "where", "");
        foreach (OpError op in ByOp(checks))
            table.AddRow([.. new[] { op.Op, Text($"{op.Compared}"), Text($"{op.Error:0.0e-0}"), op.Tolerance == 0 ? "exact" : Text($"{op.Tolerance:0e-0}"), op.Where, op.Passed ? "passed" : Text($"FAILED {op.Failed}") }.Select(Markup.Escape)]);
        io.Output.WriteLine(backend.Description);
        io.Console().Write(table);
        foreach (CheckResult check in checks)
            io.Output.WriteLine(Text($"{(check.Passed ? "passed" : "FAILED")}  {check.Sentence} ({check.Duration.TotalSeconds:F1} s)"));
        io.Output.WriteLine(Text($"{checks.Count(c => c.Passed)} of {checks.Count} checks passed in {checks.Sum(c => c.Duration.TotalSeconds):F1} s"));
        io.Output.Flush();
    }

    private static void Write(Utf8JsonWriter w, IComputeBackend backend, List<CheckResult> checks)
    {
        w.WriteBoolean("passed", checks.All(c => c.Passed));
        w.WriteString("device", backend.Name);
        w.WriteString("description", backend.Description);
        WriteOps(w, ByOp(checks));
        w.WriteStartArray("checks");
        foreach (CheckResult check in checks)
        {
            w.WriteStartObject();
            w.WriteString("sentence", check.Sentence);
            w.WriteBoolean("passed", check.Passed);
            w.WriteNumber("seconds", Math.Round(check.Duration.TotalSeconds, 3));
            WriteOps(w, check.Ops);
            w.WriteTexts("faults", check.Faults);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    private static void WriteOps(Utf8JsonWriter w, IEnumerable<OpError> ops)
    {
        w.WriteStartArray("ops");
        foreach (OpError op in ops)
        {
            w.WriteStartObject();
            w.WriteString("op", op.Op);
            w.WriteBoolean("passed", op.Passed);
            w.WriteNumber("compared", op.Compared);
            w.WriteNumber("failed", op.Failed);
            w.WriteFinite("error", op.Error);
            w.WriteNumber("tolerance", op.Tolerance);
            w.WriteString("where", op.Where);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    private static IEnumerable<OpError> ByOp(List<CheckResult> checks) => checks.SelectMany(c => c.Ops).GroupBy(o => o.Op).Select(g => g.Aggregate(OpError.Worse));

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
