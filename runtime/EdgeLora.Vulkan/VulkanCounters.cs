namespace EdgeLora.Vulkan;

/// <summary>What a backend did so far, and what its memory holds.</summary>
/// <param name="Recorded">Command buffers recorded.</param>
/// <param name="Submitted">Command buffers submitted, recorded or replayed.</param>
/// <param name="ControlBytes">Bytes of control blocks written: tokens, positions, paths, activations from the host.</param>
/// <param name="UploadedBytes">Bytes of weights and tables brought to the device.</param>
/// <param name="ReadBytes">Bytes brought from the device: logits, or the best few of them.</param>
/// <param name="DeviceBytes">Bytes of tensors on the device now, as the allocator counts them: rounded up to 256 each.</param>
public readonly record struct VulkanCounters(long Recorded, long Submitted, long ControlBytes, long UploadedBytes, long ReadBytes, long DeviceBytes);
