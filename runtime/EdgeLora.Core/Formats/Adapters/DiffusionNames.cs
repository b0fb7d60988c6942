namespace EdgeLora.Core;

/// <summary>Models of the Stable Diffusion line: they decide how modules are named in kohya's files.</summary>
internal enum DiffusionFamily
{
    /// <summary>Stable Diffusion 1 and 2: diffusers' UNet names, one text encoder.</summary>
    Sd,
    /// <summary>SDXL: the UNet under Stability's block names, two text encoders.</summary>
    Xl,
    /// <summary>SD3: joint_blocks with fused q, k and v.</summary>
    Sd3,
    /// <summary>Flux: double_blocks and single_blocks with fused q, k and v.</summary>
    Flux,
}

/// <summary>
/// Module names of Stable Diffusion 1.x, 2.x and XL: diffusers' (<c>down_blocks.1.attentions.0</c>) and those of Stability's own UNet (<c>input_blocks.4.1</c>), which kohya keeps for SDXL. Both have two layers a
/// block, and a block's last input layer halves the picture. Sources: huggingface/diffusers models/unets/unet_2d_condition.py and loaders/lora_conversion_utils.py; kohya-ss/sd-scripts library/sdxl_model_util.py.
/// </summary>
internal static class DiffusionNames
{
    private const string Transformer = "{proj_in,proj_out,transformer_blocks.#.{attn1.{to_q,to_k,to_v,to_out.0},attn2.{to_q,to_k,to_v,to_out.0},ff.net.{0.proj,2}}}";
    private const string Resnet = "{in_layers.2,out_layers.3,emb_layers.1,skip_connection}";

    /// <summary>Modules of diffusers' UNet2DConditionModel and UNet2DModel that a LoRA can stand on.</summary>
    public static ModuleTemplates Unet { get; } = new(
        "conv_in", "conv_out", "time_embedding.{linear_1,linear_2,cond_proj}", "add_embedding.{linear_1,linear_2}", "class_embedding.{linear_1,linear_2}", "encoder_hid_proj",
        "{down_blocks.#,up_blocks.#,mid_block}.attentions.#." + Transformer,
        "{down_blocks.#,up_blocks.#,mid_block}.attentions.#.{to_q,to_k,to_v,to_out.0}",
        "{down_blocks.#,up_blocks.#,mid_block}.resnets.#.{conv1,conv2,conv_shortcut,time_emb_proj}",
        "down_blocks.#.downsamplers.#.conv", "up_blocks.#.upsamplers.#.conv");

    /// <summary>Modules of Stability's UNet. input_blocks.0.0 is conv_in, out.2 conv_out.</summary>
    public static ModuleTemplates Sgm { get; } = new(
        "input_blocks.0.0", "out.2", "time_embed.{0,2}", "label_emb.0.{0,2}",
        "{input_blocks,output_blocks}.#.{0." + Resnet + ",1." + Transformer + "}", "input_blocks.#.0.op", "output_blocks.#.{1,2}.conv",
        "middle_block.{0." + Resnet + ",1." + Transformer + ",2." + Resnet + "}");

    /// <summary>Modules of CLIP's text model.</summary>
    public static ModuleTemplates Clip { get; } = new(
        "text_model.encoder.layers.#.{self_attn.{q_proj,k_proj,v_proj,out_proj},mlp.{fc1,fc2}}", "text_model.embeddings.{token_embedding,position_embedding}", "text_projection");

    /// <summary>Modules of T5's encoder.</summary>
    public static ModuleTemplates T5 { get; } = new("encoder.block.#.layer.{0.SelfAttention.{q,k,v,o},1.DenseReluDense.{wi,wi_0,wi_1,wo}}");

    private static readonly (string Sgm, string Diffusers)[] s_resnet = [("in_layers.2", "conv1"), ("out_layers.3", "conv2"), ("emb_layers.1", "time_emb_proj"), ("skip_connection", "conv_shortcut")];

