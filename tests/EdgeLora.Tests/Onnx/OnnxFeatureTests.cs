using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Onnx;
using EdgeLora.Tests.Adapters;
using EdgeLora.Tests.Hosting;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>What a path may carry, each in a graph of its shape; options of the device; hosting on it.</summary>
public sealed class OnnxFeatureTests
{
    private const double Tolerance = 1e-4;

    private static readonly int[] s_tokens = [1, 5, 9, 2, 7, 3];

    [Theory]
    [InlineData("llama-dora-all"), InlineData("gpt2-dora"), InlineData("qwen2-dora"), InlineData("llama-lora-bias"), InlineData("llama-embed"), InlineData("llama-head"), InlineData("llama-save-head"), InlineData("llama-save-norms")]
    [InlineData("llama-tokens"), InlineData("llama-tied-tokens"), InlineData("llama-tied-save"), InlineData("llama-lntuning"), InlineData("qwen2-bias-all"), InlineData("llama-pissa/trained"), InlineData("llama-alora")]
    public void Every_op_under_an_adapter_gives_what_the_reference_gives(string adapter)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + adapter), model = PeftAdapter.BaseFolder(folder);
        Compare(model, sites => LoraAdapter.Load(folder, "adapter", sites), 1);
    }

    [Theory, InlineData("fixtures/models/llama"), InlineData("fixtures/models/gpt2")]
    public void Bottlenecks_are_inputs_also_two_behind_each_other_and_one_twice(string model)
    {
        string folder = SharedFolder.Require(model);
        Compare(folder, sites => Bottleneck(sites, 1), 1);
        Compare(folder, sites => Bottleneck(sites, 1), 2);
        // One graph serves both paths of a shape; which tensors are one belongs to it.
        using OnnxBackend onnx = new("onnx:cpu");
        using CpuBackend cpu = new();
        using DecoderModel found = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), onnx), expected = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), cpu);
        using ResidentAdapter f1 = ResidentAdapter.Stage(Bottleneck(found.Sites, 1), onnx), f2 = ResidentAdapter.Stage(Bottleneck(found.Sites, 2), onnx);
        using ResidentAdapter e1 = ResidentAdapter.Stage(Bottleneck(expected.Sites, 1), cpu), e2 = ResidentAdapter.Stage(Bottleneck(expected.Sites, 2), cpu);
        foreach ((ResidentAdapter[] f, ResidentAdapter[] e) in (ReadOnlySpan<(ResidentAdapter[], ResidentAdapter[])>)[([f1, f1], [e1, e1]), ([f1, f2], [e1, e2]), ([f2, f1], [e2, e1]), ([f2, f2], [e2, e2])])
        {
            AdapterPath fp = PathResolver.Resolve("f", found.Sites, onnx, [.. f.Select(a => (a, 1f))]), ep = PathResolver.Resolve("e", expected.Sites, cpu, [.. e.Select(a => (a, 1f))]);
            Assert.True(GoldenError.Relative(ModelGolden.Logits(found, fp, s_tokens), ModelGolden.Logits(expected, ep, s_tokens)) <= Tolerance);
        }
        Assert.Equal(2, ((OnnxCausalLM)found.Whole!).GraphsOpened);
    }

    [Fact]
    public void All_plain_paths_run_on_one_graph_and_resident_ones_are_bound_once()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new() { Device = "onnx:cpu" });
        OnnxCausalLM onnx = (OnnxCausalLM)host.Model.Whole!;
        using Session session = host.CreateSession(AdapterPath.Root);
        session.Append(s_tokens);
        Batch batch = new(host.Model);
        string[] nodes = ["", "shakespeare/kings/richard", "assistant/polite", "math", "restaurant"];
        for (int i = 0; i < 40; i++)
        {
            session.Switch(host.Enter(nodes[i % nodes.Length]), KvPolicy.Keep);
            session.Append(5 + i);
            batch.Run(session);
        }
        Assert.Equal(1, onnx.GraphsOpened);
        Assert.Equal(nodes.Length, onnx.PathsBound);
    }

    [Fact]
    public void Few_graphs_and_few_bytes_of_bound_paths_are_enough_for_many_paths()
    {
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        ComputeDevices.Add(new("few", "few:cpu", id => id == "few:cpu", (_, _) => { }, (_, threads, _) => new OnnxBackend("onnx:cpu", threads, new OnnxOptions { Graphs = 2, Bindings = 3, BoundBytes = 1 << 20 })));
        using EdgeHost host = EdgeHost.Open(tree, new() { Device = "few:cpu" }), cpu = EdgeHost.Open(tree);
        OnnxCausalLM onnx = (OnnxCausalLM)host.Model.Whole!;
        string[] nodes = ["", "shakespeare/kings/richard", "holmes", "math", "assistant/polite", "restaurant"];
        using Session session = new(host.Model, AdapterPath.Root, 64, retainedPaths: 1), other = new(cpu.Model, AdapterPath.Root, 64, retainedPaths: 1);
        session.Append(s_tokens);
        other.Append(s_tokens);
        for (int i = 0; i < 18; i++)
        {
            session.Switch(host.Enter(nodes[i % nodes.Length]));
            other.Switch(cpu.Enter(nodes[i % nodes.Length]));
            new Batch(host.Model).Run(session);
            new Batch(cpu.Model).Run(other);
            Assert.True(GoldenError.Relative(session.Logits, other.Logits) <= Tolerance, $"{i}: {nodes[i % nodes.Length]}");
        }
        Assert.Equal(2, onnx.GraphsOpened);
        Assert.True(onnx.PathsBound > nodes.Length, "nothing had to go");
    }

    [Fact]
    public void Caches_in_the_provider_s_memory_and_steps_as_DirectML_needs_them_give_the_same_numbers()
    {
        string folder = Path.Combine(SharedFolder.Repository, "adapters", "nano", "base");
        using OnnxBackend onnx = new("onnx:cpu") { KeepsCaches = true };
        using CpuBackend cpu = new();
        using DecoderModel found = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), onnx), expected = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), cpu);
        List<Session> f = [], e = [];
        Batch fb = new(found, 4), eb = new(expected, 4);
        for (int i = 0; i < 3; i++)
        {
            f.Add(new(found, AdapterPath.Root, 8));
            e.Add(new(expected, AdapterPath.Root, 8));
            f[i].Append([.. s_tokens, 10 + i]);
            e[i].Append([.. s_tokens, 10 + i]);
        }
        // Prompts come in chunks of 4: what continues a cache goes row by row.
        for (int step = 0; step < 6; step++)
        {
            fb.Run([.. f]);
            eb.Run([.. e]);
            for (int i = 0; i < f.Count; i++)
            {
                Assert.True(GoldenError.Relative(f[i].Logits, e[i].Logits) <= Tolerance, $"session {i}, step {step}: {GoldenError.Relative(f[i].Logits, e[i].Logits):g3}");
                int next = ArgMax.Of(e[i].Logits);
                f[i].Append(next);
                e[i].Append(next);
            }
        }
        // aLoRA takes over a prefix; here it is copied in the provider's memory.
        using KvBuffer first = found.CreateCache(4), second = found.CreateCache(4);
        float[] whole = Logits(found, first, s_tokens, 0), tail = new float[found.Config.Vocabulary];
        second.CopyFrom(first, s_tokens.Length - 1);
        tail = Logits(found, second, s_tokens[^1..], s_tokens.Length - 1);
        Assert.True(GoldenError.Relative(tail, whole) <= Tolerance);
        f.ForEach(s => s.Dispose());
        e.ForEach(s => s.Dispose());
    }

    [Theory, InlineData("llama"), InlineData("gpt2"), InlineData("llama-bf16")]
    public void An_F16_graph_gives_the_numbers_to_three_digits(string name)
    {
        string folder = SharedFolder.Require("fixtures/models/" + name);
        using OnnxBackend half = new("onnx:cpu", options: new() { Half = true });
        using ReferenceBackend reference = new();
        IReadOnlyList<OperatorError> errors = GraphVerifier.Compare(() => BaseCheckpoint.OpenFolder(folder), half, reference, _ => AdapterPath.Root, s_tokens);
        OperatorError? first = errors.FirstOrDefault(e => !(e.Error <= 1e-2));
        Assert.True(first is null, $"{first}");
        Assert.True(errors.Max(e => e.Error) > 1e-5, "nothing was rounded");
    }

    [Theory, InlineData("llama-Q8_0"), InlineData("llama-Q4_0")]
    public void Activations_of_8_bits_keep_two_digits(string file)
    {
        string path = SharedFolder.Require($"fixtures/gguf/llama/{file}.gguf");
        using OnnxBackend onnx = new("onnx:cpu", options: new() { Int8Activations = true });
        using ReferenceBackend reference = new();
        IReadOnlyList<OperatorError> errors = GraphVerifier.Compare(() => BaseCheckpoint.Open(path), onnx, reference, _ => AdapterPath.Root, s_tokens);
        Assert.All(errors, e => Assert.True(e.Error <= 5e-2, $"{e}"));
        Assert.True(errors.Max(e => e.Error) > 1e-4, "nothing was rounded");
    }

    [Fact]
    public void A_base_of_links_to_files_elsewhere_runs()
    {
        string source = Path.Combine(SharedFolder.Repository, "adapters", "nano", "base"), folder = Directory.CreateTempSubdirectory("edgelora-links").FullName;
        try
        {
            foreach (string file in Directory.GetFiles(source))
                File.CreateSymbolicLink(Path.Combine(folder, Path.GetFileName(file)), file);
            using OnnxBackend onnx = new("onnx:cpu");
            using DecoderModel linked = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), onnx), plain = DecoderModel.Load(BaseCheckpoint.OpenFolder(source), onnx);
            Assert.Equal(ModelGolden.Logits(plain, AdapterPath.Root, s_tokens), ModelGolden.Logits(linked, AdapterPath.Root, s_tokens));
        }
        catch (IOException e) when (OperatingSystem.IsWindows() && e.Message.Contains("privilege"))
        {
            Assert.Skip("links may not be made here");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void A_graph_without_room_for_adapters_still_runs_those_that_come()
    {
        string fixtures = SharedFolder.Require("fixtures/peft");
        Compare(Path.Combine(fixtures, "bases", "llama"), sites => LoraAdapter.Load(Path.Combine(fixtures, "llama-qv"), "qv", sites), 1, new OnnxOptions { AdapterInputs = false });
    }

    [Fact]
    public void The_first_operator_that_differs_is_named()
    {
        string folder = SharedFolder.Require("fixtures/models/llama");
        using OnnxBackend onnx = new("onnx:cpu");
        using ReferenceBackend reference = new();
        // The device is given another epsilon: its very first norm differs, its embeddings do not.
        int opened = 0;
        BaseCheckpoint Open()
        {
            BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
            return opened++ == 0 ? checkpoint : checkpoint with { Config = HfConfig.Parse("changed", System.Text.Encoding.UTF8.GetBytes(File.ReadAllText(Path.Combine(folder, "config.json")).Replace("\"rms_norm_eps\": 0.004", "\"rms_norm_eps\": 0.5"))) };
        }
        OperatorError first = GraphVerifier.Compare(Open, onnx, reference, _ => AdapterPath.Root, s_tokens).First(o => o.Error > Tolerance);
        Assert.Equal(("prefill", 0, "model.layers.0.input_layernorm"), (first.Step, first.Layer, first.Operator));
    }

    [Fact]
    public void A_reloaded_adapter_is_served_by_the_host_s_ticks()
    {
        using RandomTree tree = new(61);
        tree.Add("", "a");
        using EdgeHost host = EdgeHost.Open(tree.Folder, new() { Device = "onnx:cpu", Watch = true, WatchQuiet = TimeSpan.FromMilliseconds(20) });
        List<AdapterEvent> events = [];
        host.AdapterChanged += events.Add;
        HostSession session = Served.Until(host, host.OpenSessionAsync("a"));
        int[] Say()
        {
            Served.Until(host, session.TruncateAsync(0));
            return Served.Until(host, Served.Collect(session.GenerateAsync([0, 29, 202], new GenerationOptions { MaxTokens = 10, IgnoreEnd = true }))).Tokens;
        }
        int[] before = Say();
        tree.Add("", "a");
        DateTime end = DateTime.UtcNow.AddSeconds(60);
        while (!events.Exists(e => e.Kind == AdapterEventKind.Reloaded) && DateTime.UtcNow < end)
        {
            host.Tick(Served.Budget);
            Thread.Sleep(5);
        }
        int[] after = Say();
        using EdgeHost cpu = EdgeHost.Open(tree.Folder);
        Assert.Equal(Served.Alone(cpu, cpu.Enter("a"), [0, 29, 202], 10), after);
        Assert.NotEqual(before, after);
    }

    [Fact]
    public void A_base_whose_attention_it_lacks_is_refused_when_it_is_loaded()
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-heads").FullName;
        try
        {
            string config = """{"model_type": "llama", "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 16, "tie_word_embeddings": true}""";
            File.WriteAllText(Path.Combine(folder, "config.json"), config);
            Safetensors.Write(Path.Combine(folder, "model.safetensors"), WeightPlan.Of(HfConfig.Read(Path.Combine(folder, "config.json"))).Weights.Select(w => Tensor.FromFloats(w.Name, w.Shape, new float[w.Shape.Elements])));
            using OnnxBackend onnx = new("onnx:cpu");
            NotSupportedException e = Assert.Throws<NotSupportedException>(() => DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), onnx));
            Assert.Contains("heads of a multiple of 8 only, found 12", e.Message);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void What_a_path_that_is_gone_had_bound_goes_with_the_next_one_that_comes()
    {
        using OnnxBackend onnx = new("onnx:cpu");
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(Path.Combine(SharedFolder.Repository, "adapters", "nano", "base")), onnx);
        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        void Visit(string node)
        {
            using ResidentAdapter adapter = ResidentAdapter.Load(Path.Combine(SharedFolder.Repository, "adapters", "nano", node), node, model.Sites, onnx);
            using Session session = new(model, PathResolver.Resolve(node, model.Sites, onnx, [(adapter, 1f)]));
            session.Append(s_tokens);
            new Batch(model).Run(session);
        }
        for (int i = 0; i < 6; i++)
        {
            Visit(i % 2 == 0 ? "math" : "holmes");
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
        }
        Assert.InRange(((OnnxCausalLM)model.Whole!).PathsHeld, 1, 2);
    }

    [Fact]
    public void A_step_that_fails_leaves_nothing_to_the_next()
    {
        using OnnxBackend onnx = new("onnx:cpu");
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(Path.Combine(SharedFolder.Repository, "adapters", "nano", "base")), onnx);
        float[] before = ModelGolden.Logits(model, AdapterPath.Root, s_tokens);
        using KvBuffer cache = model.CreateCache(8);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        // No such token: the table has fewer rows.
        batch.Add(model.Config.Vocabulary + 5, SiteTable.Base);
        batch.Add(1, SiteTable.Base);
        Assert.ThrowsAny<Exception>(() => model.Forward(batch, [1], new float[model.Config.Vocabulary]));
        Assert.Equal(before, ModelGolden.Logits(model, AdapterPath.Root, s_tokens));
    }

    [Fact]
    public void Nothing_trains_on_it()
    {
        using OnnxBackend onnx = new("onnx:cpu");
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(Path.Combine(SharedFolder.Repository, "adapters", "nano", "base")), onnx);
        Assert.Equal("device 'onnx:cpu' does not train", Assert.Throws<NotSupportedException>(() => new TrainingEngine(model)).Message);
        Assert.Contains("onnx:cpu runs whole models", Assert.Throws<NotSupportedException>(() => onnx.Add(1, null!, null!, null!)).Message);
    }

    private static void Compare(string model, Func<SiteCatalog, LoraAdapter> adapter, int times, OnnxOptions? options = null)
    {
        using OnnxBackend onnx = new("onnx:cpu", options: options);
        using ReferenceBackend reference = new();
        List<ResidentAdapter> resident = [];
        AdapterPath Resolve(DecoderModel m)
        {
            resident.Add(ResidentAdapter.Stage(adapter(m.Sites), m.Backend));
            return PathResolver.Resolve("path", m.Sites, m.Backend, [.. Enumerable.Repeat((resident[^1], 1f), times)]);
        }
        IReadOnlyList<OperatorError> errors = GraphVerifier.Compare(() => BaseCheckpoint.OpenFolder(model), onnx, reference, Resolve, s_tokens);
        Assert.All(errors, e => Assert.True(e.Error <= Tolerance, $"{e}"));
        resident.ForEach(a => a.Dispose());
    }

    private static LoraAdapter Bottleneck(SiteCatalog sites, int seed)
    {
        int width = sites.Find(sites.EmbeddingName)!.Embedding!.Table.Columns, size = 4 + seed;
        Random random = new(seed);
        Dictionary<string, Tensor> tensors = new(StringComparer.Ordinal);
        foreach (string name in sites.Bottlenecks.Keys)
            foreach ((string part, long[] shape) in (ReadOnlySpan<(string, long[])>)[("down.weight", [size, width]), ("down.bias", [size]), ("up.weight", [width, size]), ("up.bias", [width])])
            {
                Shape s = new(shape);
                tensors.Add($"{name}.{part}", Tensor.FromFloats($"{name}.{part}", s, [.. Enumerable.Range(0, (int)s.Elements).Select(_ => (float)(random.NextDouble() - 0.5) * 0.4f)]));
            }
        PeftConfig config = new() { PeftType = PeftConfig.Bottleneck, BottleneckActivation = Activation.Gelu };
        return LoraAdapter.Fit(PeftAdapter.From("bottleneck", config, new TensorFile("bottleneck", tensors, new Dictionary<string, string>(), [])), sites, "bottleneck");
    }

    private static float[] Logits(DecoderModel model, KvBuffer cache, int[] tokens, int past)
    {
        BatchLayout layout = new();
        layout.BeginSequence(cache, past);
        foreach (int token in tokens)
            layout.Add(token, SiteTable.Base);
        float[] logits = new float[model.Config.Vocabulary];
        model.Forward(layout, [tokens.Length - 1], logits);
        return logits;
    }
}
