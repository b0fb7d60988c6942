namespace EdgeLora;

/// <summary>What several ticks did together.</summary>
/// <param name="Ticks">How many.</param>
/// <param name="Kept">Of those within their budget and one forward pass.</param>
/// <param name="Elapsed">Time they took together.</param>
/// <param name="Longest">The longest of them.</param>
/// <param name="Steps">Forward passes.</param>
/// <param name="PromptTokens">Tokens of prompts.</param>
/// <param name="NewTokens">Generated tokens.</param>
/// <param name="BytesMoved">Bytes of adapters brought to the device.</param>
/// <param name="Running">Sessions that generate, in the last of them.</param>
/// <param name="Waiting">Sessions that wait for room, in the last of them.</param>
public readonly record struct TickSum(long Ticks, long Kept, TimeSpan Elapsed, TimeSpan Longest, long Steps, long PromptTokens, long NewTokens, long BytesMoved, int Running, int Waiting)
{
    /// <summary>With one more tick.</summary>
    public TickSum Add(in TickReport tick) => new(Ticks + 1, Kept + (tick.KeptWithinOneStep ? 1 : 0), Elapsed + tick.Elapsed, tick.Elapsed > Longest ? tick.Elapsed : Longest, Steps + tick.Steps,
        PromptTokens + tick.PromptTokens, NewTokens + tick.NewTokens, BytesMoved + tick.BytesMoved, tick.Running, tick.Waiting);

    internal static TickSum From(LinkMessage m) => new(m.Number("ticks"), m.Number("kept"), LinkStats.Time(m, "elapsedUs"), LinkStats.Time(m, "longestUs"), m.Number("steps"), m.Number("promptTokens"), m.Number("newTokens"),
        m.Number("bytesMoved"), (int)m.Number("running", 0, int.MaxValue), (int)m.Number("waiting", 0, int.MaxValue));

    internal LinkMessage ToMessage(long id) => new()
    {
        ["id"] = id,
        ["event"] = "ticks",
        ["ticks"] = Ticks,
        ["kept"] = Kept,
        ["elapsedUs"] = (long)Elapsed.TotalMicroseconds,
        ["longestUs"] = (long)Longest.TotalMicroseconds,
        ["steps"] = Steps,
        ["promptTokens"] = PromptTokens,
        ["newTokens"] = NewTokens,
        ["bytesMoved"] = BytesMoved,
        ["running"] = Running,
        ["waiting"] = Waiting,
    };
}
