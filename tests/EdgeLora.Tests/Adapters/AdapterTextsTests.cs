using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Tests.Formats;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>What an adapter says beside its numbers goes along where a format has a place for it, and is named where it has none.</summary>
public sealed class AdapterTextsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-texts-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, InlineData("peft"), InlineData("elora"), InlineData("mlx"), InlineData("kohya"), InlineData("diffusers"), InlineData("diffusers_metadata")]
    public void Free_texts_of_a_file_come_back(string through)
    {
        string source = At("source.safetensors"), there = At("there" + AdapterFormats.Named(through)!.Extension), back = At("back.safetensors");
        Dictionary<string, string> texts = new() { ["author"] = "A. N. Other", ["ss_tag_frequency"] = "{}", ["modelspec.title"] = "a title" };
        Safetensors.Write(source, [DiffusionFiles.Random("unet.mid_block.attentions.0.to_q.lora_A.weight", new(1), 2, 4), DiffusionFiles.Random("unet.mid_block.attentions.0.to_q.lora_B.weight", new(2), 4, 2)], new Dictionary<string, string>(texts) { ["format"] = "pt" });
        Command.Run("convert", source, there, "--to", through);
        Command.Run("convert", there, back, "--to", "diffusers");
        using TensorFile file = Safetensors.Open(back);
        Assert.Equal(texts.Append(new("format", "pt")).OrderBy(t => t.Key), file.Metadata.OrderBy(t => t.Key));
        Assert.Equal(DiffusionFiles.Contents(source), DiffusionFiles.Contents(back));
    }

    [Fact]
    public void Free_texts_of_a_GGUF_come_back_and_other_values_are_named()
    {
        string model = SharedFolder.Require("fixtures/gguf/llama/hf"), source = At("source.gguf"), peft = At("peft"), back = At("back.gguf");
        using (GgufFile file = GgufFile.Open(SharedFolder.Require("fixtures/gguf/lora/llama-qv/lora-F32.gguf")))
            GgufFile.Write(source, new Dictionary<string, object>(file.Metadata) { ["general.author"] = "A. N. Other", ["general.license"] = "mit", ["custom.number"] = 7u }, [.. file.TensorInfos.Select(t => file.Tensor(t.Name))]);
        Assert.Contains("left behind, no number depends on it: metadata custom.number", Said("convert", source, peft, "--base", model, "--json"));
        Command.Run("convert", peft, back, "--base", model);
        using GgufFile again = GgufFile.Open(back);
        Assert.Equal(("lora-F32", "A. N. Other", "mit"), (again.GetString("general.name"), again.GetString("general.author"), again.GetString("general.license")));
    }

    [Fact]
    public void The_versions_of_an_onnx_adapter_come_back()
    {
        string source = SharedFolder.Require("fixtures/onnx_adapter/llama-f16.onnx_adapter"), peft = At("peft"), back = At("back.onnx_adapter");
        Command.Run("convert", source, peft);
        Command.Run("convert", peft, back);
        using OnnxAdapter there = OnnxAdapter.Read(source), here = OnnxAdapter.Read(back);
        Assert.Equal((3, 17), (there.AdapterVersion, there.ModelVersion));
        Assert.Equal((3, 17), (here.AdapterVersion, here.ModelVersion));
        Assert.All(there.File.Tensors, t => Assert.True(t.Value.Bytes.SequenceEqual(here.File.Tensors[t.Key].Bytes), t.Key));
        Assert.Contains("metadata onnx_adapter.model_version", Said("convert", source, At("bin"), "--to", "peft_bin", "--json"));
    }

    [Fact]
    public void The_base_s_name_goes_to_MLX_and_back_and_a_run_s_settings_are_named()
    {
        string source = SharedFolder.Require("data/lora-adapters/qwen0.5b-dpo-mlx"), peft = At("peft"), back = At("back");
        Assert.Contains("left behind, no number depends on it: adapter_path, batch_size, ", Said("convert", source, peft, "--json"));
        using (PeftAdapter adapter = PeftAdapter.Open(peft))
            Assert.Equal("mlx-community/Qwen2.5-0.5B-Instruct-4bit", adapter.Config.BaseModel);
        Assert.DoesNotContain("left behind", Said("convert", peft, back, "--to", "mlx", "--json"));
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(back, "adapter_config.json")));
        Assert.Equal("mlx-community/Qwen2.5-0.5B-Instruct-4bit", config.RootElement.GetProperty("model").GetString());
    }

    [Theory]
    [InlineData("data/lora-adapters/gpt2-tigrinya-clm", "onnx_adapter", "base_model_name_or_path gpt2", "lora_dropout 0.05")]
    [InlineData("data/lora-adapters/gpt2-tigrinya-clm", "mlx")]
    [InlineData("fixtures/peft/bert-cls", "loralib", "base_model_name_or_path ../bases/bert", "task_type SEQ_CLS")]
    [InlineData("fixtures/peft/bert-cls", "peft_bin")]
    public void What_a_format_has_no_place_for_is_named(string adapter, string to, params string[] named)
    {
        string said = Said("convert", SharedFolder.Require(adapter), At("out" + AdapterFormats.Named(to)!.Extension), "--to", to, "--json");
        Assert.Equal(named.Length > 0, said.Contains("left behind", StringComparison.Ordinal));
        Assert.All(named, n => Assert.Contains(n, said));
    }

    [Theory, InlineData("gpt2-attn", "loralib"), InlineData("gpt2-attn", "onnx_adapter")]
    public void Layers_of_GPT_2_stay_Conv1D(string adapter, string through)
    {
        string there = At("there" + AdapterFormats.Named(through)!.Extension), back = At("back");
        Command.Run("convert", SharedFolder.Require("fixtures/peft/" + adapter), there, "--to", through);
        Command.Run("convert", there, back, "--alpha", "8");
        using PeftAdapter read = PeftAdapter.Open(back);
        Assert.True(read.Config.FanInFanOut);
    }

    private string At(string name) => Path.Combine(_folder, name);

    private static string Said(params string[] arguments) => string.Join('\n', JsonDocument.Parse(Command.Run(arguments)).RootElement.GetProperty("notes").EnumerateArray().Select(n => n.GetString()));
}
