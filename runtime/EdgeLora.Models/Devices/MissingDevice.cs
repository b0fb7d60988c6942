namespace EdgeLora.Models;

/// <summary>A kind of device that is not to be had here.</summary>
/// <param name="Name">Vulkan, ONNX Runtime, DirectML.</param>
/// <param name="Why">What is missing, without a full stop.</param>
public sealed record MissingDevice(string Name, string Why);
