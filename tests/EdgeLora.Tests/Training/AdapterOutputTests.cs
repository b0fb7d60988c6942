using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Written adapters against the files of the library, byte for byte: ../shared/fixtures/training, made by scripts/training_traces.py there.</summary>
public sealed class AdapterOutputTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("output").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, MemberData(nameof(TraceFixture.Adapters), MemberType = typeof(TraceFixture))]
    public void An_adapter_made_in_memory_is_written_as_the_library_writes_it(string name)
    {
        using TraceFixture fixture = new(name);
        string init = Path.Combine(fixture.Folder, "init"), final = Path.Combine(fixture.Folder, "final");
        using PeftAdapter read = PeftAdapter.Open(init);
        using PeftAdapter made = PeftAdapter.Create("memory", read.Config, read.Modules.Values.SelectMany(m => m.Parts, (m, p) => (m.Name, p.Key, p.Value)));
        AdapterOutput.Write(made, _folder, AdapterFormat.Peft, new("", "", ""));
        foreach (string file in new[] { PeftAdapter.WeightsName, PeftConfigReader.FileName })
            Assert.Equal(File.ReadAllBytes(Path.Combine(init, file)), File.ReadAllBytes(Path.Combine(_folder, file)));
        using PeftAdapter trained = PeftAdapter.Open(final);
        Assert.Equal(AdapterStartTests.Shapes(trained), AdapterStartTests.Shapes(made));
        Assert.Equal(trained.ConfigJson, made.ConfigJson);
        Assert.Equal(new FileInfo(Path.Combine(final, PeftAdapter.WeightsName)).Length, made.WrittenLength);
    }

    [Fact]
    public void Every_expectation_of_the_library_s_configuration_holds()
    {
        using JsonDocument expectations = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/training/peft_expectations.json")));
        JsonElement defaults = expectations.RootElement.GetProperty("defaults").GetProperty("LORA");
        using JsonDocument written = JsonDocument.Parse(PeftConfigWriter.ToJson(new() { TaskType = null, Rank = 8, Alpha = 8 }));
        foreach (JsonProperty field in defaults.EnumerateObject())
            if (field.Name != "inference_mode")
                Assert.True(JsonElement.DeepEquals(field.Value, written.RootElement.GetProperty(field.Name)), field.Name);
        Assert.Equal(defaults.EnumerateObject().Count(), written.RootElement.EnumerateObject().Count());
    }

    [Fact]
    public void Trained_tensors_take_their_places_in_the_file()
    {
        using TraceFixture fixture = new("lora_bias_all_qwen2");
        using LoraAdapter start = LoraAdapter.Load(Path.Combine(fixture.Folder, "init"), "init", fixture.Model.Sites);
        using PeftAdapter final = PeftAdapter.Open(Path.Combine(fixture.Folder, "final"));
        using PeftAdapter trained = AdapterOutput.Of(start, final.Tensors.Values.Select(t => (t.Name, t.ToFloats())));
        AdapterOutput.Write(trained, _folder, AdapterFormat.Peft, new("support", new('a', 32), new('b', 32)));
        Assert.Equal(File.ReadAllBytes(Path.Combine(final.FilePath, PeftAdapter.WeightsName)), File.ReadAllBytes(Path.Combine(_folder, PeftAdapter.WeightsName)));
        using JsonDocument lineage = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder, AdapterOutput.LineageName)));
        Assert.Equal(("support", new string('b', 32)), (lineage.RootElement.GetProperty("parent").GetString(), lineage.RootElement.GetProperty("baseFingerprint").GetString()));
        Assert.Throws<ArgumentException>(() => AdapterOutput.Of(start, [("no.such.tensor", [])]));
    }

    [Fact]
    public void An_elora_file_carries_parent_and_base_and_stands_in_a_tree()
    {
        using TraceFixture fixture = new("lora_child");
        using LoraAdapter parent = LoraAdapter.Load(Path.Combine(fixture.Folder, "parent"), "parent", fixture.Model.Sites);
        using PeftAdapter start = PeftAdapter.Open(Path.Combine(fixture.Folder, "init"));
        string node = Path.Combine(_folder, "alice");
        AdapterOutput.Write(start, node, AdapterFormat.Elora, new("support", parent.ContentFingerprint, fixture.Model.BaseFingerprint));
        using PeftAdapter again = PeftAdapter.Open(node);
        Assert.Equal(("alice", parent.ContentFingerprint, fixture.Model.BaseFingerprint), (again.Header!.Name, again.Header.ParentFingerprint, again.Header.BaseFingerprint));
        Assert.Equal(Fingerprint.Of(start.File), Fingerprint.Of(again.File));
        Assert.Equal(start.ConfigJson, again.ConfigJson);
    }

    [Fact]
    public void The_summary_counts_what_trains()
    {
        using TraceFixture fixture = new("lora_all_cosine");
        using LoraAdapter adapter = LoraAdapter.Load(Path.Combine(fixture.Folder, "init"), "init", fixture.Model.Sites);
        TrainableSummary summary = TrainableSummary.Of(adapter, fixture.Model.Sites);
        Assert.Equal((16384, 106816L, new FileInfo(Path.Combine(fixture.Folder, "init", PeftAdapter.WeightsName)).Length), (summary.Trainable, summary.BaseParameters, summary.CheckpointBytes));
        // q and o of both layers.
        Assert.Equal([new SquareTargets(4, 64, 8)], summary.Squares);
        Assert.Equal(2L * 4 * 64 * 8, summary.Squares[0].Parameters);
        Assert.Equal($"16,384 of 106,816 parameters train (15.339 % of the base); a checkpoint has {summary.CheckpointBytes:N0} bytes\n4 square targets [64, 64]: Θ = 2·L·d·r = 2·4·64·8 = 4,096", summary.ToString());
        using TraceFixture tied = new("full_tied_qwen2");
        IReadOnlyList<TrainableWeight> weights = TrainableWeights.Of(tied.Recipe, tied.Model.Sites);
        TrainableSummary full = TrainableSummary.Of(weights, tied.Model.Sites);
        Assert.Equal((78400L, 78400L, new FileInfo(Path.Combine(tied.Folder, "final", "model.safetensors")).Length), (full.Trainable, full.BaseParameters, full.CheckpointBytes));
    }
}
