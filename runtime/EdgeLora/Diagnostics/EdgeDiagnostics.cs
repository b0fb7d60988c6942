using System.Diagnostics;

namespace EdgeLora;

/// <summary>What to name to a listener: <c>AddSource(EdgeDiagnostics.SourceName)</c>, <c>AddMeter(EdgeDiagnostics.SourceName)</c>.</summary>
/// <remarks>Names follow OpenTelemetry's conventions for generative AI; what those have no name for begins with <c>edgelora</c>.</remarks>
public static class EdgeDiagnostics
{
    /// <summary>Name of the source of spans, one span for each generation, and of each host's meter.</summary>
    public const string SourceName = "EdgeLora";

    internal const string Provider = "edgelora";

    internal static readonly string Version = typeof(EdgeDiagnostics).Assembly.GetName().Version!.ToString(3);

    internal static readonly ActivitySource Source = new(SourceName, Version);
}
