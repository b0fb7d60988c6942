namespace EdgeLora;

/// <summary>Who answers at the other end of a link.</summary>
/// <param name="Version">Of the library there.</param>
/// <param name="Host">What the host opened.</param>
/// <param name="BaseFingerprint">Of its base's tensors, 32 hex digits.</param>
/// <param name="ProcessId">Its process.</param>
public sealed record LinkHello(string Version, string Host, string BaseFingerprint, int ProcessId)
{
    internal static LinkHello From(LinkMessage message) => new(message.Text("version"), message.Text("host"), message.Text("base"), (int)message.Number("pid", 0, int.MaxValue));

    internal LinkMessage ToMessage() => new() { ["version"] = Version, ["host"] = Host, ["base"] = BaseFingerprint, ["pid"] = ProcessId };
}
