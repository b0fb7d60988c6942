using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>How evenly a host ticks while four sessions stream: the mean distance of a tick's time from the median of its run.</summary>
/// <param name="measured">What runs.</param>
internal sealed class TickCases(MeasuredModel measured) : IDisposable
{
    private const int Streams = 4, MostTicks = 64;
    private static readonly TimeSpan s_budget = TimeSpan.FromMilliseconds(4);

    private readonly List<HostSession> _sessions = [];
    private Task _streams = Task.CompletedTask;

    /// <summary>The case.</summary>
    public IEnumerable<BenchCase> All() =>
        [new(new("tick/jitter", "Ticks of 4 streaming sessions", "jitter: mean distance from the median", "time", BenchUnit.Milliseconds), 1, Run, MostRepetitions: MostTicks)];

    /// <inheritdoc/>
    public void Dispose() => Close();

    private double Run(int ticks)
    {
        double[] seconds = new double[ticks];
        for (int i = 0; i < ticks; i++)
        {
            if (_streams.IsCompleted)
                Open();
            seconds[i] = measured.Host.Tick(s_budget).Elapsed.TotalSeconds;
        }
        double median = Rounds.MedianOf(seconds);
        return seconds.Sum(s => Math.Abs(s - median));
    }

    private void Open()
    {
        Close();
        for (int i = 0; i < Streams; i++)
            _sessions.Add(Await(measured.Host.OpenSessionAsync()));
        int tokens = measured.Model.Config.ContextLength - measured.Context;
        _streams = Task.WhenAll(_sessions.Select((s, i) => Drain(s.GenerateAsync(RandomTraining.Row(i, measured.Context, measured.Model.Config.Vocabulary), new GenerationOptions { MaxTokens = tokens, IgnoreEnd = true }))));
        // Prompts are read: what is measured is streaming.
        for (int i = 0; i < Streams; i++)
            measured.Host.Tick(s_budget);
    }

    private void Close()
    {
        foreach (HostSession session in _sessions)
            session.Dispose();
        _sessions.Clear();
        while (!_streams.IsCompleted)
            measured.Host.Tick(s_budget);
    }

    private T Await<T>(Task<T> task)
    {
        while (!task.IsCompleted)
            measured.Host.Tick(s_budget);
        return task.GetAwaiter().GetResult();
    }

    // A session that is closed ends its stream with an exception: expected, and no result.
    private static async Task Drain(IAsyncEnumerable<GeneratedPiece> pieces)
    {
        try
        {
            await foreach (GeneratedPiece _ in pieces)
            {
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
        }
    }
}
