using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>Timestamps around each dispatch of one recording. Dispatches that could overlap do not while they are timed.</summary>
internal sealed unsafe class DispatchTimer : IDisposable
{
    private readonly VulkanDevice _device;
    private readonly QueryPool _queries;
    private readonly List<string> _kernels = [];

    public DispatchTimer(VulkanDevice device, int dispatches)
    {
        _device = device;
        QueryPoolCreateInfo info = new() { SType = StructureType.QueryPoolCreateInfo, QueryType = QueryType.Timestamp, QueryCount = (uint)(2 * dispatches) };
        VulkanException.Check(device.Api.CreateQueryPool(device.Handle, &info, null, out _queries), "vkCreateQueryPool");
    }

    /// <summary>Records that the queries start anew.</summary>
    public void Reset(CommandBuffer commands, int dispatches) => _device.Api.CmdResetQueryPool(commands, _queries, 0, (uint)(2 * dispatches));

    /// <summary>Records the time before a dispatch.</summary>
    public void Before(CommandBuffer commands, string kernel)
    {
        _device.Api.CmdWriteTimestamp(commands, PipelineStageFlags.BottomOfPipeBit, _queries, (uint)(2 * _kernels.Count));
        _kernels.Add(kernel);
    }

    /// <summary>Records the time behind the dispatch begun last.</summary>
    public void After(CommandBuffer commands) => _device.Api.CmdWriteTimestamp(commands, PipelineStageFlags.BottomOfPipeBit, _queries, (uint)(2 * _kernels.Count - 1));

    /// <summary>Adds the times of a finished submission to <paramref name="times"/>.</summary>
    public void Collect(Dictionary<string, (long Dispatches, double Milliseconds)> times)
    {
        ulong[] stamps = new ulong[2 * _kernels.Count];
        fixed (ulong* p = stamps)
            VulkanException.Check(_device.Api.GetQueryPoolResults(_device.Handle, _queries, 0, (uint)stamps.Length, (nuint)(stamps.Length * sizeof(ulong)), p, sizeof(ulong), QueryResultFlags.Result64Bit), "vkGetQueryPoolResults");
        for (int i = 0; i < _kernels.Count; i++)
        {
            (long count, double sum) = times.GetValueOrDefault(_kernels[i]);
            times[_kernels[i]] = (count + 1, sum + (stamps[2 * i + 1] - stamps[2 * i]) * (double)_device.Limits.TimestampPeriod * 1e-6);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _device.Api.DestroyQueryPool(_device.Handle, _queries, null);
}
