using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Cli;

public sealed class CommandLineTests : IDisposable
{
    private static readonly string s_tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-cli-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("nonsense")]
    [InlineData("run")]
    [InlineData("run", "x", "--device", "abacus")]
    [InlineData("run", "x", "--tokens", "1,two")]
    [InlineData("run", "x", "-p", "a", "--tokens", "1")]
    [InlineData("run", "x", "-p", "a", "--max-tokens", "-1")]
    [InlineData("logits", "x", "-o", "y.safetensors")]
    [InlineData("verify", "golden")]
    public void Wrong_usage_exits_with_2_and_says_why_on_the_error_output(params string[] args)
    {
        (int code, string output, string error) = Run(null, args);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains("edgelora", error);
    }

    [Fact]
    public void A_converted_llama2c_checkpoint_tells_the_reference_s_story_byte_for_byte()
    {
        string source = SharedFolder.Require("data/lm-stories260k"), folder = Directory.CreateTempSubdirectory("edgelora").FullName;
        Assert.Equal(0, Run(null, "convert", Path.Combine(source, "stories260K.bin"), Path.Combine(folder, "base")).Code);
        (int code, string output, _) = Run(null, "run", Path.Combine(folder, "base"), "--tokens", "1", "--greedy", "--max-tokens", "200", "--ignore-eos");
        Directory.Delete(folder, true);
        Assert.Equal(0, code);
        Assert.Equal(File.ReadAllText(Path.Combine(source, "golden/bos_greedy200.txt")), output);
    }

    [Fact]
    public void A_missing_model_exits_with_1_and_is_named()
    {
        (int code, string output, string error) = Run(null, "run", "no-such-model", "-p", "a");
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.Contains("no-such-model", error);
        Assert.DoesNotContain("   at ", error);
    }

    [Fact]
    public void A_node_that_is_not_there_exits_with_1_and_the_nodes_are_named()
    {
        (int code, _, string error) = Run(null, "run", s_tree, "--at", "nowhere", "--tokens", "1");
        Assert.Equal(1, code);
        Assert.Contains("shakespeare/kings", error);
    }

    [Fact]
    public void Help_names_every_verb()
    {
        (int code, string output, _) = Run(null, "--help");
        Assert.Equal(0, code);
        foreach (string verb in new[] { "run", "chat", "tree", "inspect", "convert", "init", "train", "merge", "export", "eval", "logits", "tokenize", "devices", "verify", "bench" })
            Assert.Contains($"\n  {verb} ", output);
    }

    [Fact]
    public void Run_streams_the_text_that_its_json_names()
    {
        string[] args = ["run", s_tree, "--at", "shakespeare", "-p", "The king", "--greedy", "--max-tokens", "12", "--device", "reference"];
        (int code, string text, _) = Run(null, args);
        Assert.Equal(0, code);
        JsonElement json = Json([.. args, "--json"]);
        Assert.Equal(text, json.GetProperty("text").GetString() + "\n");
        Assert.Equal(12, json.GetProperty("tokens").GetArrayLength());
        Assert.Equal("maxTokens", json.GetProperty("stopReason").GetString());
        Assert.True(json.GetProperty("promptTokens").GetInt32() > 0);
    }

    [Fact]
    public void Logits_writes_one_row_a_token_and_nests_where_the_file_does()
    {
        string file = Path.Combine(_folder, "tokens.json"), output = Path.Combine(_folder, "logits.safetensors");
        File.WriteAllText(file, "[[1,2,3],[4,5,6]]");
        JsonElement json = Json("logits", s_tree, "--at", "shakespeare/kings", "--tokens-file", file, "-o", output, "--json");
        Assert.Equal([2, 3], json.GetProperty("shape").EnumerateArray().Take(2).Select(x => x.GetInt32()));
        using TensorFile all = Safetensors.Open(output);
        string single = Path.Combine(_folder, "single.safetensors");
        Assert.Equal(0, Run(null, "logits", s_tree, "--at", "shakespeare/kings", "--tokens", "4,5,6", "-o", single).Code);
        using TensorFile one = Safetensors.Open(single);
        Assert.Equal(2, one.Tensors["logits"].Shape.Rank);
        Assert.True(all.Tensors["logits"].Floats[(int)one.Tensors["logits"].Shape.Elements..].SequenceEqual(one.Tensors["logits"].Floats));
    }

    [Fact]
    public void Merged_logits_are_those_of_the_node()
    {
        string merged = Path.Combine(_folder, "merged"), a = Path.Combine(_folder, "a.safetensors"), b = Path.Combine(_folder, "b.safetensors");
        Assert.Equal(0, Run(null, "merge", s_tree, "--at", "shakespeare/kings", "-o", merged).Code);
        Assert.Equal(0, Run(null, "logits", merged, "--tokens", "1,2,3,4", "-o", a).Code);
        Assert.Equal(0, Run(null, "logits", s_tree, "--at", "shakespeare/kings", "--tokens", "1,2,3,4", "-o", b).Code);
        using TensorFile x = Safetensors.Open(a), y = Safetensors.Open(b);
        Assert.InRange(GoldenError.Relative(x.Tensors["logits"].Floats, y.Tensors["logits"].Floats), 0, 2e-5);
        Assert.Equal(1, Run(null, "merge", s_tree, "--at", "shakespeare", "-o", merged).Code);
        Assert.Single(Directory.GetDirectories(_folder));
    }

    [Fact]
    public void A_merge_stores_what_it_changed_as_it_is_asked_to()
    {
        string wide = Path.Combine(_folder, "wide"), narrow = Path.Combine(_folder, "narrow");
        Assert.Equal(0, Run(null, "merge", s_tree, "--at", "holmes", "-o", wide).Code);
        Assert.Equal(0, Run(null, "merge", s_tree, "--at", "holmes", "-o", narrow, "--type", "BF16").Code);
        using TensorFile a = Safetensors.Open(wide), b = Safetensors.Open(narrow);
        foreach (Tensor tensor in a.Tensors.Values)
            Assert.Equal(QuantBlocks.ToTensor("", DType.BF16, tensor.Shape, tensor.ToFloats()).Bytes.ToArray(), b.Tensors[tensor.Name].Bytes.ToArray());
        Assert.Contains(a.Tensors.Values, t => t.Type == DType.F32);
        Assert.Equal(("float32", "bfloat16"), (HfConfig.Read(wide).GetString("dtype"), HfConfig.Read(narrow).GetString("dtype")));
        Assert.Equal(2, Run(null, "merge", s_tree, "--at", "holmes", "-o", Path.Combine(_folder, "other"), "--type", "Q8_0").Code);
    }

    [Fact]
    public void A_node_merges_into_a_GGUF_of_any_type_and_a_GGUF_becomes_a_folder()
    {
        string path = Path.Combine(_folder, "kings.gguf"), folder = Path.Combine(_folder, "kings"), small = Path.Combine(_folder, "small.gguf"), again = Path.Combine(_folder, "again.gguf");
        JsonElement merged = Json("merge", s_tree, "--at", "shakespeare/kings", "-o", path, "--type", "f32", "--json");
        Assert.True(merged.GetProperty("changedTensors").GetInt32() > 0);
        Assert.Equal(path, merged.GetProperty("files")[0].GetString());
        Assert.Equal(0, Run(null, "convert", path, folder).Code);
        float[] wanted = Logits(s_tree, "--at", "shakespeare/kings");
        Assert.InRange(GoldenError.Relative(wanted, Logits(path)), 0, 2e-5);
        Assert.InRange(GoldenError.Relative(wanted, Logits(folder)), 0, 2e-5);
        // Quantised, in pieces, and an adapter on a GGUF base.
        JsonElement converted = Json("convert", path, small, "--type", "Q8_0", "--split-size", "100K", "--json");
        Assert.InRange(GoldenError.Relative(wanted, Logits(converted.GetProperty("files")[0].GetString()!)), 1e-6, 0.1);
        Assert.Equal(0, Run(null, "merge", path, "-o", again).Code);
        Assert.InRange(GoldenError.Relative(wanted, Logits(again)), 0, 2e-5);
        Assert.Equal(1, Run(null, "merge", path, "-o", Path.Combine(_folder, "none")).Code);
        Assert.Contains("q4_k", Run(null, "convert", path, again, "--type", "q9").Error, StringComparison.Ordinal);
        Assert.Equal(2, Run(null, "convert", path, Path.Combine(_folder, "x"), "--type", "q4_0").Code);
        Assert.Equal(2, Run(null, "convert", path, again, "--split-size", "much").Code);
    }

    [Fact]
    public void What_a_killed_conversion_left_of_a_folder_is_swept_by_the_next_and_what_another_writes_is_not()
    {
        string source = SharedFolder.Require("fixtures/models/granite"), target = Path.Combine(_folder, "out");
        string[] left = [.. new[] { ".out.0123.tmp", ".out.4567.tmp", ".other.89.tmp" }.Select(n => Path.Combine(_folder, n))];
        foreach (string folder in left)
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(Path.Combine(folder, ".writing"), "");
            File.WriteAllText(Path.Combine(folder, "model.safetensors"), "part");
        }
        using (FileStream writer = new(Path.Combine(left[1], ".writing"), FileMode.Open, FileAccess.Write, FileShare.None))
            Assert.Equal(0, Run(null, "convert", source, target).Code);
        Assert.Equal(left[1..].Append(target).Order(), Directory.GetDirectories(_folder).Order());
        Assert.True(File.Exists(Path.Combine(target, "config.json")));
        Assert.False(File.Exists(Path.Combine(target, ".writing")));
    }

    [Fact]
    public void A_tree_is_no_model_to_convert_and_the_verb_that_writes_its_nodes_is_named()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "tree", "base"));
        (int code, _, string error) = Run(null, "convert", Path.Combine(_folder, "tree"), Path.Combine(_folder, "x.gguf"));
        Assert.Equal(2, code);
        Assert.Contains("edgelora merge", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_tells_how_a_base_is_quantised_or_why_it_is_refused()
    {
        string quantised = Path.Combine(_folder, "quantised"), config = Path.Combine(quantised, "config.json");
        Formats.QuantizedModel.Write(SharedFolder.Require("fixtures/gguf/llama/hf"), quantised, Path.Combine(_folder, "plain"), (m, w, o, i) => Formats.QuantizedModel.Gptq(m, 4, 32, w, o, i),
            name => name.Contains("_proj.", StringComparison.Ordinal), c => c["quantization_config"] = System.Text.Json.Nodes.JsonNode.Parse("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}"));
        JsonElement report = Json("inspect", quantised, "--json");
        Assert.True(report.GetProperty("ok").GetBoolean());
        Assert.Equal(("GPTQ", 14, 4, 32, "gptq"), (report.GetProperty("quantization").GetString(), report.GetProperty("quantizedModules").GetInt32(), report.GetProperty("quantBits").GetInt32(),
            report.GetProperty("quantGroupSize").GetInt32(), report.GetProperty("quantFormat").GetString()));
        Assert.Contains(report.GetProperty("tensors").EnumerateArray(), t => t.GetProperty("name").GetString() == "model.layers.0.mlp.up_proj.weight" && t.GetProperty("dtype").GetString() == "Q4_0");
        // It carries adapters, and merging makes floats of it.
        string adapter = SharedFolder.Require("fixtures/gguf/lora/llama-qv/peft"), merged = Path.Combine(_folder, "merged"), gguf = Path.Combine(_folder, "merged.gguf");
        Assert.Equal(0, Run(null, "merge", quantised, "--adapter", adapter, "-o", merged).Code);
        Assert.Equal(0, Run(null, "merge", quantised, "--adapter", adapter, "-o", gguf).Code);
        float[] wanted = Logits(quantised, "--adapter", adapter);
        Assert.InRange(GoldenError.Relative(wanted, Logits(merged)), 0, 2e-5);
        Assert.InRange(GoldenError.Relative(wanted, Logits(gguf)), 0, 2e-5);
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"gptq\"", "\"hqq\"", StringComparison.Ordinal));
        (int code, string output, _) = Run(null, "inspect", quantised, "--json");
        Assert.Equal(1, code);
        using JsonDocument refused = JsonDocument.Parse(output);
        Assert.Contains("quant_method", refused.RootElement.GetProperty("faults")[0].GetString(), StringComparison.Ordinal);
    }

    private float[] Logits(params string[] model)
    {
        string path = Path.Combine(_folder, "logits.safetensors");
        Assert.Equal(0, Run(null, ["logits", .. model, "--tokens", "1,2,3,4", "-o", path]).Code);
        using TensorFile file = Safetensors.Open(path);
        return file.Tensors["logits"].ToFloats();
    }

    [Fact]
    public void Tokenize_answers_line_by_line_and_decodes_back()
    {
        (int code, string output, _) = Run("\"Hello there\"\n\"\\u00e9t\\u00e9\"\n", "tokenize", s_tree, "--jsonl");
        Assert.Equal(0, code);
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        using JsonDocument first = JsonDocument.Parse(lines[0]);
        JsonElement ids = first.RootElement.GetProperty("ids");
        Assert.Equal(ids.GetArrayLength(), first.RootElement.GetProperty("offsets").GetArrayLength());
        Assert.Equal("Hello there", Run(null, "tokenize", s_tree, "--decode", "-p", ids.GetRawText()).Output);
    }

    [Fact]
    public void A_walk_names_what_it_leaves_and_enters()
    {
        JsonElement walk = Json("tree", s_tree, "--walk", "shakespeare/kings/richard", "assistant", "--json").GetProperty("walk");
        Assert.Equal(["shakespeare/kings/richard", "shakespeare/kings", "shakespeare"], walk.GetProperty("leave").EnumerateArray().Select(x => x.GetString()));
        Assert.Equal(["assistant"], walk.GetProperty("enter").EnumerateArray().Select(x => x.GetString()));
        Assert.Equal(4, walk.GetProperty("edges").GetInt32());
    }

    [Fact]
    public void An_adapter_goes_to_elora_and_back_with_its_fingerprint()
    {
        string source = Path.Combine(s_tree, "holmes"), elora = Path.Combine(_folder, "holmes.elora"), back = Path.Combine(_folder, "holmes");
        Assert.Equal(0, Run(null, "convert", source, elora).Code);
        Assert.Equal(0, Run(null, "convert", elora, back).Code);
        string? Print(string path) => Json("inspect", path, "--base", Path.Combine(s_tree, "base"), "--json").GetProperty("fingerprint").GetString();
        Assert.Equal(Print(source), Print(elora));
        Assert.Equal(Print(source), Print(back));
    }

    [Fact]
    public void Inspect_names_the_types_of_quantised_tensors()
    {
        JsonElement json = Json("inspect", SharedFolder.Require("fixtures/gguf/llama/llama-mixed.gguf"), "--json");
        Assert.True(json.GetProperty("ok").GetBoolean());
        string[] types = [.. json.GetProperty("tensors").EnumerateArray().Select(t => t.GetProperty("dtype").GetString()!)];
        foreach (string type in new[] { "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "MXFP4" })
            Assert.Contains(type, types);
    }

    [Fact]
    public void Inspect_refuses_a_broken_file_by_name()
    {
        string file = Path.Combine(_folder, "broken.safetensors");
        File.WriteAllBytes(file, [1, 2, 3]);
        (int code, string output, string error) = Run(null, "inspect", file, "--json");
        Assert.Equal(1, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.False(json.RootElement.GetProperty("ok").GetBoolean());
        Assert.True(json.RootElement.GetProperty("faults").GetArrayLength() > 0);
        Assert.Contains("broken.safetensors", error);
    }

    [Fact]
    public void Perplexity_does_not_depend_on_the_chunks_of_a_window()
    {
        string file = Path.Combine(_folder, "text.txt");
        File.WriteAllText(file, string.Concat(Enumerable.Repeat("Once more unto the breach, dear friends, once more. ", 12)));
        JsonElement json = Json("eval", s_tree, "--at", "shakespeare", "--text", file, "--window", "64", "--stride", "32", "--json");
        Assert.True(json.GetProperty("tokens").GetInt64() > 64);
        Assert.Equal(Math.Exp(json.GetProperty("meanNll").GetDouble()), json.GetProperty("perplexity").GetDouble(), 1e-6);
    }

    private static (int Code, string Output, string Error) Run(string? input, params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error, input is null ? null : new StringReader(input));
        return (code, output.ToString(), error.ToString());
    }

    // One document on one line, and nothing else.
    private static JsonElement Json(params string[] args)
    {
        (int code, string output, string error) = Run(null, args);
        Assert.True(code == 0, error);
        Assert.Equal(output.Length - 1, output.IndexOf('\n'));
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.Clone();
    }
}
