using System.Diagnostics;
using System.Threading.Channels;

namespace EdgeLora;

/// <summary>What waits to be sent: an answer or news.</summary>
/// <param name="Answer">An answer; null: it is news.</param>
/// <param name="News">News; null: it is an answer.</param>
/// <param name="DroppedBefore">Events that were dropped before it.</param>
internal readonly record struct LinkOutgoing(LinkMessage? Answer, LinkNews? News, long DroppedBefore);

/// <summary>A client that wants to be told. The tick's thread puts news into its queue and never waits: what finds no room is counted.</summary>
/// <param name="queue">What waits to be sent.</param>
/// <param name="id">Of the request.</param>
/// <param name="every">How often sums of ticks are told; null: never.</param>
internal sealed class LinkTail(ChannelWriter<LinkOutgoing> queue, long id, TimeSpan? every)
{
    private long _dropped;
    private TickSum _sum;
    private long _told = Stopwatch.GetTimestamp();

    /// <summary>Of the request.</summary>
    public long Id => id;

    /// <summary>Tells an event, or counts it as dropped.</summary>
    public void Tell(AdapterEvent happened)
    {
        long before = TakeDropped();
        if (!queue.TryWrite(new(null, new(happened, null, 0), before)))
            Interlocked.Add(ref _dropped, before + 1);
    }

    /// <summary>Adds a tick, and tells the sum when it is time; what finds no room is part of the next.</summary>
    public void Tell(in TickReport tick)
    {
        if (every is not { } time)
            return;
        _sum = _sum.Add(tick);
        if (Stopwatch.GetElapsedTime(_told) < time || !queue.TryWrite(new(null, new(null, _sum, 0), 0)))
            return;
        _sum = default;
        _told = Stopwatch.GetTimestamp();
    }

    /// <summary>Events dropped since it was asked last.</summary>
    public long TakeDropped() => Interlocked.Exchange(ref _dropped, 0);
}
