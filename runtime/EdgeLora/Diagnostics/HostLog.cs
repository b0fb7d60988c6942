using Microsoft.Extensions.Logging;

namespace EdgeLora;

/// <summary>What a host writes to its log. Nothing is formatted where the level is off.</summary>
internal sealed partial class HostLog(ILogger logger)
{
    private static readonly TimeSpan s_between = TimeSpan.FromSeconds(1);

    private DateTime _lastOverrun;
    private long _overruns;

    /// <summary>Adapters that came, changed, were refused and went; their walks between disk, RAM and device only for who debugs.</summary>
    public void Told(AdapterEvent happened)
    {
        switch (happened.Kind)
        {
            case AdapterEventKind.Faulted when logger.IsEnabled(LogLevel.Warning):
                Refused(logger, happened.Node, string.Join("; ", happened.Faults));
                break;
            case AdapterEventKind.Discovered or AdapterEventKind.Reloaded or AdapterEventKind.Unmounted:
                Changed(logger, happened.Node, happened.Kind, happened.Generation);
                break;
            case AdapterEventKind.Staged or AdapterEventKind.Resident or AdapterEventKind.Activated or AdapterEventKind.Evicted:
                Moved(logger, happened.Node, happened.Kind, happened.Generation);
                break;
        }
    }

    /// <summary>Ticks that took longer than they were given and one forward pass: at most one line a second, with how many there were since the last.</summary>
    public void Ticked(in TickReport report)
    {
        if (report.KeptWithinOneStep)
            return;
        _overruns++;
        if (!logger.IsEnabled(LogLevel.Warning) || DateTime.UtcNow - _lastOverrun < s_between)
            return;
        Overran(logger, report.Index, report.Elapsed.TotalMilliseconds, report.Budget.TotalMilliseconds, report.LongestStep.TotalMilliseconds, report.Commit.TotalMilliseconds, report.Events.TotalMilliseconds, _overruns);
        (_lastOverrun, _overruns) = (DateTime.UtcNow, 0);
    }

    [LoggerMessage(1, LogLevel.Information, "adapter {Node}: {Kind}, generation {Generation}")]
    private static partial void Changed(ILogger logger, string node, AdapterEventKind kind, int generation);

    [LoggerMessage(2, LogLevel.Debug, "adapter {Node}: {Kind}, generation {Generation}")]
    private static partial void Moved(ILogger logger, string node, AdapterEventKind kind, int generation);

    [LoggerMessage(3, LogLevel.Warning, "adapter {Node} was refused: {Faults}")]
    private static partial void Refused(ILogger logger, string node, string faults);

    [LoggerMessage(4, LogLevel.Warning, "tick {Tick} took {Elapsed:F2} ms of {Budget:F2} ms (longest forward pass {Step:F2}, commits {Commit:F2}, events {Events:F2}); {Overruns} since the last told")]
    private static partial void Overran(ILogger logger, long tick, double elapsed, double budget, double step, double commit, double events, long overruns);
}
