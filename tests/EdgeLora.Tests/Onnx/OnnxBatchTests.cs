using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Onnx;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>Sessions on ONNX Runtime beside the same sessions on the SIMD backend: prompts and single tokens together, every path its own.</summary>
public sealed class OnnxBatchTests
{
    private const double Tolerance = 1e-4;

    [Fact]
    public void Stories260K_gives_the_CPU_s_logits_token_by_token_for_200_tokens_also_with_an_adapter()
    {
        string stories = SharedFolder.Require("data/lm-stories260k"), folder = Directory.CreateTempSubdirectory("edgelora-stories").FullName;
        try
        {
            Llama2cConvert.ToHuggingFace(Path.Combine(stories, "stories260K.bin"), Path.Combine(stories, "tok512.bin"), folder);
            WriteAdapter(Path.Combine(folder, "tuned"), folder);
            using EdgeHost cpu = EdgeHost.Open(folder, new() { Adapters = [Path.Combine(folder, "tuned")] }), onnx = EdgeHost.Open(folder, new() { Device = "onnx:cpu", Adapters = [Path.Combine(folder, "tuned")] });
            foreach (string node in (string[])["", "tuned"])
                Compare(cpu, onnx, [(node, 0, [1])], 200);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Sessions_on_nine_nodes_that_come_one_after_the_other_give_the_CPU_s_logits()
    {
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        using EdgeHost cpu = EdgeHost.Open(tree), onnx = EdgeHost.Open(tree, new() { Device = "onnx:cpu" });
        string[] nodes = ["", "shakespeare/kings/richard", "holmes", "math", "assistant/polite", "shakespeare", "restaurant", "shakespeare/kings", "holmes"];
        Compare(cpu, onnx, [.. nodes.Select((n, i) => (n, i, Enumerable.Range(0, 1 + 3 * i).Select(t => (17 * t + i) % 500).ToArray()))], 24);
    }

    [Fact]
    public void Sessions_on_one_node_give_the_CPU_s_logits()
    {
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        using EdgeHost cpu = EdgeHost.Open(tree), onnx = EdgeHost.Open(tree, new() { Device = "onnx:cpu" });
        Compare(cpu, onnx, [.. Enumerable.Range(0, 11).Select(i => ("shakespeare/kings", 0, (int[])[3 + i, 40, 9]))], 12);
    }

    [Fact]
    public void Random_walks_that_replay_the_text_give_the_same_bits()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new() { Device = "onnx:cpu" });
        string[] nodes = ["", "shakespeare/kings/richard", "holmes", "assistant/polite"];
        Batch batch = new(host.Model);
        float[] Visit(Session session, string node)
        {
            session.Switch(host.Enter(node));
            batch.Run(session);
            return session.Logits.ToArray();
        }
        // One retained path: every switch replays the whole text in one forward. Bits depend on the rows of a forward, ONNX Runtime chooses kernels by them.
        using Session walker = new(host.Model, AdapterPath.Root, 64, retainedPaths: 1);
        walker.Append(0, 29, 202, 303, 300);
        float[][] fresh = [.. nodes.Select(n => Visit(walker, n))];
        Random random = new(12);
        for (int walk = 0; walk < 60; walk++)
        {
            int to = random.Next(nodes.Length);
            bool stays = ReferenceEquals(walker.Path, host.Enter(nodes[to]));
            Assert.True(stays || Visit(walker, nodes[to]).AsSpan().SequenceEqual(fresh[to]), $"walk {walk} to '{nodes[to]}'");
        }
    }

