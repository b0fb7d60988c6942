using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary>What <c>inspect</c> says of a conversion is what <c>convert</c> does, for every format; and what it says of files that are no adapters.</summary>
public sealed class InspectConversionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-inspect-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("conversions/plain/peft", "conversions/base")]
    [InlineData("conversions/patterns/peft_bin", "conversions/base")]
    [InlineData("conversions/patterns/adapter.gguf", "conversions/base")]
    [InlineData("conversions/patterns/mlx", "conversions/base")]
    [InlineData("conversions/patterns/adapter.onnx_adapter", "conversions/base")]
    [InlineData("conversions/patterns/loralib.bin", "conversions/base", "--alpha", "6")]
    [InlineData("conversions/patterns/loralib.bin", "conversions/base")]
    [InlineData("conversions/rslora/mlx", "conversions/base")]
    [InlineData("conversions/dora/mlx", "conversions/base")]
    [InlineData("conversions/dora/peft", null)]
    [InlineData("peft/llama-save-norms", "peft/bases/llama")]
    [InlineData("peft/llama-alora", "peft/bases/llama")]
    [InlineData("peft/llama-tied-embed-tie", "peft/bases/llama-tied")]
    [InlineData("peft/gpt2-attn", null)]
    [InlineData("peft/llama-lokr", "peft/bases/llama")]
    [InlineData("onnx_adapter/graph/rank4_f16.onnx_adapter", null)]
    [InlineData("conversions/diffusion_names/kohya.safetensors", null)]
    [InlineData("conversions/diffusion_names/locon_tucker.safetensors", null)]
    [InlineData("conversions/diffusion_names/old_processor.safetensors", null)]
    [InlineData("diffusion/lora/conv/diffusers.safetensors", null)]
    public void Every_verdict_is_what_convert_does(string file, string? model, params string[] options)
    {
        string path = SharedFolder.Require("fixtures/" + file);
        string[] told = model is null ? options : [.. options, "--base", SharedFolder.Require("fixtures/" + model)];
        JsonElement report = JsonDocument.Parse(Command.Run(["inspect", path, "--json", .. told])).RootElement;
        List<string> targets = [];
        foreach (JsonElement line in report.GetProperty("convertsTo").EnumerateArray())
        {
            string to = line.GetProperty("format").GetString()!, verdict = line.GetProperty("verdict").GetString()!, reason = line.GetProperty("reasons").EnumerateArray().FirstOrDefault() is { ValueKind: JsonValueKind.String } first ? first.GetString()! : "";
            targets.Add(to);
            string[] convert = ["convert", path, Path.Combine(_folder, to + AdapterFormats.Named(to)!.Extension), "--to", to, .. told];
            if (verdict == "exact")
            {
                Command.Run(convert);
                continue;
            }
            // Without its alpha a file is not even read.
            bool needsAlpha = path.EndsWith("loralib.bin", StringComparison.Ordinal) && !told.Contains("--alpha");
            Assert.Contains(reason, Command.Fail(needsAlpha && verdict == "refused" ? [.. convert, "--alpha", "3"] : convert));
            Assert.False(Path.Exists(convert[2]), $"{to}: something was left behind");
            if (verdict == "needs --fold")
                Command.Run([.. convert, "--fold"]);
            else if (verdict == "needs --alpha")
                Command.Run([.. convert, "--fold", "--alpha", "3"]);
            else
                Assert.Contains(needsAlpha ? "(--alpha)" : reason, Command.Fail([.. convert, "--fold"]));
        }
        Assert.Equal(AdapterFormats.All.Where(f => f.Writes).Select(f => f.Name), targets);
    }

    [Theory]
    [InlineData("fixtures/models/llama", "gguf:exact folder:exact")]
    [InlineData("fixtures/models/bert-cls", "gguf:refused folder:exact")]
    [InlineData("fixtures/gguf/llama/llama-mixed.gguf", "gguf:exact folder:exact")]
    [InlineData("data/lm-stories260k/stories260K.bin", "folder:exact")]
    public void A_model_says_what_it_converts_to(string file, string verdicts)
    {
        JsonElement report = JsonDocument.Parse(Command.Run("inspect", SharedFolder.Require(file), "--json")).RootElement;
        Assert.Equal("model", report.GetProperty("kind").GetString());
        Assert.Equal(verdicts, string.Join(' ', report.GetProperty("convertsTo").EnumerateArray().Select(c => $"{c.GetProperty("format").GetString()}:{c.GetProperty("verdict").GetString()}")));
    }

    [Theory]
    [InlineData("fixtures/onnx_adapter/types.onnx_adapter", "tensors, .onnx_adapter", "any inputs of a graph, and no adapter: no tensor's name")]
    [InlineData("fixtures/malformed/onnx_adapter/ok.onnx_adapter", "tensors, .onnx_adapter", "peft               refused")]
    [InlineData("fixtures/diffusion/unet", "diffusion model, diffusers", "UNet2DConditionModel")]
    [InlineData("fixtures/diffusion/text_encoder", "diffusion model, diffusers", "clip_text_model")]
    [InlineData("fixtures/peft/llama-qv/adapter_model.safetensors", "tensors, safetensors", "llama-qv to see the adapter")]
    [InlineData("fixtures/peft/llama-loha/adapter_config.json", "adapter, PEFT", "peft               exact")]
    [InlineData("fixtures/conversions/plain/mlx/adapter_config.json", "adapter, MLX", "one factor for all")]
    [InlineData("fixtures/models/vit-cls/config.json", "config, Hugging Face", "vit")]
    [InlineData("fixtures/diffusion/unet/config.json", "config, diffusers, UNet2DConditionModel", "sound")]
    [InlineData("fixtures/tokenizers/qwen2_nfc/vocab.gguf", "tokenizer, vocab.gguf", "vocabulary")]
    [InlineData("data/lora-adapters/peft-tiny-regression/adalora_mlp_0.6.1_adapter_model.bin", "tensors, torch pickle in a zip", "lora_E")]
    [InlineData("data/lora-adapters/sd15-cloneofsimo/lora_disney_rank1.safetensors", "adapter, cloneofsimo", "cloneofsimo        exact", "--without-embeddings")]
    [InlineData("data/lm-stories260k/tok512.bin", "tokenizer, llama2.c vocabulary", "vocabulary   512")]
    [InlineData("data/lora-adapters/roberta-base-mnli_msLoRA/roberta_base_lora_mnli.bin", "adapter, loralib", "peft               needs --alpha")]
    public void A_sound_file_is_said_to_be_what_it_is_in_one_screen(string file, string kind, string text, params string[] options)
    {
        string said = Command.Run(["inspect", SharedFolder.Require(file), .. options]);
        Assert.Contains(kind, said);
        Assert.Contains(text, said);
        Assert.InRange(said.Split('\n').Length, 4, 50);
    }

    [Theory, InlineData("llama-loha"), InlineData("llama-lokr"), InlineData("llama-adalora"), InlineData("llama-vera")]
    public void Methods_that_are_read_as_pairs_fit_their_base(string adapter)
    {
        JsonElement report = JsonDocument.Parse(Command.Run("inspect", SharedFolder.Require("fixtures/peft/" + adapter), "--base", SharedFolder.Require("fixtures/peft/bases/llama"), "--json")).RootElement;
        Assert.True(report.GetProperty("fits").GetBoolean());
        Assert.Contains(report.GetProperty("convertsTo").EnumerateArray(), c => c.GetProperty("format").GetString() == "gguf" && c.GetProperty("verdict").GetString() != "refused");
    }

    [Fact]
    public void A_GGUF_adapter_that_does_not_fit_is_told_in_its_own_names() =>
        Assert.Contains("blk.7.attn_q.weight", Command.Fail("inspect", SharedFolder.Require("fixtures/malformed/gguf_lora/layer_missing.gguf"), "--base", SharedFolder.Require("fixtures/malformed/base")));

    [Theory]
    [InlineData("diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight", "under the names of a model's authors")]
    [InlineData("double_blocks.0.processor.qkv_lora1.down.weight", "under the names of a model's authors")]
    [InlineData("lycoris_blocks_0_q.lokr_w1", "LyCORIS' own prefix")]
    [InlineData("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "beside them as adapter_model.safetensors")]
    [InlineData("model.layers.0.self_attn.q_proj.lora_a", "beside them as adapters.safetensors")]
    [InlineData("model.layers.0.attn.q_proj.lora_A.MatMul.weight", "factors under names that are not read")]
    public void Factors_under_foreign_names_are_told(string tensor, string reason)
    {
        string file = Path.Combine(_folder, "foreign.safetensors");
        Safetensors.Write(file, [Tensor.FromFloats(tensor, new Shape(2, 3), new float[6])]);
        Assert.Contains($"{tensor}: ", Command.Fail("convert", file, Path.Combine(_folder, "out.elora")));
        Assert.Contains(reason, Command.Fail("convert", file, Path.Combine(_folder, "out.elora")));
        Assert.Contains(reason, Command.Run("inspect", file));
    }

    [Theory, InlineData("uint64_max", "rank: "), InlineData("negative_length", "rank: ")]
    public void A_header_without_its_file_is_read_as_one(string name, string fault)
    {
        string said = Command.Fail("inspect", SharedFolder.Require($"fixtures/malformed/msgpack/{name}.msgpack"));
        Assert.Contains(fault, said);
        Assert.Contains("(read as the header of an .elora file)", said);
    }

    [Fact]
    public void Half_a_pair_is_not_converted()
    {
        string folder = Path.Combine(_folder, "half");
        Directory.CreateDirectory(folder);
        File.Copy(Path.Combine(SharedFolder.Require("fixtures/peft/llama-qv"), "adapter_config.json"), Path.Combine(folder, "adapter_config.json"));
        using (TensorFile file = Safetensors.Open(SharedFolder.Require("fixtures/peft/llama-qv/adapter_model.safetensors")))
            Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), file.Tensors.Values.Where(t => t.Name != "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"));
        foreach (string to in new[] { "peft", "peft_bin", "elora", "onnx_adapter", "loralib", "mlx" })
            Assert.Contains("model.layers.0.self_attn.q_proj.lora_B: is missing", Command.Fail("convert", folder, Path.Combine(_folder, "no"), "--to", to));
        Assert.Equal([folder], Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public void The_tensors_of_a_folder_are_not_converted_without_it()
    {
        string folder = SharedFolder.Require("fixtures/peft/llama-qv");
        Assert.Contains($"convert the folder: {Path.GetFullPath(folder)}", Command.Fail("convert", Path.Combine(folder, "adapter_model.safetensors"), Path.Combine(_folder, "a.gguf")));
    }
}
