using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>A command buffer and the list it was recorded from.</summary>
/// <param name="List">The list's bytes.</param>
/// <param name="Commands">The commands.</param>
internal sealed record Recording(byte[] List, CommandBuffer Commands)
{
    /// <summary>When it was submitted last, in submissions of its frame.</summary>
    public long LastUse { get; set; }

    /// <summary>Timestamps around its dispatches, where it is profiled.</summary>
    public DispatchTimer? Timer { get; set; }
}
