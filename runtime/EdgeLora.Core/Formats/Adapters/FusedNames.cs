namespace EdgeLora.Core;

/// <summary>How one module of an original checkpoint stands in diffusers.</summary>
internal enum FusedKind
{
    /// <summary>One module, the same rows.</summary>
    Plain,
    /// <summary>Equal parts of the outputs: q, k, v.</summary>
    Equal,
    /// <summary>q, k and v of as many outputs as there are inputs; what remains is the last part.</summary>
    InputSized,
    /// <summary>One module whose two halves are exchanged: shift and scale of the last modulation.</summary>
    Swapped,
    /// <summary>As <see cref="Swapped"/> where the outputs are twice the inputs (SD3's last block), else <see cref="Plain"/>.</summary>
    SwappedIfDouble,
}

/// <summary>One module of the original and the modules of diffusers that it holds, in the order of its rows.</summary>
/// <param name="Original">Template of the original's name.</param>
/// <param name="Diffusers">Templates of diffusers' names, with the same running numbers.</param>
/// <param name="Kind">How the rows are shared out.</param>
internal sealed record FusedRule(string Original, string[] Diffusers, FusedKind Kind = FusedKind.Plain);

/// <summary>Names of the transformers of Flux and SD3, which kohya keeps as their authors gave them. Sources: kohya-ss/sd-scripts networks/convert_flux_lora.py; huggingface/diffusers loaders/lora_conversion_utils.py, scripts/convert_sd3_to_diffusers.py.</summary>
internal sealed class FusedNames
{
    private readonly Dictionary<string, FusedRule> _byOriginal = [];
    private readonly Dictionary<string, (FusedRule Rule, int Part)> _byDiffusers = [];
    private readonly ModuleTemplates _originals, _diffusers;

    private FusedNames(params FusedRule[] rules)
    {
        foreach (FusedRule rule in rules)
        {
            _byOriginal.Add(rule.Original, rule);
            for (int i = 0; i < rule.Diffusers.Length; i++)
                _byDiffusers.Add(rule.Diffusers[i], (rule, i));
        }
        _originals = new([.. _byOriginal.Keys]);
        _diffusers = new([.. _byDiffusers.Keys]);
    }

    /// <summary>Black Forest Labs' Flux.</summary>
    public static FusedNames Flux { get; } = new(
        new("double_blocks.#.img_attn.qkv", ["transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k", "transformer_blocks.#.attn.to_v"], FusedKind.Equal),
        new("double_blocks.#.img_attn.proj", ["transformer_blocks.#.attn.to_out.0"]),
        new("double_blocks.#.img_mlp.0", ["transformer_blocks.#.ff.net.0.proj"]),
        new("double_blocks.#.img_mlp.2", ["transformer_blocks.#.ff.net.2"]),
        new("double_blocks.#.img_mod.lin", ["transformer_blocks.#.norm1.linear"]),
        new("double_blocks.#.txt_attn.qkv", ["transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj", "transformer_blocks.#.attn.add_v_proj"], FusedKind.Equal),
        new("double_blocks.#.txt_attn.proj", ["transformer_blocks.#.attn.to_add_out"]),
        new("double_blocks.#.txt_mlp.0", ["transformer_blocks.#.ff_context.net.0.proj"]),
        new("double_blocks.#.txt_mlp.2", ["transformer_blocks.#.ff_context.net.2"]),
        new("double_blocks.#.txt_mod.lin", ["transformer_blocks.#.norm1_context.linear"]),
        new("single_blocks.#.linear1",
            ["single_transformer_blocks.#.attn.to_q", "single_transformer_blocks.#.attn.to_k", "single_transformer_blocks.#.attn.to_v", "single_transformer_blocks.#.proj_mlp"], FusedKind.InputSized),
        new("single_blocks.#.linear2", ["single_transformer_blocks.#.proj_out"]),
        new("single_blocks.#.modulation.lin", ["single_transformer_blocks.#.norm.linear"]),
        new("img_in", ["x_embedder"]),
        new("txt_in", ["context_embedder"]),
        new("time_in.in_layer", ["time_text_embed.timestep_embedder.linear_1"]),
        new("time_in.out_layer", ["time_text_embed.timestep_embedder.linear_2"]),
        new("vector_in.in_layer", ["time_text_embed.text_embedder.linear_1"]),
        new("vector_in.out_layer", ["time_text_embed.text_embedder.linear_2"]),
        new("guidance_in.in_layer", ["time_text_embed.guidance_embedder.linear_1"]),
        new("guidance_in.out_layer", ["time_text_embed.guidance_embedder.linear_2"]),
        new("final_layer.linear", ["proj_out"]),
        new("final_layer.adaLN_modulation.1", ["norm_out.linear"], FusedKind.Swapped));

