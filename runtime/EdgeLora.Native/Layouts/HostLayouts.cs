using System.Runtime.InteropServices;

namespace EdgeLora.Native;

/// <summary>edgelora_open_options.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct OpenOptionsLayout : ILayout
{
    public uint Size;
    public int Threads;
    public byte* Tree;
    public byte* Device;
    public int Watch;
    public int MaxBatchRows;
    public long AdapterBudgetBytes;
    public long StagedBudgetBytes;
    public long KvBudgetBytes;
    public long TickBytes;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    /// <summary>The host's options; 0 leaves a default.</summary>
    public readonly EdgeHostOptions ToOptions()
    {
        EdgeHostOptions defaults = new();
        return defaults with
        {
            Device = Utf8.ReadOrNull(Device, "device") ?? defaults.Device,
            Threads = NotNegative(Threads, "threads"),
            Watch = Watch != 0,
            MaxBatchRows = MaxBatchRows == 0 ? defaults.MaxBatchRows : NotNegative(MaxBatchRows, "max_batch_rows"),
            AdapterBudgetBytes = AdapterBudgetBytes == 0 ? defaults.AdapterBudgetBytes : NotNegative(AdapterBudgetBytes, "adapter_budget_bytes"),
            StagedBudgetBytes = StagedBudgetBytes == 0 ? defaults.StagedBudgetBytes : NotNegative(StagedBudgetBytes, "staged_budget_bytes"),
            KvBudgetBytes = KvBudgetBytes == 0 ? defaults.KvBudgetBytes : NotNegative(KvBudgetBytes, "kv_budget_bytes"),
            TickBytes = TickBytes == 0 ? defaults.TickBytes : NotNegative(TickBytes, "tick_bytes"),
        };
    }

    private static T NotNegative<T>(T value, string name) where T : System.Numerics.INumber<T> =>
        T.IsNegative(value) ? throw new ArgumentException($"{name}: expected 0 or more, found {value}") : value;
}

/// <summary>edgelora_tick_report.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TickReportLayout : ILayout
{
    public uint Size;
    public int Kept;
    public long Index;
    public long BudgetUs;
    public long ElapsedUs;
    public long CommitUs;
    public long RunUs;
    public long EventsUs;
    public long LongestStepUs;
    public long BytesMoved;
    public int Steps;
    public int PromptTokens;
    public int NewTokens;
    public int Running;
    public int Waiting;
    public int Reserved;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    public void Set(in TickReport report)
    {
        Kept = report.Kept ? 1 : 0;
        Index = report.Index;
        BudgetUs = Layout.Microseconds(report.Budget);
        ElapsedUs = Layout.Microseconds(report.Elapsed);
        CommitUs = Layout.Microseconds(report.Commit);
        RunUs = Layout.Microseconds(report.Run);
        EventsUs = Layout.Microseconds(report.Events);
        LongestStepUs = Layout.Microseconds(report.LongestStep);
        BytesMoved = report.BytesMoved;
        Steps = report.Steps;
        PromptTokens = report.PromptTokens;
        NewTokens = report.NewTokens;
        Running = report.Running;
        Waiting = report.Waiting;
    }
}

/// <summary>edgelora_stats.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StatsLayout : ILayout
{
    public uint Size;
    public int Sessions;
    public int Running;
    public int Waiting;
    public long Ticks;
    public long TicksKept;
    public long Steps;
    public long PromptTokens;
    public long NewTokens;
    public long TickMedianUs;
    public long Tick99Us;
    public long KvBytes;
    public long ResidentAdapters;
    public long ResidentBytes;
    public long StagedAdapters;
    public long StagedBytes;
    public long RetiredAdapters;
    public long Loads;
    public long Evictions;
    public long BaseBytes;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    public void Set(HostStats stats)
    {
        Sessions = stats.Sessions;
        Running = stats.Running;
        Waiting = stats.Waiting;
        Ticks = stats.Ticks;
        TicksKept = stats.TicksKept;
        Steps = stats.Steps;
        PromptTokens = stats.PromptTokens;
        NewTokens = stats.NewTokens;
        TickMedianUs = Layout.Microseconds(stats.TickMedian);
        Tick99Us = Layout.Microseconds(stats.Tick99);
        KvBytes = stats.KvBytes;
        ResidentAdapters = stats.ResidentAdapters;
        ResidentBytes = stats.ResidentBytes;
        StagedAdapters = stats.StagedAdapters;
        StagedBytes = stats.StagedBytes;
        RetiredAdapters = stats.RetiredAdapters;
        Loads = stats.Loads;
        Evictions = stats.Evictions;
        BaseBytes = stats.BaseBytes;
    }
}
