namespace EdgeLora;

/// <summary>A host in numbers, as its last tick left it.</summary>
/// <param name="Ticks">Ticks so far.</param>
/// <param name="TicksKept">Of those within their budget and one forward pass.</param>
/// <param name="Steps">Forward passes so far.</param>
/// <param name="PromptTokens">Tokens of prompts so far.</param>
/// <param name="NewTokens">Generated tokens so far.</param>
/// <param name="TickMedian">Median time of the last ticks.</param>
/// <param name="Tick99">99th percentile of them.</param>
/// <param name="Sessions">Open sessions.</param>
/// <param name="Running">Of those that generate.</param>
/// <param name="Waiting">Of those that wait for room.</param>
/// <param name="KvBytes">Bytes of keys and values.</param>
/// <param name="ResidentAdapters">Adapters on the device.</param>
/// <param name="ResidentBytes">Their bytes.</param>
/// <param name="StagedAdapters">Adapters that wait in RAM.</param>
/// <param name="StagedBytes">Their bytes.</param>
/// <param name="RetiredAdapters">Replaced or unmounted generations that still have users.</param>
/// <param name="Loads">Adapters brought to the device so far.</param>
/// <param name="Evictions">Adapters that left it for others' room.</param>
/// <param name="BaseBytes">Bytes of the base, once.</param>
public sealed record HostStats(
    long Ticks, long TicksKept, long Steps, long PromptTokens, long NewTokens, TimeSpan TickMedian, TimeSpan Tick99, int Sessions, int Running, int Waiting, long KvBytes,
    int ResidentAdapters, long ResidentBytes, int StagedAdapters, long StagedBytes, int RetiredAdapters, long Loads, long Evictions, long BaseBytes);
