using System.Runtime.InteropServices;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Reference data: data/lm-stories260k, whose golden files a double-precision forward made; see NOTES.md there.</summary>
public sealed class Llama2cTests : IDisposable
{
    private const string Stories = "data/lm-stories260k/";
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-llama2c-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void Version_1_holds_version_0_s_bits()
    {
        using Llama2c old = Llama2c.Open(SharedFolder.Require(Stories + "stories260K.bin")), newer = Llama2c.Open(SharedFolder.Require(Stories + "stories260K_v1.bin"));
        Assert.Equal((0, 1), (old.Version, newer.Version));
        Assert.Equal((64, 172, 5, 8, 4, 512, 512, true), (old.HiddenSize, old.FeedForward, old.Layers, old.Heads, old.KvHeads, old.Vocabulary, old.ContextLength, old.SharesHead));
        using TensorFile a = old.ToTensorFile(), b = newer.ToTensorFile();
        Assert.Equal(Fingerprint.Of(a), Fingerprint.Of(b));
        Assert.Equal(260032, a.Tensors.Values.Sum(t => t.Shape.Elements));
    }

    [Theory, InlineData("stories260K-q8_llama2v.bin", 8), InlineData("stories260K_q8_bennyz.bin", 4)]
    public void Version_2_is_within_half_a_step(string file, int group)
    {
        using Llama2c exact = Llama2c.Open(SharedFolder.Require(Stories + "stories260K.bin")), quantised = Llama2c.Open(SharedFolder.Require(Stories + file));
        Assert.Equal((2, group), (quantised.Version, quantised.GroupSize));
        using TensorFile a = exact.ToTensorFile(), b = quantised.ToTensorFile();
        Assert.Equal(a.Tensors.Keys.Order(StringComparer.Ordinal), b.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach (Tensor expected in a.Tensors.Values)
        {
            ReadOnlySpan<float> x = expected.Floats, y = b.Tensors[expected.Name].Floats;
            for (int i = 0; i < x.Length; i++)
            {
                float largest = 0;
                for (int j = i / group * group; j < i / group * group + group; j++)
                    largest = MathF.Max(largest, MathF.Abs(x[j]));
                float tolerance = expected.Shape.Rank == 1 ? 0 : largest / 127 * 0.501f;
                Assert.True(MathF.Abs(x[i] - y[i]) <= tolerance, $"{expected.Name}[{i}]: expected {x[i]}, found {y[i]}");
            }
        }
    }

    [Fact]
    public void A_converted_model_tells_the_reference_s_story()
    {
        Convert("stories260K_v1.bin");
        using ReferenceBackend backend = new();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(_folder), backend);
        int[] ids = GoldenIds("bos_greedy200");
        float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(SharedFolder.Require(Stories + "golden/bos_greedy200.logits.f32"))).ToArray();
        float[] logits = ModelGolden.Logits(model, AdapterPath.Root, ids.AsSpan(0, expected.Length / 512));
        for (int i = 0; i < expected.Length; i++)
            Assert.True(MathF.Abs(expected[i] - logits[i]) <= 1e-4f, $"logit {i}: expected {expected[i]}, found {logits[i]}");
        Assert.Equal(ids[1..], ModelGolden.Greedy(model, AdapterPath.Root, ids.AsSpan(0, 1), ids.Length - 1));
    }

    [Fact]
    public void The_converted_tokenizer_reads_and_writes_as_the_reference()
    {
        Convert("stories260K.bin");
        Tokenizer tokenizer = Tokenizer.Load(_folder);
        string story = File.ReadAllText(SharedFolder.Require(Stories + "golden/bos_greedy200.txt")).TrimEnd('\n');
        Assert.Equal(story, tokenizer.Decode(GoldenIds("bos_greedy200")).TrimEnd('\n'));
        string[] info = File.ReadAllLines(SharedFolder.Require(Stories + "golden/prompt_max_96.info.txt"));
        int[] prompt = Ids(info.Single(l => l.StartsWith("prompt ids: ", StringComparison.Ordinal)));
        string text = File.ReadAllText(SharedFolder.Require(Stories + "golden/prompt_max_96.txt"));
        Assert.StartsWith(tokenizer.Decode(prompt), text, StringComparison.Ordinal);
        Assert.Equal(prompt, tokenizer.EncodeIds(tokenizer.Decode(prompt)));
        Assert.Equal([1], tokenizer.EncodeIds(""));
        // 你 is no piece of this vocabulary: its bytes stand for it, three ids on.
        Assert.Equal([1, 410, 0xE4 + 3, 0xBD + 3, 0xA0 + 3, 13], tokenizer.EncodeIds("你\n"));
        foreach (string any in new[] { "é 你\n", "  two  spaces", "😀 tab\t", "™" })
            Assert.Equal(any, tokenizer.Decode(tokenizer.EncodeIds(any)));
    }

    [Fact]
    public void Neighbours_rotate_in_the_checkpoint_as_halves_do_in_the_folder()
    {
        Convert("stories260K.bin");
        using ReferenceBackend backend = new();
        using Llama2c checkpoint = Llama2c.Open(SharedFolder.Require(Stories + "stories260K.bin"));
        using DecoderModel folder = DecoderModel.Load(BaseCheckpoint.OpenFolder(_folder), backend);
        using DecoderModel direct = DecoderModel.Load(new(checkpoint.FilePath, HfConfig.Read(_folder), checkpoint.ToTensorFile(), RopePairs.Adjacent), backend);
        int[] ids = [1, 403, 407, 261, 378];
        float[] a = ModelGolden.Logits(folder, AdapterPath.Root, ids), b = ModelGolden.Logits(direct, AdapterPath.Root, ids);
        for (int i = 0; i < a.Length; i++)
            Assert.Equal(a[i], b[i], 1e-4f);
    }

    [Fact]
    public void Merges_are_ranked_by_the_score_of_what_they_make()
    {
        Convert("stories260K.bin");
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder, "tokenizer.json")));
        JsonElement model = json.RootElement.GetProperty("model");
        Dictionary<string, int> ids = model.GetProperty("vocab").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt32());
        Assert.Equal(512, ids.Count);
        Assert.Equal((0, 1, 2, 13, 403), (ids["<unk>"], ids["<s>"], ids["</s>"], ids["<0x0A>"], ids["▁Once"]));
        int[] made = [.. model.GetProperty("merges").EnumerateArray().Select(m => ids[m[0].GetString()! + m[1].GetString()!])];
        Assert.Equal(made.Order(), made);
        Assert.True(made.Length > 142);
    }

    [Fact]
    public void Every_checkpoint_cut_short_or_of_wrong_sizes_is_refused_by_name()
    {
        string path = Path.Combine(_folder, "small.bin");
        byte[] v0 = Legacy(8, 12, 2, 2, 1, 5, 4), v2 = Quantised(8, 12, 1, 2, 2, -6, 4, 4);
        void Refused(byte[] bytes, string keyword)
        {
            File.WriteAllBytes(path, bytes);
            string message = Assert.Throws<ModelFileException>(() => Llama2c.Open(path).Dispose()).Message;
            Assert.Contains("small.bin", message, StringComparison.Ordinal);
            Assert.Contains(keyword, message, StringComparison.OrdinalIgnoreCase);
        }
        byte[] With(byte[] bytes, int at, int value)
        {
            byte[] changed = [.. bytes];
            BitConverter.TryWriteBytes(changed.AsSpan(at), value);
            return changed;
        }
        foreach (byte[] whole in new[] { v0, v2 })
        {
            File.WriteAllBytes(path, whole);
            using (Llama2c file = Llama2c.Open(path))
                Assert.NotEmpty(file.ToTensorFile().Tensors);
            for (int length = 0; length < whole.Length; length += 7)
                Refused(whole[..length], "end");
            Refused([.. whole, 0], "end");
        }
        Refused(With(v0, 0, 0), "dim");
        Refused(With(v0, 4, -1), "hidden_dim");
        Refused(With(v0, 8, int.MaxValue), "n_layers");
        Refused(With(v0, 12, 3), "n_heads");
        Refused(With(v0, 16, 3), "n_kv_heads");
        Refused(With(v0, 20, int.MinValue), "vocab_size");
        Refused(With(v0, 24, 1 << 24), "end");
        Refused(With(v0, 8, 4096), "end");
        Refused(With(v2, 4, 3), "version");
        Refused(With(v2, 37, 0), "group_size");
        Refused(With(v2, 37, 7), "group_size");
    }

    [Fact]
    public void A_head_of_its_own_is_read_in_every_version()
    {
        foreach (byte[] bytes in new[] { Legacy(8, 12, 2, 2, 1, -5, 4), Quantised(8, 12, 1, 2, 2, -6, 4, 4) })
        {
            string path = Path.Combine(_folder, "own.bin");
            File.WriteAllBytes(path, bytes);
            using Llama2c file = Llama2c.Open(path);
            Assert.False(file.SharesHead);
            Assert.Equal(new Shape(file.Vocabulary, 8), file.ToTensorFile().Tensors["lm_head.weight"].Shape);
        }
    }

    [Fact]
    public void A_broken_vocabulary_is_refused_by_piece()
    {
        string path = Path.Combine(_folder, "tok.bin");
        byte[] Pieces(int longest, params (float Score, int Length, string Text)[] pieces) =>
            [.. BitConverter.GetBytes(longest), .. pieces.SelectMany(p => (byte[])[.. BitConverter.GetBytes(p.Score), .. BitConverter.GetBytes(p.Length), .. System.Text.Encoding.UTF8.GetBytes(p.Text)])];
        void Refused(byte[] bytes, string keyword)
        {
            File.WriteAllBytes(path, bytes);
            string message = Assert.Throws<ModelFileException>(() => Llama2cVocabulary.Read(path)).Message;
            Assert.Contains("tok.bin", message, StringComparison.Ordinal);
            Assert.Contains(keyword, message, StringComparison.Ordinal);
        }
        File.WriteAllBytes(path, Pieces(5, (0, 5, "<unk>"), (-1, 0, "")));
        Assert.Equal([5, 0], Llama2cVocabulary.Read(path).Pieces.Select(p => p.Length));
        Refused([], "end");
        Refused(Pieces(5, (0, 5, "<un")), "piece 0");
        Refused(Pieces(5, (0, 5, "<unk>"), (float.NaN, 1, "a")), "piece 1");
        Refused(Pieces(5, (0, 6, "longer")), "piece 0");
        Refused(Pieces(5, (0, -1, "")), "piece 0");
        Refused([.. Pieces(5, (0, 1, "a")), 0, 0], "piece 1");
        File.WriteAllBytes(path, Pieces(5, (0, 5, "<unk>")));
        Assert.Contains("512", Assert.Throws<ModelFileException>(() => Llama2cConvert.ToHuggingFace(SharedFolder.Require(Stories + "stories260K.bin"), path, _folder)).Message, StringComparison.Ordinal);
    }

    private static int[] GoldenIds(string name) =>
        Ids(File.ReadAllLines(SharedFolder.Require($"{Stories}golden/{name}.info.txt")).Single(l => l.StartsWith("ids: ", StringComparison.Ordinal)));

    private static int[] Ids(string line) => [.. line[(line.IndexOf(':') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];

    private void Convert(string file) =>
        Llama2cConvert.ToHuggingFace(SharedFolder.Require(Stories + file), SharedFolder.Require(Stories + "tok512.bin"), _folder);

    private static byte[] Legacy(params int[] sizes)
    {
        (int d, int f, int layers, int heads, int kv, int v, int t) = (sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], Math.Abs(sizes[5]), sizes[6]);
        int floats = v * d + layers * (2 * d + 2 * d * d + 2 * d * (d / heads * kv) + 3 * d * f) + d + t * (d / heads) + (sizes[5] < 0 ? v * d : 0);
        return [.. sizes.SelectMany(BitConverter.GetBytes), .. new byte[floats * 4]];
    }

    private static byte[] Quantised(int d, int f, int layers, int heads, int kv, int v, int t, int group)
    {
        byte[] header = new byte[256];
        int[] words = [0x616B3432, 2, d, f, layers, heads, kv, Math.Abs(v), t];
        for (int i = 0; i < words.Length; i++)
            BitConverter.TryWriteBytes(header.AsSpan(4 * i), words[i]);
        header[36] = (byte)(v > 0 ? 1 : 0);
        BitConverter.TryWriteBytes(header.AsSpan(37), group);
        int weights = Math.Abs(v) * d * (v < 0 ? 2 : 1) + layers * (2 * d * d + 2 * d * (d / heads * kv) + 3 * d * f);
        return [.. header, .. new byte[(2 * layers + 1) * d * 4], .. new byte[weights + weights / group * 4]];
    }
}
