using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Models written as GGUF and back. Reference files: fixtures/gguf, made by scripts/gguf_files.py there; llama's F32, F16 and Q8_0 are llama.cpp's own bytes.</summary>
public sealed class ModelFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-model").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string, DType> Written => [.. from model in (string[])["llama", "qwen2", "gpt2"] from type in (DType[])[DType.F32, DType.F16, DType.Q8_0, DType.Q4_0] select new TheoryDataRow<string, DType>(model, type)];

    [Theory, MemberData(nameof(Written))]
    public void A_folder_as_GGUF_has_the_reference_converter_s_tensors_and_numbers(string model, DType type)
    {
        string path = Write(SharedFolder.Require($"fixtures/gguf/{model}/hf"), new() { Type = type });
        using GgufFile expected = GgufFile.Open(SharedFolder.Require($"fixtures/gguf/{model}/{model}-{type}.gguf")), found = GgufFile.Open(path);
        Assert.Equal(expected.TensorInfos.Select(t => t.Name).Order(), found.TensorInfos.Select(t => t.Name).Order());
        foreach (GgufTensorInfo info in expected.TensorInfos)
        {
            Tensor tensor = found.Tensor(info.Name);
            Assert.Equal((info.Type.Type, info.Shape), (tensor.Type, tensor.Shape));
            Assert.True(expected.Tensor(info.Name).Bytes.SequenceEqual(tensor.Bytes), info.Name);
        }
        foreach ((string key, object value) in expected.Metadata)
            if (!key.StartsWith("tokenizer.", StringComparison.Ordinal) && key != "general.name")
                Assert.Equal((key, value), (key, found.Metadata.GetValueOrDefault(key)));
    }

    [Theory, InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void A_GGUF_as_a_folder_has_the_numbers_it_was_made_from(string model)
    {
        string folder = Path.Combine(_folder, "back"), source = SharedFolder.Require($"fixtures/gguf/{model}/hf");
        ToFolder(SharedFolder.Require($"fixtures/gguf/{model}/{model}-F32.gguf"), folder, null);
        using TensorFile expected = Safetensors.Open(source), found = Safetensors.Open(folder);
        Assert.Equal(expected.Tensors.Keys.Order(), found.Tensors.Keys.Order());
        foreach ((string name, Tensor tensor) in expected.Tensors)
            Assert.True(tensor.Bytes.SequenceEqual(found.Tensors[name].Bytes), name);
        int[] ids = [1, 5, 9, 33, 2, 7];
        Assert.Equal(Logits(source, ids), Logits(folder, ids));
        Tokenizer written = Tokenizer.Load(folder);
        using GgufFile file = GgufFile.Open(SharedFolder.Require($"fixtures/gguf/{model}/{model}-F32.gguf"));
        Tokenizer original = Tokenizer.FromGguf(file.Metadata, "gguf");
        foreach (string text in Texts())
            Assert.Equal(original.EncodeIds(text), written.EncodeIds(text));
        Assert.Equal((original.BosId, original.EosId), (written.BosId, written.EosId));
        // And once more into a GGUF: the same file but for its name.
        using GgufFile again = GgufFile.Open(Write(folder, new() { Type = DType.F32, Name = (string)file.Metadata["general.name"] }));
        foreach ((string key, object value) in file.Metadata)
            Assert.Equal(value, again.Metadata[key]);
    }

    [Theory, InlineData("llama-Q4_0"), InlineData("llama-mixed")]
    public void A_quantised_GGUF_as_a_folder_computes_what_its_file_computes(string name)
    {
        string folder = Path.Combine(_folder, "back"), file = SharedFolder.Require($"fixtures/gguf/llama/{name}.gguf");
        ToFolder(file, folder, null);
        int[] ids = [1, 5, 9, 33, 2, 7, 60, 4];
        foreach ((float a, float b) in Logits(file, ids).Zip(Logits(folder, ids)))
            Assert.Equal(a, b, 2e-5f);
        Assert.Equal("float32", (string)JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!["dtype"]! ?? "float32");
    }

    [Fact]
    public void A_GGUF_is_written_again_in_other_types_and_pieces_and_keeps_what_it_says()
    {
        string source = SharedFolder.Require("fixtures/gguf/split/llama-F16-00001-of-00003.gguf"), whole = Write(source, new() { Type = DType.Q8_0 });
        using GgufFile a = GgufFile.Open(source), b = GgufFile.Open(whole), reference = GgufFile.Open(SharedFolder.Require("fixtures/gguf/llama/llama-Q8_0.gguf"));
        Assert.Equal(a.Metadata.Keys.Where(k => !k.StartsWith("split.", StringComparison.Ordinal)).Order(), b.Metadata.Keys.Order());
        Assert.Equal(7u, b.Metadata["general.file_type"]);
        Assert.True(b.Tensor("blk.1.ffn_up.weight").Bytes.SequenceEqual(reference.Tensor("blk.1.ffn_up.weight").Bytes));
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(source);
        GgufModel model = GgufModel.Of(checkpoint, new());
        IReadOnlyList<string> pieces = GgufFile.WriteSplit(Path.Combine(_folder, "again"), model.Metadata, model.Tensors, 100_000);
        Assert.True(pieces.Count > 2);
        using GgufFile split = GgufFile.Open(pieces[^1]);
        Assert.Equal(pieces.Count, split.Pieces);
        foreach (GgufTensorInfo info in a.TensorInfos)
            Assert.True(a.Tensor(info.Name).Bytes.SequenceEqual(split.Tensor(info.Name).Bytes), info.Name);
    }

    [Fact]
    public void Blocks_that_rows_are_too_short_for_become_smaller_ones_and_are_told()
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(SharedFolder.Require("fixtures/gguf/llama/hf"));
        GgufModel model = GgufModel.Of(checkpoint, new() { Type = DType.Q4_K });
        Dictionary<string, DType> types = model.Tensors.ToDictionary(t => t.Name, t => t.Type);
        Assert.Equal((DType.Q4_K, DType.Q5_0, DType.Q8_0, DType.F32), (types["blk.0.ffn_down.weight"], types["blk.0.attn_q.weight"], types["output.weight"], types["blk.0.attn_norm.weight"]));
        Assert.Contains(model.Notes, n => n.StartsWith("Q5_0 instead of Q4_K: token_embd.weight", StringComparison.Ordinal) && n.Contains("rows of 64", StringComparison.Ordinal));
        string path = Path.Combine(_folder, "k.gguf");
        GgufFile.Write(path, model.Metadata, model.Tensors);
        float[] wanted = Logits(checkpoint.Path, [1, 5, 9, 33]), found = Logits(path, [1, 5, 9, 33]);
        Assert.True(wanted.Zip(found).Max(p => Math.Abs(p.First - p.Second)) < 0.5f);
    }

    [Fact]
    public void Numbers_that_a_type_cannot_hold_are_refused_with_nothing_left_behind()
    {
        Tensor large = Tensor.FromFloats("w", new Shape(2, 32), [.. Enumerable.Range(0, 64).Select(i => i == 50 ? 70000f : 1)]);
        string path = Path.Combine(_folder, "large.gguf");
        foreach (DType type in new[] { DType.F16, DType.TQ2_0 })
        {
            Tensor source = type == DType.F16 ? large : Tensor.FromFloats("w", new Shape(1, 256), [.. Enumerable.Repeat(1e30f, 256)]);
            Assert.StartsWith("w: ", Assert.Throws<OverflowException>(() => GgufFile.Write(path, [], [new TensorOutput("w", type, source)])).Message, StringComparison.Ordinal);
        }
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public void A_large_tensor_is_written_in_pieces_as_it_is_whole()
    {
        // Several batches of pieces, the last not full; rows of their own order and a turned matrix too.
        int rows = 1100, width = 4 * 256;
        float[] values = [.. Enumerable.Range(0, rows * width).Select(i => (i * 7919 % 20011 - 10000) / 4096f)];
        Tensor source = QuantBlocks.ToTensor("w", DType.BF16, new Shape(rows, width), values);
        string stored = Path.Combine(_folder, "source.safetensors"), path = Path.Combine(_folder, "out.gguf");
        Safetensors.Write(stored, [source]);
        int[] order = [.. Enumerable.Range(0, rows).Select(i => (i * 7 + 3) % rows)];
        using (TensorFile file = Safetensors.Open(stored))
        {
            Tensor mapped = file.Tensors["w"];
            long told = 0;
            GgufFile.Write(path, [], [new("same", DType.BF16, mapped), new("q", DType.Q4_K, mapped), new("ordered", DType.F16, mapped, order), new("bytes", DType.BF16, mapped, order), new("turned", DType.F32, mapped, Turned: true)], n => told = n);
            Assert.Equal((long)rows * width * (2 + 2 + 2 + 4) + DType.Q4_K.Bytes(rows * width), told);
        }
        using GgufFile found = GgufFile.Open(path);
        float[] exact = source.ToFloats();
        Assert.True(found.Tensor("same").Bytes.SequenceEqual(source.Bytes));
        Assert.True(found.Tensor("q").Bytes.SequenceEqual(QuantBlocks.ToTensor("q", DType.Q4_K, source.Shape, exact).Bytes));
        float[] ordered = found.Tensor("ordered").ToFloats(), bytes = found.Tensor("bytes").ToFloats(), turned = found.Tensor("turned").ToFloats();
        for (int row = 0; row < rows; row += 37)
            for (int c = 0; c < width; c += 101)
            {
                Assert.Equal(exact[order[row] * width + c], bytes[row * width + c]);
                Assert.Equal((float)(Half)exact[order[row] * width + c], ordered[row * width + c]);
                Assert.Equal(exact[row * width + c], turned[c * rows + row]);
            }
    }

    [Fact]
    public void What_a_killed_process_left_of_a_file_is_swept_and_what_another_writes_is_not()
    {
        string target = Path.Combine(_folder, "model.gguf"), left = Path.Combine(_folder, ".model.gguf.0123.tmp"), held = Path.Combine(_folder, ".model.gguf.4567.tmp"), other = Path.Combine(_folder, ".other.gguf.89.tmp");
        foreach (string path in new[] { left, held, other })
            File.WriteAllText(path, "part");
        using (FileStream writer = new(held, FileMode.Open, FileAccess.Write, FileShare.None))
            AtomicFile.RemoveLeftovers(target);
        Assert.Equal([held, other], Directory.GetFiles(_folder).Order());
    }

    private static IEnumerable<string> Texts() => ["", "a", "Alice was beginning to get very tired", " two  spaces\n\n\ttabs", "é ü 🙂 123 4567 don't"];

    private string Write(string source, GgufModelOptions options)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(source);
        GgufModel model = GgufModel.Of(checkpoint, options);
        string path = Path.Combine(_folder, "written.gguf");
        GgufFile.Write(path, model.Metadata, model.Tensors);
        return path;
    }

    private static void ToFolder(string source, string folder, DType? type)
    {
        Directory.CreateDirectory(folder);
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(source);
        HuggingFaceModel.Of(checkpoint, type).Write(folder, null, default);
    }

    private static float[] Logits(string path, int[] ids)
    {
        using ReferenceBackend backend = new();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), backend);
        return ModelGolden.Logits(model, AdapterPath.Root, ids);
    }
}
