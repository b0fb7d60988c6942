using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>LoRA files of Stable Diffusion: kohya, diffusers of all ages, cloneofsimo. Deltas of ../shared/fixtures/conversions/diffusion_names (scripts/conversions.py), real files of ../shared/data/lora-adapters.</summary>
public sealed class DiffusionFormatTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-diffusion-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("kohya", 8)]
    [InlineData("diffusers", 8)]
    [InlineData("old_processor", 3)]
    public void Every_spelling_gives_the_same_deltas(string file, int sites)
    {
        using PeftAdapter adapter = AdapterFormats.Read(Fixture(file));
        using TensorFile expected = Safetensors.Open(Fixture("deltas"));
        Assert.Equal(sites, adapter.Modules.Count);
        Assert.All(adapter.Modules.Keys, m => Close(expected.Tensors[m].ToFloats(), DiffusionFiles.Delta(adapter, m)));
    }

    [Theory]
    [InlineData("locon_tucker", "unet.down_blocks.0.resnets.0.conv1", 4, "[4, 12, 3, 3]")]
    [InlineData("loha", "unet.mid_block.attentions.0.proj_in", 16, "[16, 12]")]
    [InlineData("lokr_full", "unet.mid_block.attentions.0.proj_in", 12, "[12, 12]")]
    [InlineData("lokr_split", "unet.mid_block.attentions.0.proj_in", 6, "[6, 12]")]
    public void Tucker_LoHa_and_LoKr_are_pairs_of_their_exact_rank(string file, string module, int rank, string shape)
    {
        using PeftAdapter adapter = AdapterFormats.Read(Fixture(file));
        using TensorFile expected = Safetensors.Open(Fixture(file + ".delta"));
        Assert.Equal([module], adapter.Modules.Keys);
        Tensor a = adapter.Modules[module][PeftPart.A]!;
        Assert.Equal((rank, shape), (adapter.Config.RankOf(module), a.Shape.ToString()));
        Close(expected.Tensors.Values.Single().ToFloats(), DiffusionFiles.Delta(adapter, module));
    }

    [Fact]
    public void A_scale_that_is_a_power_of_two_becomes_diffusers_own_bits()
    {
        string made = At("made.safetensors");
        DiffusionFiles.Convert(Fixture("kohya"), made, "diffusers");
        Assert.Equal(DiffusionFiles.Contents(Fixture("diffusers")), DiffusionFiles.Contents(made));
    }

    [Theory]
    [InlineData("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 1)]
    [InlineData("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 1)]
    [InlineData("lora_unet_double_blocks_0_img_attn_qkv", 3)]
    [InlineData("lora_unet_joint_blocks_0_x_block_attn_qkv", 3)]
    [InlineData("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 1)]
    [InlineData("lora_unet_down_blocks_1_attentions_1_transformer_blocks_0_attn1_to_q", 1)]
    public void A_site_that_several_families_have_keeps_its_key(string key, int parts)
    {
        string file = At("family.safetensors"), there = At("family.elora"), back = At("back.safetensors");
        DiffusionFiles.Write(file, 4, (key + ".lora_down.weight", [2, 6]), (key + ".lora_up.weight", [6 * parts, 2]));
        DiffusionFiles.Convert(file, there, "elora");
        DiffusionFiles.Convert(there, back, "kohya");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back).Where(t => !t.Item1.EndsWith(".alpha", StringComparison.Ordinal)));
        using TensorFile written = Safetensors.Open(back);
        Assert.DoesNotContain("kohya.family", written.Metadata.Keys);
    }

    [Fact]
    public void What_training_said_of_the_base_names_the_family()
    {
        string file = At("told.safetensors"), back = At("back.safetensors");
        Random random = new(3);
        const string Module = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q";
        Safetensors.Write(file, [DiffusionFiles.Random(Module + ".lora_A.weight", random, 2, 6), DiffusionFiles.Random(Module + ".lora_B.weight", random, 6, 2)], new Dictionary<string, string> { ["ss_base_model_version"] = "sdxl_base_v1-0" });
        DiffusionFiles.Convert(file, back, "kohya");
        Assert.Contains("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight", DiffusionFiles.Contents(back).Select(t => t.Item1));
    }

    [Theory]
    [InlineData("diffusers_metadata")]
    [InlineData("peft")]
    [InlineData("elora")]
    public void A_kohya_file_comes_back_byte_for_byte(string through)
    {
        foreach (string file in new[] { Fixture("kohya"), SharedFolder.Require("fixtures/diffusion/lora/attention/kohya.safetensors"), SharedFolder.Require("fixtures/diffusion/lora/conv/kohya.safetensors") })
        {
            string there = At(Guid.NewGuid() + (through == "peft" ? "" : through == "elora" ? ".elora" : ".safetensors")), back = At("back.safetensors");
            DiffusionFiles.Convert(file, there, through);
            DiffusionFiles.Convert(there, back, "kohya");
            Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
            if (through == "diffusers_metadata")
                using (TensorFile first = Safetensors.Open(file), last = Safetensors.Open(back))
                    Assert.Equal(first.Metadata, last.Metadata);
        }
    }

    [Theory]
    [InlineData("attention")]
    [InlineData("conv")]
    public void kohya_and_diffusers_files_of_one_adapter_agree_with_and_without_the_base(string name)
    {
        string folder = SharedFolder.Require("fixtures/diffusion/lora/" + name);
        using TensorFile unet = Safetensors.Open(SharedFolder.Require("fixtures/diffusion/unet"));
        string[] modules = [.. unet.Tensors.Keys.Where(n => n.EndsWith(".weight", StringComparison.Ordinal)).Select(n => n[..^7])];
        using PeftAdapter diffusers = AdapterFormats.Read(Path.Combine(folder, "diffusers.safetensors"));
        foreach (AdapterOptions options in new[] { AdapterOptions.None, new AdapterOptions { Modules = modules } })
        {
            using PeftAdapter kohya = AdapterFormats.Read(Path.Combine(folder, "kohya.safetensors"), options);
            Assert.Equal(diffusers.Modules.Keys, kohya.Modules.Keys);
            Assert.All(kohya.Modules.Keys, m => Assert.Equal(DiffusionFiles.Delta(diffusers, m), DiffusionFiles.Delta(kohya, m)));
        }
    }

    [Fact]
    public void A_real_diffusers_file_goes_to_kohya_and_back_with_the_same_bits()
    {
        string file = SharedFolder.Require("data/lora-adapters/sd15-pokemon-diffusers/pytorch_lora_weights.safetensors"), kohya = At("k.safetensors"), back = At("b.safetensors");
        DiffusionFiles.Convert(file, kohya, "kohya");
        DiffusionFiles.Convert(kohya, back, "diffusers");
        Assert.Equal(DiffusionFiles.Contents(file).Select(t => (t.Item1.Replace(".lora.down.", ".lora_A.").Replace(".lora.up.", ".lora_B."), t.Item2, t.Item3, t.Item4)), DiffusionFiles.Contents(back));
        using TensorFile written = Safetensors.Open(kohya);
        Assert.Equal(4f, written.Tensors["lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_out_0.alpha"].ToFloats()[0]);
    }

    [Fact]
    public void A_real_cloneofsimo_file_is_named_by_its_order_and_comes_back()
    {
        string file = SharedFolder.Require("data/lora-adapters/sd15-cloneofsimo/analog_svd_rank4.safetensors"), kohya = At("k.safetensors"), back = At("b.safetensors");
        using (PeftAdapter adapter = AdapterFormats.Read(file))
        {
            Assert.Equal(192, adapter.Modules.Count);
            // GEGLU stood between the attentions; the text's width tells attn2's keys.
            Assert.Equal("[2560, 4]", adapter.Modules["unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"][PeftPart.B]!.Shape.ToString());
            Assert.Equal("[4, 768]", adapter.Modules["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"][PeftPart.A]!.Shape.ToString());
        }
        DiffusionFiles.Convert(file, kohya, "kohya");
        DiffusionFiles.Convert(kohya, back, "cloneofsimo");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
        using TensorFile first = Safetensors.Open(file), last = Safetensors.Open(back);
        Assert.Equal(first.Metadata.Where(m => m.Key.Contains(':')).ToDictionary(), last.Metadata.Where(m => m.Key.Contains(':')).ToDictionary());
    }

    [Fact]
    public void Textual_inversion_embeddings_are_never_dropped_unasked()
    {
        string file = SharedFolder.Require("data/lora-adapters/sd15-cloneofsimo/lora_disney_rank1.safetensors");
        ModelFileException e = Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file));
        Assert.Contains("<s1>: a textual-inversion embedding [768]", e.Message);
        Assert.Contains("<s2>", e.Message);
        using PeftAdapter adapter = AdapterFormats.Read(file, new AdapterOptions { WithoutEmbeddings = true });
        Assert.Equal(192, adapter.Modules.Count);
    }

    [Fact]
    public void Magnitudes_travel_between_kohya_and_diffusers()
    {
        string file = At("d.safetensors"), there = At("there.safetensors"), back = At("back.safetensors");
        DiffusionFiles.Write(file, 5, ("lora_unet_conv_in.lora_down.weight", [2, 4, 3, 3]), ("lora_unet_conv_in.lora_up.weight", [8, 2, 1, 1]), ("lora_unet_conv_in.dora_scale", [8, 1, 1, 1]), ("lora_unet_conv_in.alpha", []));
        DiffusionFiles.Convert(file, there, "diffusers_metadata");
        DiffusionFiles.Convert(there, back, "kohya");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
        using PeftAdapter adapter = AdapterFormats.Read(there);
        Assert.True(adapter.Config.UseDora);
    }

    [Fact]
    public void A_name_that_another_ends_in_keeps_its_own_alpha()
    {
        string file = At("ends.safetensors"), back = At("back.safetensors");
        Random random = new(3);
        Safetensors.Write(file, [.. new[] { ("transformer.proj_out", 3f), ("transformer.single_transformer_blocks.0.proj_out", 2f), ("transformer.single_transformer_blocks.1.proj_out", 2f) }.SelectMany(t => new[]
        {
            DiffusionFiles.Random(t.Item1 + ".lora_A.weight", random, 2, 4), DiffusionFiles.Random(t.Item1 + ".lora_B.weight", random, 4, 2), Tensor.FromFloats(t.Item1 + ".alpha", new Shape(), [t.Item2]),
        })]);
        DiffusionFiles.Convert(file, back, "diffusers_metadata");
        using PeftAdapter first = AdapterFormats.Read(file), last = AdapterFormats.Read(back);
        Assert.Equal(1.5, last.Config.ScaleOf("transformer.proj_out", 2));
        Assert.All(first.Modules.Keys, m => Assert.Equal(DiffusionFiles.Delta(first, m), DiffusionFiles.Delta(last, m)));
    }

    [Fact]
    public void An_inexact_scale_is_folded_only_when_asked_for()
    {
        string file = At("third.safetensors"), to = At("to.safetensors");
        Random random = new(3);
        Safetensors.Write(file, [DiffusionFiles.Random("lora_unet_conv_in.lora_down.weight", random, 3, 4, 3, 3), DiffusionFiles.Random("lora_unet_conv_in.lora_up.weight", random, 8, 3, 1, 1),
            Tensor.FromFloats("lora_unet_conv_in.alpha", new Shape(), [1f])]);
        ModelFileException e = Assert.Throws<ModelFileException>(() => DiffusionFiles.Convert(file, to, "diffusers"));
        Assert.Contains("unet.conv_in: scale 0.3333333333333333 has no place in a diffusers file", e.Message);
        Assert.False(File.Exists(to));
        DiffusionFiles.Convert(file, to, "diffusers", new AdapterOptions { Fold = true });
        using PeftAdapter exact = AdapterFormats.Read(file), folded = AdapterFormats.Read(to);
        Close([.. DiffusionFiles.Delta(exact, "unet.conv_in").Select(x => (float)x)], DiffusionFiles.Delta(folded, "unet.conv_in"));
    }

    [Theory]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.diff", "a whole difference of a weight")]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.oft_blocks", "OFT turns the base's weight")]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.a1.weight", "GLoRA needs the base's weight")]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.w_norm", "a trained norm")]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", "lora_down.weight: is missing")]
    [InlineData("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "hada_w1_b: is missing")]
    [InlineData("lora_unet_mid_block_attentions_0_somewhere.lora_down.weight", "dots cannot be guessed back from underscores")]
    [InlineData("bundle_emb.word.string_to_param.*", "a textual-inversion embedding")]
    public void What_a_kohya_file_holds_beside_pairs_is_refused_by_name(string tensor, string reason)
    {
        string file = At("refused.safetensors");
        DiffusionFiles.Write(file, 1, (tensor, [4, 4]), ("lora_unet_conv_in.lora_down.weight", [2, 4, 3, 3]), ("lora_unet_conv_in.lora_up.weight", [8, 2, 1, 1]));
        ModelFileException e = Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file));
        Assert.Contains(tensor.Split('.')[0], e.Message);
        Assert.Contains(reason, e.Message);
    }

    [Fact]
    public void A_small_file_that_asks_for_a_huge_product_is_refused()
    {
        string file = At("huge.safetensors");
        DiffusionFiles.Write(file, 1, ("lora_unet_conv_in.lokr_w1", [300, 300]), ("lora_unet_conv_in.lokr_w2", [300, 300]));
        Assert.Contains("lora_unet_conv_in: its product is [90000, 90000]·[90000, 90000], more than is read here", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file)).Message);
    }

    [Theory]
    [InlineData("lora_unet_input_blocks_0_1_proj_in")]
    [InlineData("lora_unet_input_blocks_3_0_in_layers_2")]
    public void Blocks_that_SDXL_does_not_have_are_refused(string key)
    {
        string file = At("none.safetensors");
        DiffusionFiles.Write(file, 1, (key + ".lora_down.weight", [2, 4]), (key + ".lora_up.weight", [4, 2]));
        Assert.Contains(key, Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file)).Message);
    }

    [Fact]
    public void Magnitudes_of_inputs_are_refused()
    {
        string file = At("in.safetensors");
        DiffusionFiles.Write(file, 1, ("lora_unet_conv_in.lora_down.weight", [2, 4, 3, 3]), ("lora_unet_conv_in.lora_up.weight", [8, 2, 1, 1]), ("lora_unet_conv_in.dora_scale", [1, 4, 1, 1]));
        Assert.Contains("lora_unet_conv_in.dora_scale: expected [outputs, 1], found [1, 4, 1, 1]", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file)).Message);
    }

    [Theory]
    [InlineData("llama-qv", "kohya", "model.layers.0.self_attn.q_proj: is no module of a diffusion pipeline")]
    [InlineData("llama-qv", "diffusers", "model.layers.0.self_attn.q_proj: is no module of a diffusion pipeline")]
    [InlineData("llama-qv", "cloneofsimo", "model.layers.0.self_attn.q_proj: is no module of a diffusion pipeline")]
    [InlineData("gpt2-attn", "diffusers", "transformer.h.0.attn.c_attn: is no module of a diffusion pipeline")]
    [InlineData("gpt2-attn", "diffusers_metadata", "transformer.h.0.attn.c_attn: is no module of a diffusion pipeline")]
    public void A_language_model_s_adapter_has_no_name_in_them(string adapter, string format, string reason)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + adapter);
        Assert.Contains(reason, Assert.Throws<ModelFileException>(() => DiffusionFiles.Convert(folder, At("no.safetensors"), format)).Message);
    }

    [Fact]
    public void A_cloneofsimo_file_needs_every_module_of_its_classes()
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => DiffusionFiles.Convert(Fixture("old_processor"), At("no.safetensors"), "cloneofsimo"));
        Assert.Contains("unet: a cloneofsimo file numbers all modules of CrossAttention, Attention, GEGLU or", e.Message);
        Assert.Contains("is missing", e.Message);
    }

    private static string Fixture(string name) => SharedFolder.Require($"fixtures/conversions/diffusion_names/{name}.safetensors");

    private static void Close(float[] expected, double[] found)
    {
        Assert.Equal(expected.Length, found.Length);
        Assert.True(expected.Zip(found, (a, b) => Math.Abs(a - b)).Max() <= 1e-7, $"largest difference {expected.Zip(found, (a, b) => Math.Abs(a - b)).Max():g3}");
    }

    private string At(string name) => Path.Combine(_folder, name);
}
