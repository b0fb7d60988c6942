using System.Diagnostics;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>
/// One generation, measured: a span where somebody listens, and what the meter records of it. The tick's thread notes, the reader's opens and closes, so that the span is the reader's child and no tick's.
/// </summary>
/// <remarks>https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/.</remarks>
internal sealed class GenerationTrace
{
    private readonly EdgeHost _host;
    private readonly Activity? _span;
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _first, _last;
    private AdapterHandle _node;
    private StopReason _stop;
    private DateTime _end;
    private volatile bool _ended;

    /// <summary>On the reader's thread, when it asks.</summary>
    public GenerationTrace(EdgeHost host, HostSession session, GenerationOptions options)
    {
        (_host, _node, Operation) = (host, session.Node, session.Options.Operation);
        if (!EdgeDiagnostics.Source.HasListeners())
            return;
        // Samplers see what is known now; the rest follows for those that are recorded.
        _span = EdgeDiagnostics.Source.StartActivity($"{Operation} {Model}", ActivityKind.Internal, default(ActivityContext),
            [new("gen_ai.operation.name", Operation), new("gen_ai.provider.name", EdgeDiagnostics.Provider), new("gen_ai.request.model", Model)]);
        if (_span is not { IsAllDataRequested: true })
            return;
        SamplingOptions sampling = options.Sampling;
        _span.SetTag("gen_ai.request.max_tokens", options.MaxTokens);
        _span.SetTag("gen_ai.request.temperature", sampling.Temperature);
        if (sampling.TopP < 1)
            _span.SetTag("gen_ai.request.top_p", sampling.TopP);
        if (sampling.TopK > 0)
            _span.SetTag("gen_ai.request.top_k", sampling.TopK);
        if (sampling.FrequencyPenalty != 0)
            _span.SetTag("gen_ai.request.frequency_penalty", sampling.FrequencyPenalty);
        if (sampling.PresencePenalty != 0)
            _span.SetTag("gen_ai.request.presence_penalty", sampling.PresencePenalty);
        if (sampling.Temperature > 0)
            _span.SetTag("gen_ai.request.seed", unchecked((long)sampling.Seed));
        if (options.StopStrings.Count > 0)
            _span.SetTag("gen_ai.request.stop_sequences", options.StopStrings.ToArray());
    }

    /// <summary>gen_ai.operation.name.</summary>
    public string Operation { get; }

    /// <summary>gen_ai.request.model.</summary>
    public string Model => _host.ModelId(_node.Node);

    /// <summary>Tokens of the prompt and of all before it.</summary>
    public int InputTokens { get; private set; }

    /// <summary>Tokens that were generated.</summary>
    public int OutputTokens { get; private set; }

    /// <summary>From asking to the first token.</summary>
    public TimeSpan ToFirstToken => Stopwatch.GetElapsedTime(_start, _first);

    /// <summary>From the first token to the last one.</summary>
    public TimeSpan FirstToLast => Stopwatch.GetElapsedTime(_first, _last);

    /// <summary>On the tick's thread: the prompt was appended.</summary>
    public void Began(int inputTokens) => InputTokens = inputTokens;

    /// <summary>On the tick's thread: a token came.</summary>
    public void Token()
    {
        _last = Stopwatch.GetTimestamp();
        if (OutputTokens++ == 0)
            _first = _last;
    }

    /// <summary>On the tick's thread: it has ended, on this node.</summary>
    public void Ended(AdapterHandle node, StopReason stop)
    {
        (_node, _stop) = (node, stop);
        if (_span is not null)
            _end = DateTime.UtcNow;
        _ended = true;
        _host.Meter.Generated(this);
    }

    /// <summary>On the reader's thread: it reads no more. Where the generation has not ended, the reader left.</summary>
    /// <param name="fault">Why it failed, if it did.</param>
    public void Close(Exception? fault)
    {
        if (_span is null)
            return;
        if (_ended)
            _span.SetEndTime(_end);
        if (_span.IsAllDataRequested)
        {
            _span.SetTag("gen_ai.response.model", Model);
            _span.SetTag("gen_ai.response.finish_reasons", new[] { Reason(fault) });
            _span.SetTag("gen_ai.usage.input_tokens", InputTokens);
            _span.SetTag("gen_ai.usage.output_tokens", OutputTokens);
            _span.SetTag("edgelora.node", _node.Node);
            _span.SetTag("edgelora.generation", _node.Generation);
            if (fault is not null)
            {
                _span.SetTag("error.type", fault.GetType().FullName);
                _span.SetStatus(ActivityStatusCode.Error, fault.Message);
            }
        }
        _span.Stop();
    }

    private string Reason(Exception? fault) => fault is not null ? "error" : _stop switch
    {
        StopReason.EndOfSequence or StopReason.StopString => "stop",
        StopReason.MaxTokens or StopReason.ContextEnd => "length",
        _ => "cancelled",
    };
}
