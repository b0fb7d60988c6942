using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Models;
using Xunit;

namespace EdgeLora.Tests.Cli;

public sealed class ClassLogitsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-classes-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("bert-cls"), InlineData("vit-cls")]
    public void Logits_prints_and_writes_the_classes_of_a_file_s_rows(string name)
    {
        using EncoderFixture fixture = new(name);
        string inputs = Path.Combine(fixture.Folder, "expected.safetensors"), output = Path.Combine(_folder, "out.safetensors");
        JsonElement json = Json("logits", fixture.Folder, "--inputs", inputs, "-o", output, "--json");
        using TensorFile expected = Safetensors.Open(inputs), written = Safetensors.Open(output);
        Assert.Equal(expected.Tensors["logits"].Shape, written.Tensors["logits"].Shape);
        Assert.InRange(GoldenError.Relative(written.Tensors["logits"].Floats, expected.Tensors["logits"].Floats), 0, 2e-5);
        JsonElement[] rows = [.. json.GetProperty("rows").EnumerateArray()];
        Assert.Equal(3, rows.Length);
        float[] first = [.. rows[0].GetProperty("logits").EnumerateArray().Select(x => x.GetSingle())];
        Assert.Equal(written.Tensors["logits"].ToFloats()[..first.Length], first);
        Assert.Equal($"LABEL_{Array.IndexOf(first, first.Max())}", rows[0].GetProperty("label").GetString());
        (int code, string text, _) = Run("logits", fixture.Folder, "--inputs", inputs);
        Assert.Equal(0, code);
        Assert.Contains($"row 0: {rows[0].GetProperty("label").GetString()}\n", text);
    }

    [Fact]
    public void A_JSON_file_may_hold_rows_of_different_lengths_and_pixels()
    {
        using EncoderFixture fixture = new("bert-cls"), images = new("vit-cls");
        string file = Path.Combine(_folder, "in.json");
        File.WriteAllText(file, """{"input_ids": [[5, 6, 7], [8, 9]], "attention_mask": [[1, 1, 0], [1, 1]], "token_type_ids": [[0, 1, 0], [0, 0]]}""");
        JsonElement rows = Json("logits", fixture.Folder, "--inputs", file, "--json").GetProperty("rows");
        Assert.Equal(2, rows.GetArrayLength());
        Assert.Equal(rows[1].GetRawText(), Json("logits", fixture.Folder, "--tokens", "8,9", "--json").GetProperty("rows")[0].GetRawText());
        string image = "[" + string.Join(',', Enumerable.Repeat("[" + string.Join(',', Enumerable.Repeat("[" + string.Join(',', Enumerable.Repeat("0.5", 32)) + "]", 32)) + "]", 3)) + "]";
        File.WriteAllText(file, $$"""{"pixel_values": {{image}}}""");
        Assert.Equal(1, Json("logits", images.Folder, "--inputs", file, "--json").GetProperty("rows").GetArrayLength());
        File.WriteAllText(file, """{"pixels": []}""");
        (int code, _, string error) = Run("logits", images.Folder, "--inputs", file);
        Assert.Equal(1, code);
        Assert.Contains("expected input_ids or pixel_values", error);
    }

    [Fact]
    public void A_text_goes_through_the_tokenizer_and_labels_are_the_config_s()
    {
        using EncoderFixture fixture = new("bert-cls");
        string folder = fixture.Copy(new Dictionary<string, Tensor?>(), c => c.Replace("\"1\": \"LABEL_1\"", "\"1\": \"entailment\""));
        File.WriteAllLines(Path.Combine(folder, "vocab.txt"), [.. new[] { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "king", "sleeps" }, .. Enumerable.Range(8, 312).Select(i => $"w{i}")]);
        JsonElement one = Json("logits", folder, "--text", "The king", "--json"), pair = Json("logits", folder, "--text", "The king", "--pair", "sleeps", "--json");
        Assert.Equal("entailment", one.GetProperty("labels")[1].GetString());
        Assert.Equal(Json("logits", folder, "--tokens", "2,5,6,3", "--json").GetProperty("rows").GetRawText(), one.GetProperty("rows").GetRawText());
        string file = Path.Combine(_folder, "pair.json");
        File.WriteAllText(file, """{"input_ids": [2, 5, 6, 3, 7, 3], "token_type_ids": [0, 0, 0, 0, 1, 1]}""");
        Assert.Equal(Json("logits", folder, "--inputs", file, "--json").GetProperty("rows").GetRawText(), pair.GetProperty("rows").GetRawText());
    }

    [Fact]
    public void An_adapter_s_classes_are_printed_where_the_base_has_none()
    {
        using EncoderFixture fixture = new("roberta-cls");
        Dictionary<string, Tensor?> without = new[] { "dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias" }.ToDictionary(n => "classifier." + n, _ => (Tensor?)null);
        string bare = fixture.Copy(without, c => c.Replace("RobertaForSequenceClassification", "RobertaModel").Replace(",\n    \"2\": \"LABEL_2\"", "")), adapter = fixture.Adapter(["query", "value"], ["classifier"]).Folder;
        (int code, _, string error) = Run("logits", bare, "--tokens", "0,6,2");
        Assert.Equal(1, code);
        Assert.Contains("classifier.dense.weight is missing", error);
        JsonElement json = Json("logits", bare, "--adapter", adapter, "--tokens", "0,6,2", "--json");
        Assert.Equal(Json("logits", fixture.Folder, "--adapter", adapter, "--tokens", "0,6,2", "--json").GetProperty("rows")[0].GetProperty("logits").GetRawText(), json.GetProperty("rows")[0].GetProperty("logits").GetRawText());
    }

    [Fact]
    public void A_decoder_s_verbs_and_a_whole_model_device_refuse_an_encoder_by_name()
    {
        using EncoderFixture fixture = new("bert-cls");
        Assert.Contains("is an encoder", Run("run", fixture.Folder, "--tokens", "1").Error);
        (int code, _, string error) = Run("logits", fixture.Folder, "--tokens", "1", "--device", "onnx:cpu");
        Assert.Equal(1, code);
        Assert.Contains("bert", error);
        Assert.Equal(2, Run("logits", fixture.Folder, "--tokens", "1", "--text", "a").Code);
        Assert.Equal(2, Run("logits", fixture.Folder).Code);
        Assert.Equal(2, Run("logits", fixture.Folder, "--pair", "a", "--tokens", "1").Code);
        Assert.Contains("id2label", Run("logits", "--help").Output);
    }

    [Fact]
    public void Inspect_names_a_classifier_s_labels_and_fits_adapters_to_it()
    {
        using EncoderFixture fixture = new("roberta-cls");
        JsonElement model = Json("inspect", fixture.Folder, "--json");
        Assert.True(model.GetProperty("ok").GetBoolean());
        Assert.Contains("LABEL_2", model.GetRawText());
        string adapter = fixture.Adapter(["query"], ["classifier"]).Folder;
        Assert.Contains("\"fits\":true", Json("inspect", adapter, "--base", fixture.Folder, "--json").GetRawText());
        using EncoderFixture other = new("bert-cls");
        (int code, string output, _) = Run("inspect", adapter, "--base", other.Folder, "--json");
        Assert.Equal(1, code);
        Assert.Contains("\"fits\":false", output);
    }

    [Fact]
    public void Nodes_of_a_tree_classify_beside_each_other()
    {
        using EncoderFixture fixture = new("distilbert-cls");
        string tree = Path.Combine(_folder, "tree");
        CopyFolder(fixture.Folder, Path.Combine(tree, "base"));
        CopyFolder(fixture.Adapter(["q_lin"], ["pre_classifier", "classifier"], 1).Folder, Path.Combine(tree, "mail"));
        CopyFolder(fixture.Adapter(["v_lin"], ["pre_classifier", "classifier"], 2).Folder, Path.Combine(tree, "mail", "urgent"));
        using ClassifierHost host = ClassifierHost.Open(tree, new EdgeHostOptions { Device = "reference" });
        EncoderInput input = EncoderInput.Tokens([5, 6, 7]);
        AdapterPath mail = host.Enter("mail"), urgent = host.Enter("mail/urgent");
        float[][] rows = host.Classify(new EncoderRow(input, AdapterPath.Root), new EncoderRow(input, mail), new EncoderRow(input, urgent));
        Assert.Equal([host.Model.Classify(input, AdapterPath.Root), host.Model.Classify(input, mail), host.Model.Classify(input, urgent)], rows);
        JsonElement json = Json("logits", tree, "--at", "mail/urgent", "--tokens", "5,6,7", "--device", "reference", "--json");
        Assert.Equal(rows[2], json.GetProperty("rows")[0].GetProperty("logits").EnumerateArray().Select(x => x.GetSingle()));
        Assert.Contains("no node 'post'", Run("logits", tree, "--at", "post", "--tokens", "5").Error);
    }

    private static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from))
            File.WriteAllBytes(Path.Combine(to, Path.GetFileName(file)), File.ReadAllBytes(file));
    }

    private static JsonElement Json(params string[] args)
    {
        (int code, string output, string error) = Run(args);
        Assert.True(code == 0, error);
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.Clone();
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new() { NewLine = "\n" }, error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
