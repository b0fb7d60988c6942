using System.Text.Json;
using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>
/// A PEFT adapter_config.json, as far as it decides what the numbers mean (huggingface/peft, LoraConfig). What changes the mathematics and is not
/// supported is refused by name; unknown keys pass only at a value that says nothing (null, false, empty).
/// </summary>
public sealed partial record PeftConfig
{
    // Training-time or descriptive: they say nothing about what the stored numbers mean.
    private static readonly HashSet<string> s_harmless =
    [
        "auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision", "task_type", "megatron_core", "qalora_group_size", "runtime_config",
        "loftq_config", "eva_config", "corda_config", "lora_ga_config", "layers_pattern",
    ];

    private static readonly HashSet<string> s_read =
    [
        "peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out", "bias", "lora_bias", "modules_to_save", "target_modules",
        "exclude_modules", "layers_to_transform", "layer_replication", "trainable_token_indices", "ensure_weight_tying", "init_lora_weights", "alora_invocation_tokens",
    ];

    private static readonly string[] s_plainInits = ["gaussian", "eva", "orthogonal", "lora_ga", "mica"];

    /// <summary>r: the rank where no pattern says otherwise.</summary>
    public required int Rank { get; init; }
    /// <summary>lora_alpha.</summary>
    public required double Alpha { get; init; }
    /// <summary>rank_pattern in file order.</summary>
    public required IReadOnlyList<(PeftPattern Pattern, double Value)> RankPattern { get; init; }
    /// <summary>alpha_pattern in file order: the first key that matches wins.</summary>
    public required IReadOnlyList<(PeftPattern Pattern, double Value)> AlphaPattern { get; init; }
    /// <summary>Scale alpha/√r instead of alpha/r; arXiv:2312.03732.</summary>
    public bool UseRsLora { get; init; }
    /// <summary>Weight-decomposed; arXiv:2402.09353.</summary>
    public bool UseDora { get; init; }
    /// <summary>none, all, lora_only.</summary>
    public string Bias { get; init; } = "none";
    /// <summary>B has a bias.</summary>
    public bool LoraBias { get; init; }
    /// <summary>Module names whose weights are replaced whole.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];
    /// <summary>Target names; null where <see cref="TargetPattern"/> says it.</summary>
    public IReadOnlyList<string>? TargetModules { get; init; }
    /// <summary>A regular expression over whole module names; null for a list or all-linear.</summary>
    public PeftPattern? TargetPattern { get; init; }
    /// <summary>Names or a pattern that are left out.</summary>
    public IReadOnlyList<string> ExcludeModules { get; init; } = [];
    /// <summary>Layers that are touched; null: all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }
    /// <summary>Stored layer of each layer, expanded from the ranges; null: as stored.</summary>
    public int[]? LayerReplication { get; init; }
    /// <summary>Replaced tokens by embedding module (empty key: the input embedding).</summary>
    public IReadOnlyDictionary<string, int[]> TrainableTokens { get; init; } = new Dictionary<string, int[]>();
    /// <summary>pissa, olora, or null: how the base was changed before training.</summary>
    public string? BaseChange { get; init; }
    /// <summary>aLoRA's invocation tokens, or null.</summary>
    public int[]? InvocationTokens { get; init; }
    /// <summary>base_model_name_or_path, where given.</summary>
    public string? BaseModel { get; init; }
    /// <summary>The file's text, so that nothing is lost in another container.</summary>
    public required string Json { get; init; }

    /// <summary>s for a module of rank <paramref name="rank"/>: alpha/r or alpha/√r, alpha by the first pattern that matches.</summary>
    public double ScaleOf(string module, int rank)
    {
        double alpha = First(AlphaPattern, module) ?? Alpha;
        return UseRsLora ? alpha / Math.Sqrt(rank) : alpha / rank;
    }

    /// <summary>Rank that the config promises for a module.</summary>
    public int RankOf(string module) => (int)(First(RankPattern, module) ?? Rank);

