namespace EdgeLora;

/// <summary>A device that <see cref="EdgeHost"/> can run on.</summary>
/// <param name="Id">What <c>--device</c> takes.</param>
/// <param name="Name">For people.</param>
/// <param name="Kind">CPU.</param>
/// <param name="Detail">Instruction set, threads.</param>
/// <param name="IsDefault">Chosen when none is named.</param>
public sealed record DeviceInfo(string Id, string Name, string Kind, string Detail, bool IsDefault);
