namespace EdgeLora.Vulkan;

/// <summary>What a shader cost so far.</summary>
/// <param name="Kernel">The shader's stem.</param>
/// <param name="Dispatches">How often it ran.</param>
/// <param name="Milliseconds">Time of all of them on the device.</param>
public readonly record struct KernelTime(string Kernel, long Dispatches, double Milliseconds);
