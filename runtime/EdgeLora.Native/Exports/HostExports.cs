using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeLora.Native;

/// <summary>The functions on the library and on hosts; edgelora.h says what they do.</summary>
internal static unsafe class HostExports
{
    // Bumped with every change of a struct or a function that is there.
    private const uint AbiVersion = 1;

    // An hour: no tick takes longer on purpose, and it is far from overflowing.
    private const long LongestBudgetUs = 3_600_000_000;

    // Lives as long as the library.
    private static readonly byte* s_version = (byte*)Marshal.StringToCoTaskMemUTF8(typeof(HostExports).Assembly.GetName().Version!.ToString(3));

    [UnmanagedCallersOnly(EntryPoint = "edgelora_version", CallConvs = [typeof(CallConvCdecl)])]
    public static byte* Version() => s_version;

    [UnmanagedCallersOnly(EntryPoint = "edgelora_abi_version", CallConvs = [typeof(CallConvCdecl)])]
    public static uint AbiVersionNumber() => AbiVersion;

    [UnmanagedCallersOnly(EntryPoint = "edgelora_last_error", CallConvs = [typeof(CallConvCdecl)])]
    public static byte* LastError() => ThreadText.Get(ThreadTextSlot.Error);

    [UnmanagedCallersOnly(EntryPoint = "edgelora_live_handles", CallConvs = [typeof(CallConvCdecl)])]
    public static int LiveHandles() => NativeHost.Table.Count + NativeSession.Table.Count;

    [UnmanagedCallersOnly(EntryPoint = "edgelora_open", CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(OpenOptionsLayout* options, ulong* host) => Call.Guard(() =>
    {
        Out.Check(host, "host");
        *host = 0;
        ref OpenOptionsLayout given = ref Layout.Get(options, "options");
        *host = NativeHost.Open(Utf8.Read(given.Tree, "tree"), given.ToOptions());
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_close", CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong host) => Call.Guard(() => NativeHost.Close(host));

    [UnmanagedCallersOnly(EntryPoint = "edgelora_tick", CallConvs = [typeof(CallConvCdecl)])]
    public static int Tick(ulong host, long budgetUs, TickReportLayout* report) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        if (report is not null)
            _ = Layout.Get(report, "report");
        TickReport did = use.Native.Tick(Budget(budgetUs));
        if (report is not null)
            report->Set(did);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_run", CallConvs = [typeof(CallConvCdecl)])]
    public static int Run(ulong host, long budgetUs) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        use.Native.Run(budgetUs == 0 ? TimeSpan.FromMilliseconds(10) : Budget(budgetUs));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_stop", CallConvs = [typeof(CallConvCdecl)])]
    public static int Stop(ulong host) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        use.Native.Stop();
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_stats_get", CallConvs = [typeof(CallConvCdecl)])]
    public static int StatsGet(ulong host, StatsLayout* stats) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        ref StatsLayout given = ref Layout.Get(stats, "stats");
        given.Set(use.Native.Wait(use.Host.StatsAsync()));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_event_next", CallConvs = [typeof(CallConvCdecl)])]
    public static int EventNext(ulong host, EventLayout* happened, int* found) => Call.Guard(() =>
    {
        Out.Check(found, "found");
        *found = 0;
        using HostUse use = NativeHost.Use(host);
        ref EventLayout given = ref Layout.Get(happened, "event");
        if (use.Native.NextEvent(out int lost) is not { } next)
            return;
        given.Set(next, lost);
        *found = 1;
    });

    private static TimeSpan Budget(long microseconds) => microseconds is >= 0 and <= LongestBudgetUs
        ? TimeSpan.FromMicroseconds(microseconds)
        : throw new ArgumentException($"budget_us: expected 0 to {LongestBudgetUs}, found {microseconds}");
}
