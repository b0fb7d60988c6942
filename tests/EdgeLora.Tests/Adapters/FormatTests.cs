using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Formats one by one: what their own files say, and what is refused by name.</summary>
public sealed class FormatTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-formats-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void A_real_MLX_adapter_reads_with_its_scale_and_writes_the_same_bytes()
    {
        string source = SharedFolder.Require("data/lora-adapters/qwen0.5b-dpo-mlx"), again = Path.Combine(_folder, "again");
        Command.Run("convert", source, again, "--to", "mlx");
        using PeftAdapter adapter = PeftAdapter.Open(source), read = PeftAdapter.Open(again);
        Assert.Equal(["model.layers.22.self_attn.q_proj", "model.layers.22.self_attn.v_proj", "model.layers.23.self_attn.q_proj", "model.layers.23.self_attn.v_proj"], adapter.Modules.Keys);
        Assert.All(adapter.Modules.Keys, m => Assert.Equal(20, adapter.Config.ScaleOf(m, 8)));
        using TensorFile there = Safetensors.Open(Path.Combine(source, MlxFormat.WeightsName)), here = Safetensors.Open(Path.Combine(again, MlxFormat.WeightsName));
        Assert.Equal(there.Tensors.Keys.Order(), here.Tensors.Keys.Order());
        Assert.All(there.Tensors, t => Assert.True(t.Value.Bytes.SequenceEqual(here.Tensors[t.Key].Bytes), t.Key));
        AdapterComparison.CheckSame(adapter, read, "mlx");
    }

    [Theory]
    [InlineData("""{"lora_parameters": {"rank": 2, "scale": 10.0, "alpha": 4, "dropout": 0.0}, "num_layers": 1}""", 10)]
    [InlineData("""{"lora_parameters": {"rank": 2, "scale": 10.0, "alpha": 2}, "lora_layers": 1}""", 10)]
    [InlineData("""{"lora_parameters": {"rank": 2, "scale": 0.3}, "lora_layers": 1, "use_dora": false}""", 0.3)]
    [InlineData("""{"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 1e-3, "keys": ["self_attn.q_proj"]}, "num_layers": -1}""", 1e-3)]
    public void Older_spellings_of_MLX_s_config_are_read(string config, double scale)
    {
        using PeftAdapter adapter = PeftAdapter.Open(Mlx(config, ("model.layers.0.self_attn.q_proj.lora_a", [4, 2]), ("model.layers.0.self_attn.q_proj.lora_b", [2, 4])));
        Assert.Equal(scale, adapter.Config.ScaleOf("model.layers.0.self_attn.q_proj", 2), 1e-15);
    }

    [Theory]
    [InlineData("""{"lora_parameters": {"rank": 2, "scale": 10.0, "alpha": 4}, "lora_layers": 1}""", "lora_parameters.alpha: was part of the scale until June 2024 (20) and is not since (10)")]
    [InlineData("""{"lora_parameters": {"rank": 2, "alpha": 4}, "num_layers": 1}""", "lora_parameters.scale: expected a number")]
    [InlineData("""{"lora_parameters": {"rank": 3, "scale": 1.0}, "num_layers": 1}""", "expected rank 3 of lora_parameters, found [4, 2]")]
    [InlineData("""{"lora_parameters": {"rank": 2, "scale": 1.0, "keys": ["self_attn.v_proj"]}, "num_layers": 1}""", "self_attn.q_proj: lora_parameters.keys does not name it")]
    [InlineData("""{"fine_tune_type": "none", "lora_parameters": {"rank": 2, "scale": 1.0}}""", "fine_tune_type: expected lora, dora or full")]
    public void An_MLX_config_that_leaves_something_open_is_refused_by_field(string config, string fault) =>
        Assert.Contains(fault, Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, ("model.layers.0.self_attn.q_proj.lora_a", [4, 2]), ("model.layers.0.self_attn.q_proj.lora_b", [2, 4])))).Message);

    [Fact]
    public void What_MLX_would_pass_over_or_lacks_is_refused_by_name()
    {
        const string config = """{"lora_parameters": {"rank": 2, "scale": 1.0}, "num_layers": 2}""";
        (string, long[])[] first = [("model.layers.0.a.b.lora_a", [4, 2]), ("model.layers.0.a.b.lora_b", [2, 4])], last = [("model.layers.2.a.b.lora_a", [4, 2]), ("model.layers.2.a.b.lora_b", [2, 4])];
        Assert.Contains("num_layers: the last 2, but there are pairs in layers 0 to 2", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, [.. first, .. last]))).Message);
        Assert.Contains("model.layers.0.a.b: lora_a or lora_b is missing", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, first[0]))).Message);
        Assert.Contains("fine_tune_type is not dora", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, [.. first, ("model.layers.0.a.b.m", [4])]))).Message);
        Assert.Contains("pairs of experts are not read", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, ("model.layers.0.a.b.lora_a", [2, 4, 2]), first[1]))).Message);
        Assert.Contains("give it (--base)", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(Mlx(config, ("model.embed_tokens.lora_a", [8, 2]), ("model.embed_tokens.lora_b", [2, 4])))).Message);
    }

    [Fact]
    public void A_full_fine_tune_of_MLX_is_whole_tensors()
    {
        using PeftAdapter adapter = PeftAdapter.Open(Mlx("""{"fine_tune_type": "full", "num_layers": 1}""", ("model.layers.1.mlp.up_proj.weight", [4, 2]), ("model.norm.weight", [4])));
        Assert.Equal(PeftConfig.Partial, adapter.Config.PeftType);
        Assert.Equal(["model.layers.1.mlp.up_proj", "model.norm"], adapter.Modules.Keys);
    }

    [Fact]
    public void Microsoft_s_own_loralib_file_reads_with_its_classifier_and_goes_back()
    {
        string source = SharedFolder.Require("data/lora-adapters/roberta-base-mnli_msLoRA/roberta_base_lora_mnli.bin");
        Assert.Contains("give it (--alpha)", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(source)).Message);
        AdapterOptions options = new() { Alpha = 16 };
        using PeftAdapter adapter = AdapterFormats.Read(source, options), back = AdapterComparison.Through(adapter, AdapterFormats.Named("loralib")!, options, _folder);
        Assert.Equal(24, LowRankPair.Of(adapter, []).Count);
        Assert.All(LowRankPair.Of(adapter, []), p => Assert.Equal((8, 2.0), (p.Rank, p.Scale)));
        Assert.Equal(["classifier.dense", "classifier.out_proj"], adapter.Config.ModulesToSave);
        AdapterComparison.CheckSame(adapter, back, "loralib");
        using PeftAdapter peft = AdapterComparison.Through(adapter, AdapterFormats.Peft, options, _folder);
        AdapterComparison.CheckSame(adapter, peft, "loralib -> peft");
    }

    [Fact]
    public void A_merged_layer_of_loralib_becomes_one_pair_with_a_block_for_each_part()
    {
        string path = Path.Combine(_folder, "merged.bin");
        Random random = new(5);
        float[] a = Numbers(random, 4 * 3), b = Numbers(random, 4 * 2);
        TorchPickle.Write(path, [Tensor.FromFloats("h.attn.c_attn.lora_A", new(4, 3), a), Tensor.FromFloats("h.attn.c_attn.lora_B", new(4, 2), b)], TestContext.Current.CancellationToken);
        AdapterOptions options = new() { Alpha = 6 };
        Assert.Contains("h.attn.c_attn: is a MergedLinear with 2 parts that have pairs", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(path, options)).Message);
        Assert.Contains("--enable-lora names 1", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(path, options with { EnabledParts = [true, false, false] })).Message);
        using PeftAdapter adapter = AdapterFormats.Read(path, options with { EnabledParts = [true, false, true] });
        LowRankPair pair = Assert.Single(LowRankPair.Of(adapter, []));
        double[] delta = AdapterComparison.Delta(pair);
        Assert.Equal(3.0, pair.Scale);
        // conv1d with two groups: part g of B over part g of A; rows 2 and 3, the second part, have nothing.
        for (int o = 0; o < 6; o++)
            for (int i = 0; i < 3; i++)
            {
                int group = o < 2 ? 0 : 1, row = o < 2 ? o : o - 2;
                double expected = o is 2 or 3 ? 0 : 3.0 * (b[row * 2] * (double)a[(2 * group) * 3 + i] + b[row * 2 + 1] * (double)a[(2 * group + 1) * 3 + i]);
                Assert.Equal(expected, delta[o * 3 + i], 1e-12);
            }
    }

    [Theory]
    [InlineData("llama_adapter_weights_fp32")]
    [InlineData("llama_adapter_weights_fp16")]
    public void A_GAIL_file_holds_what_the_archive_beside_it_does(string name)
    {
        string folder = SharedFolder.Require("data/lora-adapters/ort-genai-adapters");
        using OnnxAdapter file = OnnxAdapter.Read(Path.Combine(folder, name + ".fb"));
        byte[] archive = File.ReadAllBytes(Path.Combine(folder, name + ".npz"));
        Assert.Equal(28, file.File.Tensors.Count);
        Assert.All(file.File.Tensors, t => Assert.True(archive.AsSpan().IndexOf(t.Value.Bytes) > 0 && archive.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(t.Key + ".npy")) > 0, t.Key));
        string target = Path.Combine(_folder, "out");
        Command.Run("convert", Path.Combine(folder, name + ".fb"), target);
        using PeftAdapter adapter = PeftAdapter.Open(target);
        Assert.Equal(14, adapter.Modules.Count);
        Assert.Contains("model.layers.0.self_attn.q_proj", adapter.Modules.Keys);
        Assert.All(LowRankPair.Of(adapter, []), p => Assert.Equal((8, 1.0), (p.Rank, p.Scale)));
        Assert.Contains("is read, not written", Command.Fail("convert", target, Path.Combine(_folder, "again.fb")));
    }

    [Fact]
    public void A_pickle_that_is_written_is_read_again_bit_for_bit_and_the_same_every_time()
    {
        string path = Path.Combine(_folder, "a.bin"), again = Path.Combine(_folder, "b.bin");
        Tensor[] tensors = [Tensor.FromFloats("x.y", new(2, 3), [1, 2, 3, 4, 5, 6]), Tensor.FromFloats("ß", new(1), [7]), QuantBlocks.ToTensor("half", DType.F16, new(4), [1, 2, 3, 4]), QuantBlocks.ToTensor("b", DType.BF16, new(1, 2, 1), [1, 2])];
        TorchPickle.Write(path, tensors, TestContext.Current.CancellationToken);
        TorchPickle.Write(again, tensors, TestContext.Current.CancellationToken);
        Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(again));
        using TensorFile read = TorchPickle.Open(path);
        Assert.Equal(tensors.Select(t => (t.Name, t.Type, t.Shape)), read.Tensors.Values.Select(t => (t.Name, t.Type, t.Shape)));
        Assert.All(tensors, t => Assert.True(t.Bytes.SequenceEqual(read.Tensors[t.Name].Bytes), t.Name));
        Assert.All(read.Tensors.Values, t => Assert.Equal(0, t.Place!.Value.Offset % 64));
    }

    private static float[] Numbers(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];

    private string Mlx(string config, params (string Name, long[] Shape)[] tensors)
    {
        string folder = Directory.CreateDirectory(Path.Combine(_folder, Guid.NewGuid().ToString("N"))).FullName;
        File.WriteAllText(Path.Combine(folder, PeftConfigReader.FileName), config);
        Safetensors.Write(Path.Combine(folder, MlxFormat.WeightsName), tensors.Select(t => Tensor.FromFloats(t.Name, new(t.Shape), new float[new Shape(t.Shape).Elements])), cancellation: TestContext.Current.CancellationToken);
        return folder;
    }
}
