using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>`edgelora export`: what it writes is opened by ONNX Runtime alone, knowing nothing of EdgeLora, and gives EdgeLora's own logits.</summary>
public sealed class OnnxExportTests : IDisposable
{
    private static readonly int[] s_tokens = [1, 17, 250, 33, 90, 7, 7, 121, 300, 5];
    private readonly string _folder = Path.Combine(Directory.CreateTempSubdirectory("edgelora-export-").FullName, "out");

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_folder)!, true);

    [Fact]
    public void The_shipped_tree_runs_in_plain_ONNX_Runtime_with_the_same_logits_at_every_node()
    {
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        string said = Export(tree);
        // DoRA's gain is no low-rank product.
        Assert.Contains("left out: holmes: the graph has no inputs for what it does at model.layers.0.self_attn.q_proj", said);
        Assert.True(File.Exists(Path.Combine(_folder, "tokenizer.json")));
        using EdgeHost host = EdgeHost.Open(tree);
        CheckConfig(host.Model.Config);
        using Plain plain = new(_folder, host.Model.Config);
        foreach (string node in new[] { "", "math", "restaurant", "shakespeare", "shakespeare/kings", "shakespeare/kings/richard", "assistant/polite" })
        {
            string adapter = Path.Combine(_folder, "adapters", node + OnnxAdapter.Extension);
            Check(ModelGolden.Logits(host.Model, host.Enter(node), s_tokens), plain.Run(s_tokens, node.Length == 0 ? null : adapter), node);
        }
        Assert.False(File.Exists(Path.Combine(_folder, "adapters", "holmes.onnx_adapter")));
    }

    [Theory]
    [InlineData("llama-qv", "F32", 1e-4)]
    [InlineData("gpt2-attn", "F32", 1e-4)]
    [InlineData("llama-qv", "F16", 2e-2)]
    public void A_base_and_an_adapter_of_a_family_run_in_plain_ONNX_Runtime(string name, string type, double tolerance)
    {
        string adapter = SharedFolder.Require("fixtures/peft/" + name), model = SharedFolder.Require("fixtures/peft/bases/" + name.Split('-')[0]);
        Export(model, "--adapter", adapter, "--type", type);
        using EdgeHost host = EdgeHost.Open(model, new EdgeHostOptions { Adapters = [adapter] });
        using Plain plain = new(_folder, host.Model.Config);
        int[] tokens = Array.ConvertAll(s_tokens, t => t % host.Model.Config.Vocabulary);
        foreach (string node in new[] { "", name })
            Check(ModelGolden.Logits(host.Model, host.Enter(node), tokens), plain.Run(tokens, node.Length == 0 ? null : Path.Combine(_folder, "adapters", node + OnnxAdapter.Extension)), node, tolerance);
    }

    [Theory]
    [InlineData("models/qwen2")]
    [InlineData("models/qwen2-window")]
    [InlineData("models/qwen3")]
    [InlineData("models/smollm3")]
    [InlineData("models/mistral")]
    [InlineData("models/llama-bf16")]
    [InlineData("models/llama-bias-untied")]
    [InlineData("models/llama-rope-yarn")]
    [InlineData("gguf/llama/llama-F16.gguf")]
    [InlineData("gguf/llama/llama-Q8_0.gguf")]
    [InlineData("gguf/llama/llama-Q4_0.gguf")]
    [InlineData("gguf/gpt2/gpt2-Q8_0.gguf")]
    public void A_base_of_any_architecture_and_storage_runs_in_plain_ONNX_Runtime(string name)
    {
        string model = SharedFolder.Require("fixtures/" + name);
        Export(model);
        using EdgeHost host = EdgeHost.Open(model, new EdgeHostOptions { Device = "reference" });
        using Plain plain = new(_folder, host.Model.Config);
        int[] tokens = Array.ConvertAll(s_tokens, t => t % host.Model.Config.Vocabulary);
        Check(ModelGolden.Logits(host.Model, AdapterPath.Root, tokens), plain.Run(tokens, null), "");
    }

    [Fact]
    public void An_export_that_exists_is_not_written_over()
    {
        Directory.CreateDirectory(_folder);
        File.WriteAllText(Path.Combine(_folder, "mine.txt"), "");
        using StringWriter output = new(), error = new();
        Assert.Equal(EdgeLoraCommand.Failed, EdgeLoraCommand.Invoke(["export", Path.Combine(SharedFolder.Repository, "adapters", "nano"), "-o", _folder], output, error));
        Assert.Contains("exists already", error.ToString());
    }

    // onnxruntime-genai reads shapes and names from here; its C# program gave the same tokens at every node.
    private void CheckConfig(ModelConfig config)
    {
        using InferenceSession session = new(Path.Combine(_folder, GraphExport.ModelName));
        JsonElement json = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, "genai_config.json"))).RootElement.GetProperty("model"), decoder = json.GetProperty("decoder");
        Assert.Equal(GraphExport.ModelName, decoder.GetProperty("filename").GetString());
        Assert.Equal((config.Vocabulary, config.ContextLength), (json.GetProperty("vocab_size").GetInt32(), json.GetProperty("context_length").GetInt32()));
        Assert.Equal((config.Heads, config.KvHeads, config.HeadSize, config.Layers), (Number("num_attention_heads"), Number("num_key_value_heads"), Number("head_size"), Number("num_hidden_layers")));
        string[] Names(string list) => [.. decoder.GetProperty(list).EnumerateObject().SelectMany(p => p.Value.GetString() is { } name && name.Contains("%d") ? Enumerable.Range(0, config.Layers).Select(l => name.Replace("%d", $"{l}")) : [p.Value.GetString()!]).Order(StringComparer.Ordinal)];
        // The other inputs are the adapter's.
        Assert.Equal(session.InputMetadata.Keys.Where(k => !k.Contains(".lora_")).Order(StringComparer.Ordinal), Names("inputs"));
        Assert.Equal(session.OutputMetadata.Keys.Order(StringComparer.Ordinal), Names("outputs"));

        int Number(string name) => decoder.GetProperty(name).GetInt32();
    }

    private static void Check(float[] expected, float[] found, string node, double tolerance = 1e-4)
    {
        double error = GoldenError.Relative(found, expected);
        Assert.True(error <= tolerance, $"{(node.Length == 0 ? "(root)" : node)}: error {error:g3}, tolerance {tolerance:g3}");
    }

    private string Export(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(["export", .. arguments, "-o", _folder], output, error);
        Assert.True(code == EdgeLoraCommand.Ok, error.ToString());
        return error.ToString();
    }

    /// <summary>An application that knows the convention only: a prompt, then a token at a time, keys and values handed back.</summary>
    private sealed class Plain(string folder, ModelConfig config) : IDisposable
    {
        private const int Prompt = 6;
        private readonly InferenceSession _session = new(Path.Combine(folder, "model.onnx"));

        public float[] Run(int[] tokens, string? adapter)
        {
            using OrtLoraAdapter? active = adapter is null ? null : OrtLoraAdapter.Create(adapter, null);
            using RunOptions options = new();
            if (active is not null)
                options.AddActiveLoraAdapter(active);
            TensorElementType type = _session.InputMetadata["past_key_values.0.key"].ElementDataType;
            string[] outputs = ["logits", .. _session.OutputMetadata.Keys.Where(k => k != "logits")];
            Dictionary<string, OrtValue> past = outputs.Skip(1).ToDictionary(k => k.Replace("present", "past_key_values"), _ => OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, [1, config.KvHeads, 0, config.HeadSize]));
            List<float> logits = [];
            for (int at = 0; at < tokens.Length;)
            {
                int count = at == 0 ? Prompt : 1;
                Dictionary<string, OrtValue> inputs = new(past)
                {
                    ["input_ids"] = Longs(tokens.AsSpan(at, count)),
                    ["attention_mask"] = Longs([.. Enumerable.Repeat(1, at + count)]),
                    ["position_ids"] = Longs([.. Enumerable.Range(at, count)]),
                };
                IDisposableReadOnlyCollection<OrtValue> results = _session.Run(options, inputs, outputs);
                Assert.Equal([1, count, config.Vocabulary], results[0].GetTensorTypeAndShape().Shape);
                logits.AddRange(results[0].GetTensorDataAsSpan<float>());
                for (int i = 1; i < outputs.Length; i++)
                    past[outputs[i].Replace("present", "past_key_values")] = results[i];
                at += count;
            }
            return [.. logits];
        }

        public void Dispose() => _session.Dispose();

        private static OrtValue Longs(ReadOnlySpan<int> values)
        {
            long[] wide = new long[values.Length];
            for (int i = 0; i < wide.Length; i++)
                wide[i] = values[i];
            return OrtValue.CreateTensorValueFromMemory(wide, [1, wide.Length]);
        }
    }
}
