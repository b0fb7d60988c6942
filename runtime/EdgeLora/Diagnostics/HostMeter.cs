using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace EdgeLora;

/// <summary>
/// A host's numbers for who listens to the meter "EdgeLora"; <see cref="Meter.Scope"/> is the host. Seconds, tokens, bytes. Recording costs a look at a flag where nobody listens.
/// </summary>
/// <remarks>gen_ai.*: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, with the buckets advised there.</remarks>
internal sealed class HostMeter : IDisposable
{
    private readonly Meter _meter;
    private readonly Histogram<long> _tokens;
    private readonly Histogram<double> _firstToken, _perToken, _tick, _switch;
    private readonly Counter<long> _kept, _reloads;

    /// <param name="host">Whose numbers. Gauges read its store.</param>
    public HostMeter(EdgeHost host)
    {
        _meter = new(new MeterOptions(EdgeDiagnostics.SourceName) { Version = EdgeDiagnostics.Version, Scope = host });
        _tokens = _meter.CreateHistogram("gen_ai.client.token.usage", "{token}", "Tokens of a prompt with all before it, and of the answer.",
            advice: new InstrumentAdvice<long> { HistogramBucketBoundaries = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864] });
        _firstToken = Seconds("gen_ai.server.time_to_first_token", "From a prompt's coming to its first token.", [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]);
        _perToken = Seconds("gen_ai.server.time_per_output_token", "Between two tokens, over an answer.", [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]);
        _tick = Seconds("edgelora.tick.duration", "Ticks that ran a forward pass or moved an adapter.", [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.1, 0.25, 0.5, 1]);
        _switch = Seconds("edgelora.switch.duration", "A session's walk to another node.", [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1]);
        _kept = _meter.CreateCounter<long>("edgelora.tick.kept", "{tick}", "Of the ticks in edgelora.tick.duration those within their budget and one forward pass.");
        _reloads = _meter.CreateCounter<long>("edgelora.reloads", "{reload}", "Adapters whose files were read again, by outcome: reloaded or refused.");
        _meter.CreateObservableGauge("edgelora.adapters.resident", () => host.Store.ResidentCount, "{adapter}", "Adapters on the device.");
        _meter.CreateObservableGauge("edgelora.adapters.bytes", () => host.Store.ResidentBytes, "By", "Bytes of the adapters on the device.");
    }

    /// <summary>Records a generation that has ended.</summary>
    public void Generated(GenerationTrace trace)
    {
        KeyValuePair<string, object?> operation = new("gen_ai.operation.name", trace.Operation), model = new("gen_ai.request.model", trace.Model), provider = new("gen_ai.provider.name", EdgeDiagnostics.Provider);
        if (_tokens.Enabled)
        {
            _tokens.Record(trace.InputTokens, [operation, model, provider, new("gen_ai.token.type", "input")]);
            _tokens.Record(trace.OutputTokens, [operation, model, provider, new("gen_ai.token.type", "output")]);
        }
        if (_firstToken.Enabled && trace.OutputTokens > 0)
            _firstToken.Record(trace.ToFirstToken.TotalSeconds, [operation, model, provider]);
        if (_perToken.Enabled && trace.OutputTokens > 1)
            _perToken.Record(trace.FirstToLast.TotalSeconds / (trace.OutputTokens - 1), [operation, model, provider]);
    }

    /// <summary>Records a tick.</summary>
    public void Ticked(in TickReport report)
    {
        if (report is { Steps: 0, BytesMoved: 0 })
            return;
        if (_tick.Enabled)
            _tick.Record(report.Elapsed.TotalSeconds);
        if (report.KeptWithinOneStep)
            _kept.Add(1);
    }

    /// <summary>Records a switch.</summary>
    /// <param name="start">When it began, of <see cref="Stopwatch.GetTimestamp"/>.</param>
    /// <param name="node">Where to.</param>
    /// <param name="loaded">Whether an adapter had to be brought to the device.</param>
    public void Switched(long start, string node, bool loaded)
    {
        if (_switch.Enabled)
            _switch.Record(Stopwatch.GetElapsedTime(start).TotalSeconds, new("edgelora.node", node), new("edgelora.loaded", loaded));
    }

    /// <summary>Counts a reload.</summary>
    public void Reloaded(string node, bool refused)
    {
        if (_reloads.Enabled)
            _reloads.Add(1, new("edgelora.node", node), new("edgelora.outcome", refused ? "refused" : "reloaded"));
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private Histogram<double> Seconds(string name, string description, double[] buckets) =>
        _meter.CreateHistogram(name, "s", description, advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = buckets });
}