    /// <summary>Reads and checks a config. Throws <see cref="ModelFileException"/> with every fault.</summary>
    public static PeftConfig Read(string path) => Parse(path, SafeJson.ReadBytes(path));

    /// <summary>Reads and checks a config's bytes.</summary>
    public static PeftConfig Parse(string path, ReadOnlyMemory<byte> utf8)
    {
        HfConfig c = ParseNumbers(path, utf8);
        string type = c.GetString("peft_type");
        if (type != "LORA")
            throw c.Refusal("peft_type", "LORA");
        RefuseUnknown(c);
        string bias = c.GetString("bias", "none");
        if (bias is not ("none" or "all" or "lora_only"))
            throw c.Refusal("bias", "none, all or lora_only");
        (IReadOnlyList<string>? targets, PeftPattern? pattern) = Targets(c);
        double alpha = c.GetDouble("lora_alpha", -1e9, 1e9);
        return new()
        {
            Rank = c.GetInt("r", 1, 1 << 20),
            Alpha = alpha,
            RankPattern = Patterns(c, "rank_pattern", 1, 1 << 20, whole: true),
            AlphaPattern = Patterns(c, "alpha_pattern", -1e9, 1e9, whole: false),
            UseRsLora = c.GetBool("use_rslora", false),
            UseDora = c.GetBool("use_dora", false),
            Bias = bias,
            LoraBias = c.GetBool("lora_bias", false),
            ModulesToSave = c.KindOf("modules_to_save") == JsonValueKind.Array ? c.GetStrings("modules_to_save") : [],
            TargetModules = targets,
            TargetPattern = pattern,
            ExcludeModules = c.KindOf("exclude_modules") == JsonValueKind.Array ? c.GetStrings("exclude_modules") : [],
            LayersToTransform = c.KindOf("layers_to_transform") is JsonValueKind.Array or JsonValueKind.Number && c.TryGetInts("layers_to_transform", 0, 1 << 20, out IReadOnlyList<int> layers) ? layers : null,
            LayerReplication = Replication(path, utf8),
            TrainableTokens = Tokens(c),
            BaseChange = Init(c),
            InvocationTokens = c.KindOf("alora_invocation_tokens") == JsonValueKind.Array && c.TryGetInts("alora_invocation_tokens", 0, int.MaxValue, out IReadOnlyList<int> tokens) && tokens.Count > 0 ? [.. tokens] : null,
            BaseModel = c.KindOf("base_model_name_or_path") == JsonValueKind.String ? c.GetString("base_model_name_or_path") : null,
            Json = System.Text.Encoding.UTF8.GetString(utf8.Span),
        };
    }