    [Fact]
    public void Steps_of_paths_of_every_kind_together_give_the_reference_s_logits()
    {
        string fixtures = SharedFolder.Require("fixtures/peft");
        using CpuBackend cpu = new();
        using OnnxBackend onnx = new("onnx:cpu");
        BaseCheckpoint Base() => BaseCheckpoint.OpenFolder(Path.Combine(fixtures, "bases", "llama"));
        using DecoderModel expected = DecoderModel.Load(Base(), cpu), found = DecoderModel.Load(Base(), onnx);
        string[] adapters = ["llama-qv", "llama-dora", "llama-tokens", "llama-save-head", "llama-embed", "llama-lora-bias", "llama-save-norms", "llama-all", "llama-dora"];
        using Pair pair = new(expected, found);
        List<ResidentAdapter> resident = [];
        AdapterPath[] Paths(DecoderModel model) => [.. adapters.Select(a =>
        {
            resident.Add(ResidentAdapter.Load(Path.Combine(fixtures, a), a, model.Sites, model.Backend));
            return PathResolver.Resolve(a, model.Sites, model.Backend, [(resident[^1], 1f)]);
        }), AdapterPath.Root];
        foreach ((AdapterPath e, AdapterPath f) in Paths(expected).Zip(Paths(found)))
            pair.Add(e, f, [1, 5, 9]);
        for (int step = 0; step < 10; step++)
            pair.Step();
        resident.ForEach(a => a.Dispose());
    }

    private static void Compare(EdgeHost cpu, EdgeHost onnx, (string Node, int Start, int[] Prompt)[] sessions, int steps)
    {
        using Pair pair = new(cpu.Model, onnx.Model);
        for (int step = 0; step < steps; step++)
        {
            foreach ((string node, _, int[] prompt) in sessions.Where(s => s.Start == step))
                pair.Add(cpu.Enter(node), onnx.Enter(node), prompt);
            pair.Step();
        }
    }

    // A random plain LoRA on q and v of all layers.
    private static void WriteAdapter(string folder, string model)
    {
        Directory.CreateDirectory(folder);
        using DecoderModel sites = DecoderModel.Load(BaseCheckpoint.OpenFolder(model), new ReferenceBackend());
        Random random = new(5);
        Tensor Gaussian(string name, int rows, int columns) => Tensor.FromFloats(name, new Shape(rows, columns), [.. Enumerable.Range(0, rows * columns).Select(_ => (float)(random.NextDouble() - 0.5) * 0.2f)]);
        List<Tensor> tensors = [];
        foreach (LinearSite site in sites.Sites.Sites.Where(s => s.Name.EndsWith("q_proj") || s.Name.EndsWith("v_proj")).Select(s => s.Linear!))
            tensors.AddRange([Gaussian($"base_model.model.{site.Name}.lora_A.weight", 4, site.Inputs), Gaussian($"base_model.model.{site.Name}.lora_B.weight", site.Outputs, 4)]);
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}""");
    }

    // Two models side by side; the expected one chooses the tokens of both.
    private sealed class Pair(DecoderModel expected, DecoderModel found) : IDisposable
    {
        private readonly Batch _expected = new(expected), _found = new(found);
        private readonly List<(Session Expected, Session Found)> _sessions = [];

        public void Add(AdapterPath expectedPath, AdapterPath foundPath, int[] prompt)
        {
            (Session Expected, Session Found) pair = (new(expected, expectedPath, 16), new(found, foundPath, 16));
            pair.Expected.Append(prompt);
            pair.Found.Append(prompt);
            _sessions.Add(pair);
        }

        public void Step()
        {
            _expected.Run([.. _sessions.Select(s => s.Expected)]);
            _found.Run([.. _sessions.Select(s => s.Found)]);
            foreach ((Session e, Session f) in _sessions)
            {
                double error = GoldenError.Relative(f.Logits, e.Logits);
                Assert.True(error <= Tolerance, $"'{e.Path.Name}' after {e.Count} tokens: {error:g3}");
                int next = ArgMax.Of(e.Logits);
                e.Append(next);
                f.Append(next);
            }
        }

        public void Dispose()
        {
            foreach ((Session e, Session f) in _sessions)
            {
                e.Dispose();
                f.Dispose();
            }
        }
    }
}
