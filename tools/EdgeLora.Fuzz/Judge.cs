using System.Diagnostics;
using EdgeLora.Core;

namespace EdgeLora.Fuzz;

/// <summary>What a reader did wrong.</summary>
/// <param name="Kind"><c>exception</c>, <c>allocation</c>, <c>time</c>, <c>leak</c>; of the supervisor <c>crash</c> and <c>hang</c>.</param>
/// <param name="Where">What tells it from others: the exception's type and the first of our methods on its stack.</param>
/// <param name="Detail">For people.</param>
internal sealed record Finding(string Kind, string Where, string Detail);

/// <summary>
/// Opens one input and holds it to the rules: loaded or refused by the exceptions that the reader documents; at most 4 times the file (and the format's slack) allocated, by whichever thread; at most a second;
/// no mapping of the file left behind.
/// </summary>
/// <param name="format">The format.</param>
/// <param name="folder">Where its files lie.</param>
/// <param name="isAlone">Whether nothing else runs in this process: then what other threads allocate is the reader's too.</param>
internal sealed class Judge(FuzzFormat format, string folder, bool isAlone = true)
{
    /// <summary>Longest time of one input.</summary>
    public static TimeSpan Longest { get; } = TimeSpan.FromSeconds(1);

    private const int LeakEvery = 512;

    private readonly string _path = Path.Combine(folder, format.FileName);
    private long _inputs;

    /// <summary>Inputs that were loaded, not refused.</summary>
    public long Accepted { get; private set; }

    /// <summary>Bytes that the last input made the reader allocate.</summary>
    public long Allocated { get; private set; }

    /// <summary>Most bytes that an input made the reader allocate beyond 4 times its length.</summary>
    public long MostBeyond { get; private set; } = long.MinValue;

    /// <summary>The longest that an input took.</summary>
    public TimeSpan Slowest { get; private set; }

    /// <summary>Runs one input; null: nothing is wrong.</summary>
    /// <param name="input">Its bytes.</param>
    /// <param name="begin">Called right before the reader.</param>
    /// <param name="end">Called right after.</param>
    public Finding? Run(byte[] input, Action? begin = null, Action? end = null)
    {
        Write(input);
        begin?.Invoke();
        (Finding? finding, long allocated, TimeSpan took) = Attempt(precise: false);
        end?.Invoke();
        long limit = 4L * input.Length + format.SlackBytes;
        // The first input that comes by pays for compiling and for tables that are kept: what stays over the limit counts.
        for (int again = 0; again < 2 && finding is null && (allocated > limit || took > Longest); again++)
            (finding, allocated, took) = Attempt(precise: true);
        Allocated = allocated;
        MostBeyond = Math.Max(MostBeyond, allocated - 4L * input.Length);
        Slowest = took > Slowest ? took : Slowest;
        if (finding is null && allocated > limit)
            finding = new("allocation", "", FormattableString.Invariant($"{allocated} bytes allocated for a file of {input.Length}; at most {limit}"));
        if (finding is null && took > Longest)
            finding = new("time", "", FormattableString.Invariant($"{took.TotalSeconds:0.00} s"));
        if (finding is null && ++_inputs % LeakEvery == 0 && OperatingSystem.IsLinux() && File.ReadAllText("/proc/self/maps").Contains(_path, StringComparison.Ordinal))
            finding = new("leak", "", "the file is still mapped after the reader has ended");
        return finding;
    }

    /// <summary>Puts an input where the reader finds it.</summary>
    public void Write(byte[] input) => File.WriteAllBytes(_path, input);

    // The process's sum stops every thread where it is to be exact, so first it is as coarse as what a thread takes at a time.
    private (Finding? Finding, long Allocated, TimeSpan Took) Attempt(bool precise)
    {
        Finding? finding = null;
        TimeSpan used = precise ? Environment.CpuUsage.TotalTime : default;
        long all = isAlone ? GC.GetTotalAllocatedBytes(precise) : 0, before = GC.GetAllocatedBytesForCurrentThread(), start = Stopwatch.GetTimestamp();
        try
        {
            format.Open(folder);
            Accepted++;
        }
        catch (Exception e) when (format.IsRefusal(e))
        {
            // Refused, as it should be.
        }
        catch (Exception e)
        {
            finding = new("exception", $"{e.GetType().Name} at {First(e)}", e.ToString());
        }
        TimeSpan took = Stopwatch.GetElapsedTime(start);
        // On a busy machine the clock goes on while others run.
        if (precise && Environment.CpuUsage.TotalTime - used is TimeSpan own && own < took)
            took = own;
        return (finding, Math.Max(GC.GetAllocatedBytesForCurrentThread() - before, isAlone ? GC.GetTotalAllocatedBytes(precise) - all : 0), took);
    }

    private static string First(Exception e) => (e.StackTrace ?? "").Split('\n').Select(l => l.Trim()).FirstOrDefault(l => l.StartsWith("at EdgeLora.", StringComparison.Ordinal) && !l.Contains("EdgeLora.Fuzz.", StringComparison.Ordinal))?.Split(" in ")[0] ?? "nowhere";
}
