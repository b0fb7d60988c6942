namespace EdgeLora;

/// <summary>A host's numbers as the link spells them: times in microseconds.</summary>
internal static class LinkStats
{
    public static HostStats From(LinkMessage m) => new(m.Number("ticks"), m.Number("ticksKept"), m.Number("steps"), m.Number("promptTokens"), m.Number("newTokens"), Time(m, "tickMedianUs"), Time(m, "tick99Us"),
        Count(m, "sessions"), Count(m, "running"), Count(m, "waiting"), m.Number("kvBytes"), Count(m, "residentAdapters"), m.Number("residentBytes"), Count(m, "stagedAdapters"), m.Number("stagedBytes"),
        Count(m, "retiredAdapters"), m.Number("loads"), m.Number("evictions"), m.Number("baseBytes"));

    public static LinkMessage ToMessage(HostStats s) => new()
    {
        ["ticks"] = s.Ticks,
        ["ticksKept"] = s.TicksKept,
        ["steps"] = s.Steps,
        ["promptTokens"] = s.PromptTokens,
        ["newTokens"] = s.NewTokens,
        ["tickMedianUs"] = (long)s.TickMedian.TotalMicroseconds,
        ["tick99Us"] = (long)s.Tick99.TotalMicroseconds,
        ["sessions"] = s.Sessions,
        ["running"] = s.Running,
        ["waiting"] = s.Waiting,
        ["kvBytes"] = s.KvBytes,
        ["residentAdapters"] = s.ResidentAdapters,
        ["residentBytes"] = s.ResidentBytes,
        ["stagedAdapters"] = s.StagedAdapters,
        ["stagedBytes"] = s.StagedBytes,
        ["retiredAdapters"] = s.RetiredAdapters,
        ["loads"] = s.Loads,
        ["evictions"] = s.Evictions,
        ["baseBytes"] = s.BaseBytes,
    };

    public static TimeSpan Time(LinkMessage m, string name) => TimeSpan.FromMicroseconds(m.Number(name, 0, long.MaxValue / 1000));

    private static int Count(LinkMessage m, string name) => (int)m.Number(name, 0, int.MaxValue);
}
