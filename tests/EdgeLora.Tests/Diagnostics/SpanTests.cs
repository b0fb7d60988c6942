using System.Collections.Concurrent;
using System.Diagnostics;
using EdgeLora.Models;
using EdgeLora.Tests.Hosting;
using Xunit;

namespace EdgeLora.Tests.Diagnostics;

/// <summary>Spans of generations, as a listener sees them.</summary>
public sealed class SpanTests : IDisposable
{
    private static readonly ActivitySource s_test = new("EdgeLora.Tests.SpanTests");

    private readonly ConcurrentQueue<Activity> _stopped = new();
    private readonly ActivityListener _listener;
    private readonly Activity _parent;

    public SpanTests()
    {
        _listener = new()
        {
            ShouldListenTo = source => source.Name is EdgeDiagnostics.SourceName or "EdgeLora.Tests.SpanTests",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _stopped.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
        _parent = s_test.StartActivity("test")!;
    }

    public void Dispose()
    {
        _parent.Dispose();
        _listener.Dispose();
    }

    [Fact]
    public void A_generation_is_a_child_span_with_the_conventions_names()
    {
        using EdgeHost host = Shipped.Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync("shakespeare/kings"));
        GenerationOptions options = new() { MaxTokens = 7, IgnoreEnd = true, StopStrings = ["\u0001"], Sampling = new() { Temperature = 0.5, TopK = 40, Seed = 3 } };
        Served.Until(host, Served.Collect(session.GenerateAsync([1, 2, 3], options, TestContext.Current.CancellationToken)));
        Assert.Same(_parent, Activity.Current);
        Activity span = Assert.Single(Spans());
        Assert.Equal("text_completion shakespeare/kings", span.DisplayName);
        Assert.Equal(_parent.SpanId, span.ParentSpanId);
        Assert.True(span.Duration > TimeSpan.Zero);
        Dictionary<string, object?> tags = span.TagObjects.ToDictionary();
        Assert.Equal("text_completion", tags["gen_ai.operation.name"]);
        Assert.Equal("edgelora", tags["gen_ai.provider.name"]);
        Assert.Equal("shakespeare/kings", tags["gen_ai.request.model"]);
        Assert.Equal((7, 0.5, 40, 3L), (tags["gen_ai.request.max_tokens"], tags["gen_ai.request.temperature"], tags["gen_ai.request.top_k"], tags["gen_ai.request.seed"]));
        Assert.Equal((3, 7), (tags["gen_ai.usage.input_tokens"], tags["gen_ai.usage.output_tokens"]));
        Assert.Equal(["length"], Assert.IsType<string[]>(tags["gen_ai.response.finish_reasons"]));
        Assert.Equal(("shakespeare/kings", 0), (tags["edgelora.node"], tags["edgelora.generation"]));
        Assert.DoesNotContain("gen_ai.request.top_p", tags.Keys);
    }

    [Fact]
    public void A_generation_that_is_refused_is_a_span_with_the_error()
    {
        using EdgeHost host = Shipped.Open(new EdgeHostOptions { KvBudgetBytes = 1 });
        HostSession session = Served.Until(host, host.OpenSessionAsync());
        Assert.Throws<InvalidOperationException>(() => Served.Until(host, Served.Collect(session.GenerateAsync([1], new GenerationOptions(), TestContext.Current.CancellationToken))));
        Activity span = Assert.Single(Spans());
        Assert.Equal(ActivityStatusCode.Error, span.Status);
        Assert.Equal("System.InvalidOperationException", span.GetTagItem("error.type"));
        Assert.Equal("text_completion nano", span.DisplayName);
    }

    [Fact]
    public void A_reader_who_leaves_ends_the_generation()
    {
        using EdgeHost host = Shipped.Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync());
        async Task First()
        {
            await foreach (GeneratedPiece _ in session.GenerateAsync([1, 2], new GenerationOptions { MaxTokens = 400, IgnoreEnd = true }))
                break;
        }
        Served.Until(host, First());
        Served.Until(host, host.SessionsAsync());
        Assert.Equal(HostSessionState.Idle, session.State);
        Assert.True(session.TokenCount < 400);
        Assert.Equal(["cancelled"], Assert.IsType<string[]>(Assert.Single(Spans()).GetTagItem("gen_ai.response.finish_reasons")));
        // Another may begin.
        Served.Until(host, session.TruncateAsync(2));
        Assert.Equal(Served.Alone(host, AdapterPath.Root, [1, 2, 5], 4),
            Served.Until(host, Served.Collect(session.GenerateAsync([5], new GenerationOptions { MaxTokens = 4, IgnoreEnd = true }, TestContext.Current.CancellationToken))).Tokens);
    }

    // Of this test alone: others run beside it.
    private IEnumerable<Activity> Spans() => _stopped.Where(a => a.TraceId == _parent.TraceId && a != _parent);
}
