using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Module names of diffusion models with underscores for dots, SDXL's block names, and the fused modules of Flux and SD3.</summary>
public sealed class DiffusionNameTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-names-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("input_blocks_4_1_transformer_blocks_0_attn1_to_q", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q")]
    [InlineData("input_blocks_8_1_transformer_blocks_9_ff_net_0_proj", "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj")]
    [InlineData("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv")]
    [InlineData("input_blocks_7_0_in_layers_2", "down_blocks.2.resnets.0.conv1")]
    [InlineData("input_blocks_7_0_skip_connection", "down_blocks.2.resnets.0.conv_shortcut")]
    [InlineData("input_blocks_1_0_emb_layers_1", "down_blocks.0.resnets.0.time_emb_proj")]
    [InlineData("middle_block_1_proj_out", "mid_block.attentions.0.proj_out")]
    [InlineData("middle_block_2_out_layers_3", "mid_block.resnets.1.conv2")]
    [InlineData("output_blocks_2_1_transformer_blocks_3_attn2_to_out_0", "up_blocks.0.attentions.2.transformer_blocks.3.attn2.to_out.0")]
    [InlineData("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv")]
    [InlineData("output_blocks_8_0_in_layers_2", "up_blocks.2.resnets.2.conv1")]
    [InlineData("input_blocks_0_0", "conv_in")]
    [InlineData("out_2", "conv_out")]
    [InlineData("time_embed_2", "time_embedding.linear_2")]
    [InlineData("label_emb_0_0", "add_embedding.linear_1")]
    public void SDXL_s_block_names_are_diffusers_and_back(string sgm, string diffusers)
    {
        string file = At("sgm.safetensors"), back = At("back.safetensors"), te = "lora_te2_text_model_encoder_layers_31_mlp_fc1";
        DiffusionFiles.Write(file, 1, ($"lora_unet_{sgm}.lora_down.weight", [2, 8]), ($"lora_unet_{sgm}.lora_up.weight", [8, 2]), ($"lora_unet_{sgm}.alpha", []),
            (te + ".lora_down.weight", [2, 8]), (te + ".lora_up.weight", [8, 2]), (te + ".alpha", []));
        using (PeftAdapter adapter = AdapterFormats.Read(file))
            Assert.Equal(["text_encoder_2.text_model.encoder.layers.31.mlp.fc1", "unet." + diffusers], adapter.Modules.Keys);
        DiffusionFiles.Convert(file, At("d.safetensors"), "diffusers_metadata");
        DiffusionFiles.Convert(At("d.safetensors"), back, "kohya");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
    }

    [Theory]
    [InlineData("lora_te_text_model_encoder_layers_0_self_attn_out_proj", "text_encoder.text_model.encoder.layers.0.self_attn.out_proj")]
    [InlineData("lora_unet_up_blocks_1_upsamplers_0_conv", "unet.up_blocks.1.upsamplers.0.conv")]
    [InlineData("lora_unet_down_blocks_10_attentions_0_transformer_blocks_0_ff_net_2", "unet.down_blocks.10.attentions.0.transformer_blocks.0.ff.net.2")]
    [InlineData("lora_unet_time_embedding_linear_1", "unet.time_embedding.linear_1")]
    [InlineData("lora_te3_encoder_block_23_layer_1_DenseReluDense_wi_0", "text_encoder_3.encoder.block.23.layer.1.DenseReluDense.wi_0")]
    public void Dots_are_told_from_underscores_by_the_model_s_structure(string key, string module)
    {
        string file = At("one.safetensors");
        DiffusionFiles.Write(file, 1, (key + ".lora_down.weight", [2, 8]), (key + ".lora_up.weight", [8, 2]));
        using PeftAdapter adapter = AdapterFormats.Read(file);
        Assert.Equal([module], adapter.Modules.Keys);
        Assert.Equal(1, adapter.Config.ScaleOf(module, 2));
    }

    [Fact]
    public void A_base_s_own_names_decide_where_they_are_given()
    {
        string file = At("own.safetensors");
        DiffusionFiles.Write(file, 1, ("lora_unet_blocks_0_my_proj.lora_down.weight", [2, 8]), ("lora_unet_blocks_0_my_proj.lora_up.weight", [8, 2]));
        Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file));
        using (PeftAdapter adapter = AdapterFormats.Read(file, new AdapterOptions { Modules = ["blocks.0.my_proj", "blocks.1.my_proj"] }))
            Assert.Equal(["unet.blocks.0.my_proj"], adapter.Modules.Keys);
        Assert.Contains("several modules of the base are this name", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file, new AdapterOptions { Modules = ["blocks.0.my_proj", "blocks.0.my.proj"] })).Message);
    }

    [Fact]
    public void A_module_that_the_base_does_not_have_is_refused()
    {
        string file = At("foreign.safetensors");
        DiffusionFiles.Write(file, 1, ("lora_unet_conv_out.lora_down.weight", [2, 8]), ("lora_unet_conv_out.lora_up.weight", [8, 2]));
        Assert.Contains("lora_unet_conv_out: the base has no module conv_out", Assert.Throws<ModelFileException>(() => AdapterFormats.Read(file, new AdapterOptions { Modules = ["conv_in"] })).Message);
    }

    [Fact]
    public void Two_templates_of_one_underscored_name_are_a_fault_of_the_list() =>
        Assert.Throws<InvalidOperationException>(() => new ModuleTemplates("a.#.b_c", "a.#.b.c"));

    [Fact]
    public void Flux_s_fused_projections_share_A_or_stand_apart_and_come_back()
    {
        const string Double = "lora_unet_double_blocks_3_img_attn_qkv", Single = "lora_unet_single_blocks_7_linear1", Final = "lora_unet_final_layer_adaLN_modulation_1";
        string file = At("flux.safetensors"), there = At("there.safetensors"), back = At("back.safetensors");
        Random random = new(9);
        // Three parts with an A of their own: B is zero outside of its blocks.
        float[] apart = DiffusionFiles.Random("", random, 12 * 6).ToFloats();
        for (int o = 0; o < 12; o++)
            for (int r = 0; r < 6; r++)
                if (o / 4 != r / 2)
                    apart[o * 6 + r] = 0;
        Safetensors.Write(file,
        [
            DiffusionFiles.Random(Double + ".lora_down.weight", random, 6, 4), Tensor.FromFloats(Double + ".lora_up.weight", new Shape(12, 6), apart), Tensor.FromFloats(Double + ".alpha", new Shape(), [3f]),
            DiffusionFiles.Random(Single + ".lora_down.weight", random, 2, 4), DiffusionFiles.Random(Single + ".lora_up.weight", random, 28, 2), Tensor.FromFloats(Single + ".alpha", new Shape(), [1f]),
            DiffusionFiles.Random(Final + ".lora_down.weight", random, 2, 4), DiffusionFiles.Random(Final + ".lora_up.weight", random, 8, 2), Tensor.FromFloats(Final + ".alpha", new Shape(), [2f]),
            DiffusionFiles.Random("lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight", random, 2, 4), DiffusionFiles.Random("lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight", random, 4, 2),
            Tensor.FromFloats("lora_te3_encoder_block_0_layer_0_SelfAttention_q.alpha", new Shape(), [2f]),
        ]);
        using (PeftAdapter adapter = AdapterFormats.Read(file))
        {
            Tensor q = adapter.Modules["transformer.transformer_blocks.3.attn.to_q"][PeftPart.A]!, v = adapter.Modules["transformer.transformer_blocks.3.attn.to_v"][PeftPart.A]!;
            Assert.Equal(("[2, 4]", "[2, 4]"), (q.Shape.ToString(), v.Shape.ToString()));
            Assert.Equal(0.5, adapter.Config.ScaleOf("transformer.transformer_blocks.3.attn.to_v", 2));
            Assert.Equal("[16, 2]", adapter.Modules["transformer.single_transformer_blocks.7.proj_mlp"][PeftPart.B]!.Shape.ToString());
            Assert.Contains("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", adapter.Modules.Keys);
            using TensorFile raw = Safetensors.Open(file);
            float[] stored = raw.Tensors[Final + ".lora_up.weight"].ToFloats();
            Assert.Equal([.. stored[8..], .. stored[..8]], adapter.Modules["transformer.norm_out.linear"][PeftPart.B]!.ToFloats());
            // Rows of the fused delta are those of its parts, one below the other.
            float[] down = raw.Tensors[Double + ".lora_down.weight"].ToFloats();
            double[] whole = [.. Enumerable.Range(0, 48).Select(i => Enumerable.Range(0, 6).Sum(r => 0.5 * apart[i / 4 * 6 + r] * down[r * 4 + i % 4]))];
            double[] parts = [.. new[] { "to_q", "to_k", "to_v" }.SelectMany(p => DiffusionFiles.Delta(adapter, "transformer.transformer_blocks.3.attn." + p))];
            Assert.True(whole.Zip(parts, (a, b) => Math.Abs(a - b)).Max() < 1e-12);
        }
        DiffusionFiles.Convert(file, there, "diffusers_metadata");
        DiffusionFiles.Convert(there, back, "kohya");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
    }

    [Fact]
    public void A_part_alone_is_joined_with_zero_rows()
    {
        string file = At("q.safetensors"), to = At("k.safetensors");
        DiffusionFiles.Write(file, 2, ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", [2, 4]), ("transformer.single_transformer_blocks.0.attn.to_k.lora_B.weight", [4, 2]));
        DiffusionFiles.Convert(file, to, "kohya");
        using TensorFile kohya = Safetensors.Open(to);
        float[] up = kohya.Tensors["lora_unet_single_blocks_0_linear1.lora_up.weight"].ToFloats();
        Assert.Equal(28 * 2, up.Length);
        Assert.All(up.Where((_, i) => i / 2 is < 4 or >= 8), x => Assert.Equal(0, x));
        using PeftAdapter part = AdapterFormats.Read(file), fused = AdapterFormats.Read(to);
        Assert.Equal(DiffusionFiles.Delta(part, "transformer.single_transformer_blocks.0.attn.to_k"), DiffusionFiles.Delta(fused, "transformer.single_transformer_blocks.0.attn.to_k"));
    }

    [Fact]
    public void SD3_s_joint_blocks_come_back_and_its_last_block_is_swapped()
    {
        const string Fused = "lora_unet_joint_blocks_2_context_block_attn_qkv", Last = "lora_unet_joint_blocks_23_context_block_adaLN_modulation_1", Attn2 = "lora_unet_joint_blocks_2_x_block_attn2_qkv";
        string file = At("sd3.safetensors"), there = At("there.safetensors"), back = At("back.safetensors");
        DiffusionFiles.Write(file, 4, (Fused + ".lora_down.weight", [2, 4]), (Fused + ".lora_up.weight", [12, 2]), (Fused + ".alpha", []), (Last + ".lora_down.weight", [2, 4]), (Last + ".lora_up.weight", [8, 2]),
            (Last + ".alpha", []), (Attn2 + ".lora_down.weight", [2, 4]), (Attn2 + ".lora_up.weight", [12, 2]), (Attn2 + ".alpha", []));
        using (PeftAdapter adapter = AdapterFormats.Read(file))
        {
            using TensorFile raw = Safetensors.Open(file);
            float[] stored = raw.Tensors[Last + ".lora_up.weight"].ToFloats();
            Assert.Equal([.. stored[8..], .. stored[..8]], adapter.Modules["transformer.transformer_blocks.23.norm1_context.linear"][PeftPart.B]!.ToFloats());
            Assert.Equal(raw.Tensors[Fused + ".lora_up.weight"].ToFloats()[8..16], adapter.Modules["transformer.transformer_blocks.2.attn.add_k_proj"][PeftPart.B]!.ToFloats());
        }
        DiffusionFiles.Convert(file, there, "diffusers_metadata");
        DiffusionFiles.Convert(there, back, "kohya");
        Assert.Equal(DiffusionFiles.Contents(file), DiffusionFiles.Contents(back));
    }

    [Fact]
    public void Transformer_blocks_that_could_be_Flux_s_or_SD3_s_are_named_by_the_base()
    {
        string file = At("t.safetensors"), to = At("k.safetensors");
        DiffusionFiles.Write(file, 2, ("transformer.transformer_blocks.0.attn.to_out.0.lora_A.weight", [2, 4]), ("transformer.transformer_blocks.0.attn.to_out.0.lora_B.weight", [4, 2]));
        Assert.Contains("name the base's modules with --base", Assert.Throws<ModelFileException>(() => DiffusionFiles.Convert(file, to, "kohya")).Message);
        DiffusionFiles.Convert(file, to, "kohya", new AdapterOptions { Modules = ["transformer_blocks.0.attn.to_out.0", "single_transformer_blocks.0.proj_out"] });
        using TensorFile kohya = Safetensors.Open(to);
        Assert.Contains("lora_unet_double_blocks_0_img_attn_proj.lora_up.weight", kohya.Tensors.Keys);
    }

    private string At(string name) => Path.Combine(_folder, name);
}