    private static readonly (string Sgm, string Diffusers)[] s_single =
    [
        ("input_blocks.0.0", "conv_in"), ("out.2", "conv_out"), ("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"),
    ];

    /// <summary>diffusers' name of a dotted name of Stability's UNet that <see cref="Sgm"/> has; null where that UNet has no such block.</summary>
    public static string? FromSgm(string name)
    {
        if (Array.Find(s_single, s => s.Sgm == name).Diffusers is { } single)
            return single;
        string[] parts = name.Split('.');
        if (parts[0] == "middle_block")
            return parts[1] == "1" ? $"mid_block.attentions.0.{Rest(parts, 2)}" : $"mid_block.resnets.{(parts[1] == "0" ? 0 : 1)}.{Inner(Rest(parts, 2))}";
        bool input = parts[0] == "input_blocks";
        int index = int.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture) - (input ? 1 : 0), block = index / 3, layer = index % 3;
        // A block's third input layer halves the picture and does nothing else.
        if (index < 0 || input && (layer == 2) != (parts[^1] == "op"))
            return null;
        string at = $"{(input ? "down_blocks" : "up_blocks")}.{block}", rest = Rest(parts, 3);
        return rest switch
        {
            "op" => $"{at}.downsamplers.0.conv",
            "conv" => $"{at}.upsamplers.0.conv",
            _ => parts[2] == "1" ? $"{at}.attentions.{layer}.{rest}" : $"{at}.resnets.{layer}.{Inner(rest)}",
        };
    }

    /// <summary>Stability's name of a module of diffusers' UNet; null where the structure of SDXL has none.</summary>
    public static string? ToSgm(string name)
    {
        if (Array.Find(s_single, s => s.Diffusers == name).Sgm is { } single)
            return single;
        string[] parts = name.Split('.');
        if (parts[0] == "mid_block" && parts.Length > 3)
            return parts[1] == "attentions" && parts[2] == "0" ? $"middle_block.1.{Rest(parts, 3)}"
                : parts[1] == "resnets" && parts[2] is "0" or "1" && Outer(Rest(parts, 3)) is { } inner ? $"middle_block.{(parts[2] == "0" ? 0 : 2)}.{inner}" : null;
        if (parts.Length < 5 || parts[0] is not ("down_blocks" or "up_blocks") || !int.TryParse(parts[1], out int block) || !int.TryParse(parts[3], out int layer))
            return null;
        bool down = parts[0] == "down_blocks";
        if (layer > (down ? 1 : 2))
            return null;
        string side = down ? "input_blocks" : "output_blocks";
        int first = 3 * block + (down ? 1 : 0);
        return parts[2] switch
        {
            "downsamplers" when down && layer == 0 => $"{side}.{first + 2}.0.op",
            "upsamplers" when !down && layer == 0 => $"{side}.{first + 2}.2.conv",
            "attentions" => $"{side}.{first + layer}.1.{Rest(parts, 4)}",
            "resnets" when Outer(Rest(parts, 4)) is { } inner => $"{side}.{first + layer}.0.{inner}",
            _ => null,
        };
    }

    /// <summary>Whether a module's kernel is 3×3, for files that flatten kernels.</summary>
    public static bool IsThreeByThree(string module) =>
        module.EndsWith(".conv1", StringComparison.Ordinal) || module.EndsWith(".conv2", StringComparison.Ordinal) || module.EndsWith("samplers.0.conv", StringComparison.Ordinal)
        || module.EndsWith(".conv_in", StringComparison.Ordinal) || module.EndsWith(".conv_out", StringComparison.Ordinal);

    private static string Rest(string[] parts, int from) => string.Join('.', parts[from..]);

    private static string Inner(string sgm) => s_resnet.First(r => r.Sgm == sgm).Diffusers;

    private static string? Outer(string diffusers) => Array.Find(s_resnet, r => r.Diffusers == diffusers).Sgm;
}
