using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using EdgeLora.Tests.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeLora.Tests.Diagnostics;

/// <summary>A host's numbers and log, as listeners see them.</summary>
public sealed class MeterTests
{
    [Fact]
    public void Tokens_times_and_ticks_are_recorded()
    {
        using EdgeHost host = Shipped.Open();
        using Heard heard = new(host);
        HostSession session = Served.Until(host, host.OpenSessionAsync("holmes"));
        Served.Until(host, Served.Collect(session.GenerateAsync([1, 2, 3], new GenerationOptions { MaxTokens = 6, IgnoreEnd = true }, TestContext.Current.CancellationToken)));
        Assert.Equal([(3, "input"), (6, "output")], heard.Of("gen_ai.client.token.usage").Select(m => ((int)m.Value, m.Tags["gen_ai.token.type"])));
        Assert.All(heard.Of("gen_ai.client.token.usage"), m => Assert.Equal(("holmes", "text_completion", "edgelora"), (m.Tags["gen_ai.request.model"], m.Tags["gen_ai.operation.name"], m.Tags["gen_ai.provider.name"])));
        double first = Assert.Single(heard.Of("gen_ai.server.time_to_first_token")).Value, each = Assert.Single(heard.Of("gen_ai.server.time_per_output_token")).Value;
        Assert.InRange(first, 1e-6, 180);
        Assert.InRange(each, 1e-6, 180);
        HostStats stats = Served.Until(host, host.StatsAsync());
        int ticks = heard.Of("edgelora.tick.duration").Count();
        Assert.InRange(ticks, 1, (int)stats.Ticks);
        Assert.InRange(heard.Of("edgelora.tick.kept").Count(), 0, ticks);
        Assert.True(heard.Of("edgelora.tick.duration").Sum(m => m.Value) >= first);
    }

    [Fact]
    public void Switches_and_what_is_on_the_device_are_told()
    {
        using EdgeHost host = Shipped.Open();
        using Heard heard = new(host);
        HostSession session = Served.Until(host, host.OpenSessionAsync());
        Served.Until(host, session.SwitchAsync("math"));
        Served.Until(host, session.SwitchAsync(""));
        Served.Until(host, session.SwitchAsync("math"));
        Assert.Equal([("math", true), ("", false), ("math", false)], heard.Of("edgelora.switch.duration").Select(m => ((string)m.Tags["edgelora.node"]!, (bool)m.Tags["edgelora.loaded"]!)));
        heard.Look();
        Assert.Equal(1, Assert.Single(heard.Of("edgelora.adapters.resident")).Value);
        Assert.Equal(host.Tree.Get("math").ByteLength, Assert.Single(heard.Of("edgelora.adapters.bytes")).Value);
    }

    [Fact]
    public void Reloads_are_counted_and_logged_with_their_faults()
    {
        using RandomTree tree = new(61);
        tree.Add("", "a");
        LogLines lines = new();
        using EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { Threads = 1, Logger = lines });
        using Heard heard = new(host);
        HostSession session = Served.Until(host, host.OpenSessionAsync("a"));
        // Beside the old file: the old generation's stays mapped.
        string file = Path.Combine(tree.Folder, "a", "adapter_model.safetensors");
        File.Copy(file, file + ".new");
        File.Move(file + ".new", file, overwrite: true);
        Served.Until(host, host.ReloadAsync("a"));
        File.WriteAllText(file + ".new", "no tensors");
        File.Move(file + ".new", file, overwrite: true);
        Assert.Throws<EdgeLora.Core.ModelFileException>(() => Served.Until(host, host.ReloadAsync("a")));
        host.Tick(Served.Budget);
        Assert.Equal([("a", "reloaded"), ("a", "refused")], heard.Of("edgelora.reloads").Select(m => ((string)m.Tags["edgelora.node"]!, (string)m.Tags["edgelora.outcome"]!)));
        Assert.Contains((LogLevel.Information, "adapter a: Reloaded, generation 1"), lines.All);
        Assert.Contains((LogLevel.Debug, "adapter a: Activated, generation 0"), lines.All);
        Assert.Contains(lines.All, l => l.Level == LogLevel.Warning && l.Text.StartsWith("adapter a was refused: ", StringComparison.Ordinal) && l.Text.Length > 30);
        Assert.Equal("a", session.Node.Node);
    }

    [Fact]
    public void Overruns_are_logged_once_a_second()
    {
        LogLines lines = new();
        using EdgeHost host = Shipped.Open(new EdgeHostOptions { Logger = lines });
        // What handlers take is part of the tick.
        host.AdapterChanged += _ => Thread.Sleep(20);
        HostSession session = Served.Until(host, host.OpenSessionAsync("math"));
        int before = lines.All.Count(l => l.Text.Contains("since the last told", StringComparison.Ordinal));
        Assert.Equal(1, before);
        Assert.Contains(lines.All, l => l.Level == LogLevel.Warning && l.Text.Contains(" of 5.00 ms", StringComparison.Ordinal));
        Assert.Equal("math", session.Node.Node);
    }

    [Fact]
    public void What_nobody_listens_to_allocates_nothing()
    {
        using EdgeHost host = Shipped.Open();
        TickReport report = new(1, Served.Budget, Served.Budget * 3, default, default, default, default, 1, 0, 1, 0, 1, 0);
        long Bytes()
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                host.Meter.Ticked(report);
                host.Meter.Switched(0, "math", loaded: true);
                host.Meter.Reloaded("math", refused: false);
                host.Log.Ticked(report);
                host.Profile.Add("step", 0, null, ("rows", i), ("sessions", 1));
            }
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
        Bytes();
        Assert.Equal(0, Bytes());
    }

    // What a MeterListener hears of one host.
    private sealed class Heard : IDisposable
    {
        private readonly MeterListener _listener = new();
        private readonly ConcurrentQueue<(string Name, double Value, Dictionary<string, object?> Tags)> _all = new();

        public Heard(EdgeHost host)
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == EdgeDiagnostics.SourceName && instrument.Meter.Scope == host)
                    listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<long>((i, value, tags, _) => _all.Enqueue((i.Name, value, tags.ToArray().ToDictionary())));
            _listener.SetMeasurementEventCallback<int>((i, value, tags, _) => _all.Enqueue((i.Name, value, tags.ToArray().ToDictionary())));
            _listener.SetMeasurementEventCallback<double>((i, value, tags, _) => _all.Enqueue((i.Name, value, tags.ToArray().ToDictionary())));
            _listener.Start();
        }

        public IEnumerable<(string Name, double Value, Dictionary<string, object?> Tags)> Of(string name) => _all.Where(m => m.Name == name);

        public void Look() => _listener.RecordObservableInstruments();

        public void Dispose() => _listener.Dispose();
    }
}
