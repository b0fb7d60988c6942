namespace EdgeLora.Core;

/// <summary>
/// Module names of kohya's files: a prefix for the component and the module's path with underscores for dots. SDXL's UNet, SD3 and Flux go by their authors' names, everything else by diffusers'.
/// Sources: kohya-ss/sd-scripts networks/lora.py, lora_sd3.py, lora_flux.py.
/// </summary>
/// <param name="modules">The base's own module names (a UNet's, a transformer's or a text encoder's), which then decide; null: the structures of the known models do.</param>
internal sealed class KohyaNames(IReadOnlyList<string>? modules)
{
    /// <summary>Metadata that keeps a family which modules do not show.</summary>
    public const string FamilyKey = "kohya.family";

    // What sd-scripts writes about the base, and the key above.
    private static readonly string[] s_told = [FamilyKey, "ss_base_model_version", "modelspec.architecture"];

    private static readonly (string Start, DiffusionFamily Family)[] s_versions =
        [("sdxl", DiffusionFamily.Xl), ("stable-diffusion-xl", DiffusionFamily.Xl), ("flux", DiffusionFamily.Flux), ("sd3", DiffusionFamily.Sd3), ("stable-diffusion-3", DiffusionFamily.Sd3)];

    private static readonly (string Prefix, string Component)[] s_prefixes =
        [("lora_unet_", "unet"), ("lora_transformer_", "transformer"), ("lora_te_", "text_encoder"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2"), ("lora_te3_", "text_encoder_3")];

    // Blocks of Stability's own UNet.
    private static readonly string[] s_sgm = ["lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_", "lora_unet_time_embed_", "lora_unet_label_emb_"];

    private readonly Dictionary<string, string?>? _given = modules is null ? null : Index(modules);
    private readonly HashSet<string> _names = [.. modules ?? []];
    private readonly bool _givenIsText = modules is not null && modules.Any(m => m.StartsWith("text_model.", StringComparison.Ordinal) || m.StartsWith("encoder.block.", StringComparison.Ordinal));

    /// <summary>Whether a tensor's name begins as kohya's do.</summary>
    public static bool IsKohya(string name) => Array.Exists(s_prefixes, p => name.StartsWith(p.Prefix, StringComparison.Ordinal));

    /// <summary>SD3 where its blocks are among the names, Flux where its are, else the UNets.</summary>
    public static DiffusionFamily FamilyOfKeys(IEnumerable<string> keys)
    {
        DiffusionFamily family = DiffusionFamily.Sd;
        foreach (string key in keys)
            if (key.StartsWith("lora_unet_joint_blocks_", StringComparison.Ordinal))
                return DiffusionFamily.Sd3;
            else if (key.StartsWith("lora_unet_double_blocks_", StringComparison.Ordinal) || key.StartsWith("lora_unet_single_blocks_", StringComparison.Ordinal)
                || key.StartsWith("lora_transformer_single_transformer_blocks_", StringComparison.Ordinal))
                family = DiffusionFamily.Flux;
        return family;
    }

    /// <summary>What is to be kept beside an adapter that was read from <paramref name="keys"/>, so that the same keys are written again; null: its modules and metadata show it.</summary>
    public string? Kept(IReadOnlyCollection<string> keys, IReadOnlyCollection<string> modules, IReadOnlyDictionary<string, string> metadata)
    {
        DiffusionFamily family = FamilyOfKeys(keys);
        if (family == DiffusionFamily.Sd && keys.Any(k => k.StartsWith("lora_te1_", StringComparison.Ordinal) || s_sgm.Any(s => k.StartsWith(s, StringComparison.Ordinal))))
            family = DiffusionFamily.Xl;
        return family == DiffusionFamily.Sd || FamilyOf(modules, metadata) == family ? null : Array.Find(s_versions, v => v.Family == family && !v.Start.Contains('-')).Start;
    }

    /// <summary>The family that an adapter's modules are of, or that its metadata tells; null where transformer blocks alone do not tell Flux from SD3.</summary>
    public DiffusionFamily? FamilyOf(IReadOnlyCollection<string> names, IReadOnlyDictionary<string, string> metadata)
    {
        DiffusionFamily? told = s_told.Select(k => metadata.TryGetValue(k, out string? value) ? s_versions.FirstOrDefault(v => value.StartsWith(v.Start, StringComparison.OrdinalIgnoreCase)) : default)
            .Where(v => v.Start is not null).Select(v => (DiffusionFamily?)v.Family).FirstOrDefault();
        bool Any(Func<string, bool> holds) => names.Any(holds) || modules is not null && !_givenIsText && modules.Select(m => "transformer." + m).Any(holds);
        if (names.Any(n => n.StartsWith("transformer.", StringComparison.Ordinal)))
            return Any(n => n.StartsWith("transformer.single_transformer_blocks.", StringComparison.Ordinal) || n.Contains(".guidance_embedder.", StringComparison.Ordinal)) ? DiffusionFamily.Flux
                : Any(n => n.Contains(".attn2.", StringComparison.Ordinal) || n.StartsWith("transformer.pos_embed.", StringComparison.Ordinal) || n.StartsWith("text_encoder_3.", StringComparison.Ordinal))
                    ? DiffusionFamily.Sd3 : told is DiffusionFamily.Flux or DiffusionFamily.Sd3 ? told : null;
        bool xl = names.Any(n => n.StartsWith("text_encoder_2.", StringComparison.Ordinal) || n.StartsWith("unet.add_embedding.", StringComparison.Ordinal)
            || n.StartsWith("unet.", StringComparison.Ordinal) && n.IndexOf(".transformer_blocks.", StringComparison.Ordinal) is int at and > 0 && n[at + ".transformer_blocks.".Length] != '0');
        return xl || told == DiffusionFamily.Xl ? DiffusionFamily.Xl : DiffusionFamily.Sd;
    }

    /// <summary>What a key stands for: a rule and names of diffusers with the component in front. Null with a reason for a key that is none.</summary>
    public (FusedRule Rule, string[] Modules)? Find(string key, DiffusionFamily family, out string? fault)
    {
        fault = null;
        (string prefix, string component) = Array.Find(s_prefixes, p => key.StartsWith(p.Prefix, StringComparison.Ordinal));
        if (prefix is null)
        {
            fault = $"{key}: expected a name that begins with {string.Join(", ", s_prefixes.Select(p => p.Prefix))}";
            return null;
        }
        string name = key[prefix.Length..];
        bool text = component.StartsWith("text", StringComparison.Ordinal);
        // Flux's T5 is its second encoder in diffusers.
        if (component == "text_encoder_3" && family == DiffusionFamily.Flux)
            component = "text_encoder_2";
        if (!text && prefix == "lora_unet_" && family is DiffusionFamily.Flux or DiffusionFamily.Sd3)
        {
            if ((family == DiffusionFamily.Flux ? FusedNames.Flux : FusedNames.Sd3).Find(name) is var (rule, numbers))
                return Checked(key, rule, [.. rule.Diffusers.Select(d => ModuleTemplates.Fill(d, numbers))], "transformer", ref fault);
        }
        else if (_given is not null && text == _givenIsText && _given.TryGetValue(name, out string? given))
        {
            if (given is not null)
                return (new(name, [given]), [$"{component}.{given}"]);
            fault = $"{key}: several modules of the base are this name with underscores";
            return null;
        }
        else if (Structured(name, component, text) is { } dotted)
            return Checked(key, new(name, [dotted]), [dotted], component, ref fault);
        fault = _given is not null && text == _givenIsText
            ? $"{key}: the base has no such module"
            : $"{key}: is no module of Stable Diffusion 1, 2, XL, SD3 or Flux; dots cannot be guessed back from underscores: name the base's modules with --base";
        return null;
    }

    /// <summary>kohya's key for a module of diffusers that stands alone; null with a reason where the family has none.</summary>
    public string? KeyOf(string module, DiffusionFamily family, out string? fault)
    {
        (string component, string name) = DiffusionSites.Split(module)!.Value;
        string? key = component switch
        {
            "unet" => family == DiffusionFamily.Xl ? DiffusionNames.ToSgm(name) is { } sgm ? "lora_unet_" + Underscored(sgm) : null : "lora_unet_" + Underscored(name),
            "text_encoder" => (family == DiffusionFamily.Sd ? "lora_te_" : "lora_te1_") + Underscored(name),
            "text_encoder_2" => (family == DiffusionFamily.Flux ? "lora_te3_" : "lora_te2_") + Underscored(name),
            "text_encoder_3" => "lora_te3_" + Underscored(name),
            _ => null,
        };
        fault = null;
        // What is written must be what is read again.
        if (key is not null && Find(key, family, out _) is var (_, found) && found is [string only] && only == module)
            return key;
        fault = key is null ? $"{module}: kohya's names have no place for it" : $"{module}: could not be told again from {key}; name the base's modules with --base";
        return null;
    }

    private static string? Structured(string name, string component, bool text) =>
        text ? DiffusionNames.Clip.Dotted(name) ?? DiffusionNames.T5.Dotted(name)
        : component == "transformer" ? FusedNames.Flux.Dotted(name) ?? FusedNames.Sd3.Dotted(name)
        : DiffusionNames.Unet.Dotted(name) ?? (DiffusionNames.Sgm.Dotted(name) is { } sgm ? DiffusionNames.FromSgm(sgm) : null);

    private (FusedRule, string[])? Checked(string key, FusedRule rule, string[] names, string component, ref string? fault)
    {
        if (modules is not null && component.StartsWith("text", StringComparison.Ordinal) == _givenIsText && names.FirstOrDefault(n => !_names.Contains(n)) is { } absent)
        {
            fault = $"{key}: the base has no module {absent}";
            return null;
        }
        return (rule, [.. names.Select(n => $"{component}.{n}")]);
    }

    private static Dictionary<string, string?> Index(IReadOnlyList<string> modules)
    {
        Dictionary<string, string?> index = new(StringComparer.Ordinal);
        foreach (string module in modules.Distinct())
            if (!index.TryAdd(Underscored(module), module))
                index[Underscored(module)] = null;
        return index;
    }

    private static string Underscored(string name) => name.Replace('.', '_');
}
