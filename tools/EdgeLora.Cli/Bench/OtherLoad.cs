using System.Diagnostics;
using System.Globalization;

namespace EdgeLora.Cli.Bench;

/// <summary>What else ran while a device was measured.</summary>
/// <param name="CpuShare">Processor time that this process got, as a part of the wall clock times all processors. A CPU device that is left alone comes near the part of its threads.</param>
/// <param name="LoadBefore">Tasks that ran or waited for a processor just before, a mean of a minute; null where the system does not say.</param>
/// <param name="LoadAfter">Just after: this process is in it.</param>
internal sealed record OtherLoad(double CpuShare, double? LoadBefore, double? LoadAfter)
{
    private const double Quiet = 0.25;

    /// <summary>Whether others took enough of the machine to show in the figures.</summary>
    public bool IsNoisy => LoadBefore > Quiet * Environment.ProcessorCount;

    /// <summary>One line.</summary>
    public string Describe() => string.Create(CultureInfo.InvariantCulture,
        $"{(IsNoisy ? "OTHER LOAD: these figures are worth little. " : "")}Processor time of this process: {CpuShare:P0} of the machine's{(LoadBefore is null ? "; the system tells no load" : $"; load {LoadBefore:0.0} before, {LoadAfter:0.0} after, on {Environment.ProcessorCount} processors")}.");

    /// <summary>Runs <paramref name="work"/> and says what else ran.</summary>
    public static OtherLoad While(Action work)
    {
        double? before = LoadAverage();
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        long start = Stopwatch.GetTimestamp();
        work();
        double wall = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new((Environment.CpuUsage.TotalTime - cpu).TotalSeconds / wall / Environment.ProcessorCount, before, LoadAverage());
    }

    private static double? LoadAverage()
    {
        const string file = "/proc/loadavg";
        return File.Exists(file) && double.TryParse(File.ReadAllText(file).Split(' ')[0], CultureInfo.InvariantCulture, out double load) ? load : null;
    }
}
