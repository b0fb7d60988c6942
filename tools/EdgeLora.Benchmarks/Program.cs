using System.Reflection;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using EdgeLora;
using EdgeLora.Benchmarks;
using Perfolizer.Horology;

// One process and short jobs: all subjects take a few minutes. One call may take a second, so it may be an iteration of its own. Medians, for a machine is rarely quiet.
Job job = Job.Default.WithToolchain(new InProcessEmitToolchain(TimeSpan.FromMinutes(10), logOutput: true))
    .WithWarmupCount(2).WithIterationCount(7).WithIterationTime(TimeInterval.FromMilliseconds(300)).WithMinInvokeCount(1).WithUnrollFactor(1).WithId("short");
IConfig config = ManualConfig.CreateEmpty()
    .AddJob(job).AddDiagnoser(new MemoryDiagnoser(new MemoryDiagnoserConfig(displayGenColumns: false)), new NormalPriority()).AddExporter(MarkdownExporter.GitHub)
    .AddLogger(ConsoleLogger.Default).AddColumnProvider(DefaultColumnProviders.Params, DefaultColumnProviders.Metrics)
    .AddColumn(TargetMethodColumn.Type, TargetMethodColumn.Method, StatisticColumn.Median, StatisticColumn.Min, StatisticColumn.Max)
    .WithSummaryStyle(SummaryStyle.Default.WithTimeUnit(TimeUnit.Microsecond));

string version = typeof(EdgeHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
string about = $"EdgeLora {version} on {ComputeDevices.All(out _)[0].Detail}, {System.Runtime.InteropServices.RuntimeInformation.FrameworkDescription}";
Console.WriteLine(about);
if (Bases.Skipped is { } skipped)
    Console.WriteLine(skipped);
try
{
    if (args is ["--train", ..])
        return TrainingProgram.Run(args[1..]);
    if (args is ["--host", ..])
        return HostProgram.Run(args[1..]);
    if (args is ["--onnx", ..])
        return OnnxProgram.Run(args[1..]);
    Summary[] summaries = [.. BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args.Length == 0 ? ["--filter", "*"] : args, config)];
    Console.WriteLine(about);
    return summaries.Length > 0 && summaries.All(s => !s.HasCriticalValidationErrors && s.Reports.All(r => r.Success)) ? 0 : 1;
}
finally
{
    Bases.Delete();
}