    // Python writes NaN and Infinity, which are no JSON: say whose value it is, not just where the text breaks.
    private static HfConfig ParseNumbers(string path, ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return HfConfig.Parse(path, utf8);
        }
        catch (ModelFileException e) when (utf8.Length < 1 << 20)
        {
            Match match = NotANumber().Match(System.Text.Encoding.UTF8.GetString(utf8.Span));
            throw match.Success ? new ModelFileException(path, $"{match.Groups[1].Value}: expected a finite number, found {match.Groups[2].Value}", e) : e;
        }
    }

    [GeneratedRegex("\"([A-Za-z_]{1,64})\"\\s{0,8}:\\s{0,8}(-?(?:NaN|Infinity))", RegexOptions.CultureInvariant, 100)]
    private static partial Regex NotANumber();

    private static void RefuseUnknown(HfConfig c)
    {
        foreach (string field in c.Fields)
            if (!s_harmless.Contains(field) && !s_read.Contains(field) && SaysSomething(c, field))
                throw c.Refusal(field, "a field this reader knows, or null: it may change what the numbers mean");
    }

    private static bool SaysSomething(HfConfig c, string field) => c.KindOf(field) switch
    {
        JsonValueKind.Null or JsonValueKind.Undefined or JsonValueKind.False => false,
        JsonValueKind.Object => c.GetObject(field).Fields.Any(),
        JsonValueKind.Array => !c.TryGetStrings(field, out IReadOnlyList<string> list) || list.Count > 0,
        _ => true,
    };

    private static (IReadOnlyList<string>?, PeftPattern?) Targets(HfConfig c)
    {
        switch (c.KindOf("target_modules"))
        {
            case JsonValueKind.Null or JsonValueKind.Undefined:
                return (null, null);
            case JsonValueKind.Array:
                return (c.GetStrings("target_modules"), null);
            case JsonValueKind.String:
                string text = c.GetString("target_modules");
                return text == "all-linear" ? (null, null) : (null, Pattern(c, "target_modules", $"(?:{text})$"));
            default:
                throw c.Refusal("target_modules", "a list of names, a regular expression or all-linear");
        }
    }

    private static List<(PeftPattern, double)> Patterns(HfConfig c, string field, double min, double max, bool whole)
    {
        List<(PeftPattern, double)> patterns = [];
        if (c.KindOf(field) is JsonValueKind.Null or JsonValueKind.Undefined)
            return patterns;
        HfConfig section = c.GetObject(field);
        foreach (string key in section.Fields)
            patterns.Add((Pattern(c, field, $@"(?:.*\.)?(?:{key})$"), whole ? section.GetInt(key, (int)min, (int)max) : section.GetDouble(key, min, max)));
        return patterns;
    }

    private static PeftPattern Pattern(HfConfig c, string field, string pattern)
    {
        try
        {
            return new(pattern);
        }
        catch (ArgumentException e)
        {
            throw new ModelFileException(c.FilePath, $"{field}: expected a regular expression, found one that is broken: {e.Message}", e);
        }
    }

    private static double? First(IReadOnlyList<(PeftPattern Pattern, double Value)> patterns, string module)
    {
        foreach ((PeftPattern pattern, double value) in patterns)
            if (pattern.Matches(module))
                return value;
        return null;
    }

    private static string? Init(HfConfig c)
    {
        if (c.KindOf("init_lora_weights") != JsonValueKind.String)
            return null;
        string init = c.GetString("init_lora_weights");
        if (init == "pissa" || init.StartsWith("pissa_niter_", StringComparison.Ordinal))
            return "pissa";
        if (init == "olora")
            return "olora";
        return s_plainInits.Contains(init) ? null : throw c.Refusal("init_lora_weights", "true, false, gaussian, pissa or olora: others change the base before training");
    }

    private static Dictionary<string, int[]> Tokens(HfConfig c)
    {
        Dictionary<string, int[]> tokens = [];
        if (c.KindOf("trainable_token_indices") == JsonValueKind.Array && c.TryGetInts("trainable_token_indices", 0, int.MaxValue, out IReadOnlyList<int> list))
            tokens[""] = [.. list];
        else if (c.KindOf("trainable_token_indices") == JsonValueKind.Object)
        {
            HfConfig map = c.GetObject("trainable_token_indices");
            foreach (string module in map.Fields)
                tokens[module] = map.TryGetInts(module, 0, int.MaxValue, out IReadOnlyList<int> ids) ? [.. ids] : throw map.Refusal(module, "a list of token ids");
        }
        return tokens;
    }

    // [[0, 2], [1, 3]] means layers 0 1 1 2.
    private static int[]? Replication(string path, ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument document = SafeJson.Parse(path, utf8);
        if (!document.RootElement.TryGetProperty("layer_replication", out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return null;
        List<int> order = [];
        if (value.ValueKind == JsonValueKind.Array)
            foreach (JsonElement range in value.EnumerateArray())
            {
                if (range.ValueKind != JsonValueKind.Array || range.GetArrayLength() != 2 || !range[0].TryGetInt32(out int from) || !range[1].TryGetInt32(out int to)
                    || from < 0 || to <= from || to > 4096 || order.Count + to - from > 4096)
                    throw new ModelFileException(path, $"layer_replication: expected pairs [from, to) of layers, found {SafeJson.Excerpt(range)}");
                order.AddRange(Enumerable.Range(from, to - from));
            }
        return order.Count > 0 ? [.. order] : throw new ModelFileException(path, "layer_replication: expected a list of pairs [from, to)");
    }
}
