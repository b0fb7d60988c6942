using System.CommandLine;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Training;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>verify trace</c>: recorded training runs, trained again here.</summary>
internal static class VerifyTraceVerb
{
    public static Command Create(CommandIo io)
    {
        Command trace = new("trace", "Train recorded runs again (folders with recipe.json, trace.json, trace.safetensors) and compare loss, gradient norm and rate of each step, the first gradients and the final weights.");
        Argument<string[]> folders = new("folder") { Description = "Trace folders.", Arity = ArgumentArity.OneOrMore };
        Option<string?> basePath = new("--base") { Description = "Another form of the base that the traces name: a folder or a .gguf file." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON a folder." };
        DeviceArguments device = new();
        trace.Add(folders);
        trace.Add(basePath);
        trace.Add(json);
        device.AddTo(trace);
        trace.SetAction((result, cancellation) => Task.Run(() =>
        {
            bool passed = true;
            foreach (string folder in result.GetRequiredValue(folders))
            {
                cancellation.ThrowIfCancellationRequested();
                try
                {
                    using IComputeBackend backend = device.CreateBackend(result);
                    TraceResult replayed = TraceReplay.Run(folder, backend, result.GetValue(basePath));
                    passed &= replayed.Passed;
                    if (result.GetValue(json))
                        io.WriteJson(w => Write(w, replayed));
                    else
                        Show(io, replayed);
                    foreach (string fault in replayed.Faults)
                        io.Error.WriteLine($"{folder}: {fault}");
                }
                catch (Exception e) when (e is IOException or NotSupportedException or KeyNotFoundException or ArgumentException or InvalidDataException or InvalidOperationException)
                {
                    passed = false;
                    io.Error.WriteLine(e.Message.Contains(folder, StringComparison.Ordinal) ? e.Message : $"{folder}: {e.Message}");
                }
            }
            return passed ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }, CancellationToken.None));
        return trace;
    }

    private static void Show(CommandIo io, TraceResult r)
    {
        io.Output.WriteLine(FormattableString.Invariant($"{r.Folder}: {r.Loss.Length} steps, loss {r.Loss[0]:F4} -> {r.Loss[^1]:F4}, {(r.Passed ? "passed" : "FAILED")}"));
        void Line(string what, double error, double tolerance) =>
            io.Output.WriteLine(FormattableString.Invariant($"  {what,-36} {error:E2}  tolerance {tolerance:E0}{(error <= tolerance ? "" : "  DIFFERS")}"));
        Line("loss", r.LossError, r.Tolerance.Loss);
        Line("gradient norm", r.GradNormError, r.Tolerance.GradNorm);
        Line("learning rate", r.RateError, TraceResult.RateTolerance);
        Line("gradients of step 1", r.GradientError, r.Tolerance.Gradient);
        Line($"final weights ({r.Worst})", r.FinalError, r.Tolerance.Final);
        io.Output.Flush();
    }

    private static void Write(Utf8JsonWriter w, TraceResult r)
    {
        w.WriteString("folder", r.Folder);
        w.WriteBoolean("passed", r.Passed);
        WriteNumbers(w, "loss", r.Loss);
        WriteNumbers(w, "gradNorm", r.GradNorm);
        w.WriteFinite("finalError", r.FinalError);
        w.WriteString("worst", r.Worst);
        w.WriteFinite("lossError", r.LossError);
        w.WriteFinite("gradNormError", r.GradNormError);
        w.WriteFinite("rateError", r.RateError);
        w.WriteFinite("gradientError", r.GradientError);
        w.WriteTexts("faults", r.Faults);
    }

    private static void WriteNumbers(Utf8JsonWriter w, string name, double[] values)
    {
        w.WriteStartArray(name);
        foreach (double value in values)
            if (double.IsFinite(value))
                w.WriteNumberValue(value);
            else
                w.WriteNullValue();
        w.WriteEndArray();
    }
}