    /// <summary>Stability's SD3 and SD3.5.</summary>
    public static FusedNames Sd3 { get; } = new(
        new("joint_blocks.#.x_block.attn.qkv", ["transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k", "transformer_blocks.#.attn.to_v"], FusedKind.Equal),
        new("joint_blocks.#.x_block.attn.proj", ["transformer_blocks.#.attn.to_out.0"]),
        new("joint_blocks.#.x_block.attn2.qkv", ["transformer_blocks.#.attn2.to_q", "transformer_blocks.#.attn2.to_k", "transformer_blocks.#.attn2.to_v"], FusedKind.Equal),
        new("joint_blocks.#.x_block.attn2.proj", ["transformer_blocks.#.attn2.to_out.0"]),
        new("joint_blocks.#.x_block.mlp.fc1", ["transformer_blocks.#.ff.net.0.proj"]),
        new("joint_blocks.#.x_block.mlp.fc2", ["transformer_blocks.#.ff.net.2"]),
        new("joint_blocks.#.x_block.adaLN_modulation.1", ["transformer_blocks.#.norm1.linear"]),
        new("joint_blocks.#.context_block.attn.qkv", ["transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj", "transformer_blocks.#.attn.add_v_proj"], FusedKind.Equal),
        new("joint_blocks.#.context_block.attn.proj", ["transformer_blocks.#.attn.to_add_out"]),
        new("joint_blocks.#.context_block.mlp.fc1", ["transformer_blocks.#.ff_context.net.0.proj"]),
        new("joint_blocks.#.context_block.mlp.fc2", ["transformer_blocks.#.ff_context.net.2"]),
        new("joint_blocks.#.context_block.adaLN_modulation.1", ["transformer_blocks.#.norm1_context.linear"], FusedKind.SwappedIfDouble),
        new("x_embedder.proj", ["pos_embed.proj"]),
        new("context_embedder", ["context_embedder"]),
        new("t_embedder.mlp.0", ["time_text_embed.timestep_embedder.linear_1"]),
        new("t_embedder.mlp.2", ["time_text_embed.timestep_embedder.linear_2"]),
        new("y_embedder.mlp.0", ["time_text_embed.text_embedder.linear_1"]),
        new("y_embedder.mlp.2", ["time_text_embed.text_embedder.linear_2"]),
        new("final_layer.linear", ["proj_out"]),
        new("final_layer.adaLN_modulation.1", ["norm_out.linear"], FusedKind.Swapped));

    /// <summary>Rule and running numbers of an original name with dots or underscores; null for a foreign one.</summary>
    public (FusedRule Rule, int[] Numbers)? Find(string name) => _originals.Match(name) is var (template, numbers) ? (_byOriginal[template], numbers) : null;

    /// <summary>Rule, place in it and running numbers of diffusers' dotted name; null for a foreign one.</summary>
    public (FusedRule Rule, int Part, int[] Numbers)? FindDiffusers(string name) =>
        _diffusers.Match(name) is var (template, numbers) && ModuleTemplates.Fill(template, numbers) == name ? (_byDiffusers[template].Rule, _byDiffusers[template].Part, numbers) : null;

    /// <summary>diffusers' dotted name of a name with dots or underscores; null for a foreign one.</summary>
    public string? Dotted(string name) => _diffusers.Dotted(name);
}
