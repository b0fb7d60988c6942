using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// Reads adapter_config.json (peft.LoraConfig and what it inherits). Every field is known by name: it is used, or it cannot change what the adapter computes,
/// or it is refused. A field of a later version passes while it is off (null, false, empty, 0).
/// </summary>
public sealed class PeftConfigReader
{
    /// <summary>The file's name.</summary>
    public const string FileName = "adapter_config.json";

    private const int MaxRank = 1 << 16;

    // Only training or the library's bookkeeping reads these.
    private static readonly HashSet<string> s_harmless =
    [
        "auto_mapping", "inference_mode", "lora_dropout", "peft_version", "revision", "runtime_config", "megatron_core", "qalora_group_size",
        "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "init_weights",
    ];

    private static readonly Dictionary<string, string> s_refused = new()
    {
        ["megatron_config"] = "Megatron layers are not supported",
        ["use_qalora"] = "QALoRA pools the input and is not supported",
        ["use_bdlora"] = "block-diagonal LoRA is not supported",
        ["arrow_config"] = "Arrow routing is not supported",
        ["kasa_config"] = "KaSA changes the base and is not supported",
        ["monteclora_config"] = "MonteCLoRA is not supported",
    };

    // Methods that scale or turn weights, with the fields that say nothing beyond their tensors.
    private static readonly Dictionary<string, string[]> s_maps = new()
    {
        ["IA3"] = ["feedforward_modules", "init_ia3_weights"],
        ["OFT"] = ["r", "oft_block_size", "module_dropout"],
        ["BOFT"] = ["boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"],
    };

    // Each costs a hundred bytes and more for each of its letters.
    private const int MostEngines = 8;

    private readonly FaultList _faults;
    private int _engines;
    private readonly JsonElement _root;
    private readonly HashSet<string> _read = ["peft_type"];

    private PeftConfigReader(string path, JsonElement root)
    {
        _faults = new(path);
        _root = root;
    }

    /// <summary>Parses <paramref name="utf8"/>. Throws <see cref="ModelFileException"/> for <paramref name="path"/> with every fault.</summary>
    public static PeftConfig Parse(string path, ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument document = ParseLeniently(path, utf8);
        if (document.RootElement.ValueKind != JsonValueKind.Object)
            throw new ModelFileException(path, $"{FileName}: expected an object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
        PeftConfigReader reader = new(path, document.RootElement);
        PeftConfig config = reader.Read();
        reader._faults.ThrowIfAny();
        return config;
    }

    // Python writes NaN and Infinity bare. They become strings of the same length, so that the field that holds one can be named.
    private static JsonDocument ParseLeniently(string path, ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return SafeJson.Parse(path, utf8, FileName);
        }
        catch (ModelFileException)
        {
            byte[] bytes = utf8.ToArray();
            bool found = false, inString = false;
            for (int i = 0; i < bytes.Length; i++)
            {
                if (inString)
                {
                    i += bytes[i] == '\\' ? 1 : 0;
                    inString = i >= bytes.Length || bytes[i] != '"';
                    continue;
                }
                inString = bytes[i] == '"';
                ReadOnlySpan<byte> rest = bytes.AsSpan(i);
                int length = rest.StartsWith("-Infinity"u8) ? 9 : rest.StartsWith("Infinity"u8) ? 8 : rest.StartsWith("NaN"u8) ? 3 : 0;
                if (length == 0)
                    continue;
                bytes.AsSpan(i, length).Fill((byte)'~');
                bytes[i] = bytes[i + length - 1] = (byte)'"';
                i += length - 1;
                found = true;
            }
            if (!found)
                throw;
            return SafeJson.Parse(path, bytes, FileName);
        }
    }

    private PeftConfig Read()
    {
        string type = Text("peft_type") ?? "";
        if (type is not ("LORA" or "TRAINABLE_TOKENS" or "LN_TUNING" or PeftConfig.Partial or PeftConfig.Bottleneck) && !s_maps.ContainsKey(type))
        {
            Fault("peft_type", type.Length == 0 ? "expected LORA" : $"{type} is not supported; LORA, TRAINABLE_TOKENS, LN_TUNING, {string.Join(", ", s_maps.Keys)}, {PeftConfig.Partial} and {PeftConfig.Bottleneck} are");
            return new();
        }
        bool lora = type == "LORA";
        (IReadOnlyList<string> targets, PythonPattern? targetPattern, bool all) = Modules("target_modules", lora || s_maps.ContainsKey(type));
        (IReadOnlyList<string> excluded, PythonPattern? excludePattern, _) = Modules("exclude_modules", false);
        int rank = lora ? Rank("r") : 0;
        double alpha = lora ? Number("lora_alpha") : 0;
        (PeftResidual residual, string? start) = Start();
        PeftConfig config = new()
        {
            PeftType = type,
            TaskType = Text("task_type"),
            BaseModel = Text("base_model_name_or_path"),
            Rank = rank,
            Alpha = alpha,
            RankPattern = Patterns("rank_pattern", v => IsRank(v, out int r) ? r : double.NaN, $"a whole number from 1 to {MaxRank}"),
            AlphaPattern = Patterns("alpha_pattern", Finite, "a finite number"),
            UseRslora = Flag("use_rslora"),
            UseDora = Flag("use_dora"),
            FanInFanOut = Flag("fan_in_fan_out"),
            Bias = Bias(),
            LoraBias = Flag("lora_bias"),
            ModulesToSave = Strings("modules_to_save"),
            TargetModules = targets,
            TargetPattern = targetPattern,
            TargetsAllLinear = all,
            TargetParameters = Strings("target_parameters"),
            ExcludeModules = excluded,
            ExcludePattern = excludePattern,
            LayersToTransform = Ints("layers_to_transform"),
            LayersPattern = LayerPatterns(),
            LayerReplication = Replication(),
            TokenRows = Tokens(type),
            EnsureWeightTying = Flag("ensure_weight_tying"),
            Residual = residual,
            Rotation = type == "OFT" ? Rotation() : null,
            Start = start,
            Dropout = lora && Has("lora_dropout", out JsonElement dropout) && Finite(dropout) is >= 0 and < 1 and double part ? part : 0,
            BottleneckActivation = type == PeftConfig.Bottleneck ? BottleneckActivation() : default,
            InvocationTokens = Ints("alora_invocation_tokens") is { Count: > 0 } tokens ? [.. tokens] : null,
        };
        if (s_maps.TryGetValue(type, out string[]? own))
        {
            _read.UnionWith(own);
            if (config.Bias != PeftBias.None)
                Fault("bias", $"is not supported with {type}");
        }
        if (config is { UseDora: true, LoraBias: true })
            Fault("lora_bias", "cannot stand beside use_dora");
        if (config.InvocationTokens is not null && config.UseDora)
            Fault("alora_invocation_tokens", "cannot stand beside use_dora");
        if (config.TargetParameters.Count > 0)
            foreach ((string field, bool given) in (ReadOnlySpan<(string, bool)>)[("use_dora", config.UseDora), ("lora_bias", config.LoraBias), ("fan_in_fan_out", config.FanInFanOut), ("alora_invocation_tokens", config.InvocationTokens is not null), ("init_lora_weights", config.Residual != PeftResidual.None)])
                if (given)
                    Fault(field, "cannot stand beside target_parameters");
        RefuseRest();
        return config;
    }

    private void RefuseRest()
    {
        foreach (JsonProperty property in _root.EnumerateObject())
        {
            if (_read.Contains(property.Name) || s_harmless.Contains(property.Name) || IsOff(property.Value))
                continue;
            Fault(property.Name, s_refused.TryGetValue(property.Name, out string? why) ? why : $"{SafeJson.Excerpt(property.Value)} is unknown here and may change what the adapter computes");
        }
    }

    private (PeftResidual Residual, string? Start) Start()
    {
        if (!Has("init_lora_weights", out JsonElement value) || value.ValueKind is JsonValueKind.True or JsonValueKind.False)
            return (PeftResidual.None, null);
        string name = value.ValueKind == JsonValueKind.String ? value.GetString()!.ToLowerInvariant() : "";
        switch (name)
        {
            case "gaussian" or "orthogonal" or "eva" or "mica":
                return (PeftResidual.None, name);
            case "pissa":
                return (PeftResidual.Pissa, null);
            case "olora":
                return (PeftResidual.Olora, null);
        }
        Fault("init_lora_weights", name.StartsWith("pissa_niter_", StringComparison.Ordinal)
            ? $"{name} took a randomised part off the base that cannot be rebuilt; save it with path_initial_model_for_weight_conversion"
            : $"{SafeJson.Excerpt(value)} is not supported: it may have changed the base");
        return (PeftResidual.None, null);
    }

    private PeftRotation Rotation()
    {
        // Before 0.14 the tensors were others; before 0.18, which wrote its version first, the series was.
        if (!_root.TryGetProperty("oft_block_size", out _))
            Fault("oft_block_size", "is missing: OFT of PEFT before 0.14 is not supported");
        if (!_root.TryGetProperty("use_cayley_neumann", out _))
            Fault("use_cayley_neumann", "is missing: it tells how rotations are made");
        bool series = Flag("use_cayley_neumann"), constrained = Flag("coft");
        string version = Text("peft_version") ?? "";
        if (series && !(version.Split('.') is [var major, var minor, ..] && int.TryParse(major, out int a) && int.TryParse(minor, out int b) && (a > 0 || b >= 18)))
            Fault("peft_version", $"expected 0.18 or later with use_cayley_neumann, found {(version.Length == 0 ? "nothing" : version)}: the series was another before");
        int terms = !series ? 0 : Has("num_cayley_neumann_terms", out JsonElement given) ? given.ValueKind == JsonValueKind.Number && given.TryGetInt32(out int whole) ? whole : -1 : 5;
        if (series && terms is < 1 or > 1000)
            Fault("num_cayley_neumann_terms", $"expected a whole number from 1 to 1000, found {Shown(_root.GetProperty("num_cayley_neumann_terms"))}");
        double? eps = constrained ? Number("eps") : null;
        _read.Add("eps");
        _read.Add("num_cayley_neumann_terms");
        return new(series ? terms : null, eps, Flag("block_share"));
    }

    private Activation BottleneckActivation()
    {
        string? name = Text("bottleneck_activation");
        if (name is not null && PeftConfig.ActivationNames.TryGetValue(name, out Activation activation))
            return activation;
        Fault("bottleneck_activation", $"expected one of {string.Join(", ", PeftConfig.ActivationNames.Keys)}, found {name ?? "nothing"}");
        return default;
    }

    private PeftBias Bias()
    {
        switch (Text("bias"))
        {
            case null or "none":
                return PeftBias.None;
            case "all":
                return PeftBias.All;
            case "lora_only":
                return PeftBias.LoraOnly;
            case string other:
                Fault("bias", $"expected none, all or lora_only, found {other}");
                return PeftBias.None;
        }
    }

    private (IReadOnlyList<string> Names, PythonPattern? Pattern, bool AllLinear) Modules(string field, bool allLinear)
    {
        if (!Has(field, out JsonElement value))
            return ([], null, false);
        if (value.ValueKind != JsonValueKind.String)
            return (Strings(field), null, false);
        string text = value.GetString()!;
        if (allLinear && text.Equals("all-linear", StringComparison.OrdinalIgnoreCase))
            return ([], null, true);
        return ([], Pattern(field, text, PythonPattern.Whole), false);
    }

    private List<PeftPatternValue> Patterns(string field, Func<JsonElement, double> read, string expected)
    {
        List<PeftPatternValue> patterns = [];
        if (!Has(field, out JsonElement value))
            return patterns;
        if (value.ValueKind != JsonValueKind.Object)
        {
            Fault(field, $"expected an object, found {SafeJson.Kind(value.ValueKind)}");
            return patterns;
        }
        foreach (JsonProperty property in value.EnumerateObject())
        {
            double number = read(property.Value);
            if (!double.IsFinite(number))
                Fault($"{field}: {property.Name}", $"expected {expected}, found {Shown(property.Value)}");
            else if (Pattern(field, property.Name, PythonPattern.DottedEnd) is { } pattern)
                patterns.Add(new(pattern, number));
        }
        return patterns;
    }

    private List<PythonPattern> LayerPatterns()
    {
        List<PythonPattern> patterns = [];
        foreach (string name in Strings("layers_pattern", orOne: true))
            if (name.Length > 0 && Pattern("layers_pattern", name, PythonPattern.LayerContainer, isContainer: true) is { } pattern)
                patterns.Add(pattern);
        return patterns;
    }

    private List<(int, int)>? Replication()
    {
        if (!Has("layer_replication", out JsonElement value))
            return null;
        List<(int, int)> ranges = [];
        bool good = value.ValueKind == JsonValueKind.Array;
        foreach (JsonElement range in good ? [.. value.EnumerateArray()] : Array.Empty<JsonElement>())
        {
            if (range.ValueKind == JsonValueKind.Array && range.GetArrayLength() == 2 && range[0].ValueKind == JsonValueKind.Number && range[1].ValueKind == JsonValueKind.Number
                && range[0].TryGetInt32(out int start) && range[1].TryGetInt32(out int end) && start >= 0 && end > start && end <= 4096 && ranges.Count < 4096)
                ranges.Add((start, end));
            else
                good = false;
        }
        if (!good)
            Fault("layer_replication", $"expected [start, end) pairs, found {SafeJson.Excerpt(value)}");
        return good && ranges.Count > 0 ? ranges : null;
    }

    private List<PeftTokenRows> Tokens(string type)
    {
        List<PeftTokenRows> rows = [];
        string field = type == "TRAINABLE_TOKENS" ? "token_indices" : "trainable_token_indices";
        if (!Has(field, out JsonElement value))
            return rows;
        if (value.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty property in value.EnumerateObject())
                if (IntsOf(field, property.Value) is { Count: > 0 } ids)
                    rows.Add(new(property.Name, [.. ids]));
        }
        else if (IntsOf(field, value) is { Count: > 0 } ids)
        {
            rows.Add(new(null, [.. ids]));
        }
        return rows;
    }

    private PythonPattern? Pattern(string field, string source, Func<string, PythonPattern> create, bool isContainer = false)
    {
        try
        {
            if (_engines >= MostEngines && PythonPattern.NeedsEngine(source, isContainer))
            {
                Fault(field, $"'{(source.Length > 60 ? source[..57] + "..." : source)}' comes after {MostEngines} patterns that need a regular expression engine; no more are read");
                return null;
            }
            PythonPattern pattern = create(source);
            _engines += pattern.IsLinear ? 0 : 1;
            return pattern;
        }
        catch (Exception e) when (e is ArgumentException or OutOfMemoryException or InsufficientExecutionStackException)
        {
            Fault(field, $"'{(source.Length > 60 ? source[..57] + "..." : source)}' is no regular expression: {e.Message}");
            return null;
        }
    }

    private bool Has(string field, out JsonElement value)
    {
        _read.Add(field);
        return _root.TryGetProperty(field, out value) && value.ValueKind != JsonValueKind.Null;
    }

    private bool Flag(string field)
    {
        if (!Has(field, out JsonElement value))
            return false;
        if (value.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
            Fault(field, $"expected true or false, found {Shown(value)}");
        return value.ValueKind == JsonValueKind.True;
    }

    private string? Text(string field)
    {
        if (!Has(field, out JsonElement value))
            return null;
        if (value.ValueKind == JsonValueKind.String)
            return value.GetString();
        Fault(field, $"expected a string, found {Shown(value)}");
        return null;
    }

    private int Rank(string field)
    {
        if (Has(field, out JsonElement value) && IsRank(value, out int rank))
            return rank;
        Fault(field, $"expected a whole number from 1 to {MaxRank}, found {Shown(value)}");
        return 1;
    }

    private double Number(string field)
    {
        double number = Has(field, out JsonElement value) ? Finite(value) : double.NaN;
        if (!double.IsFinite(number))
            Fault(field, $"expected a finite number, found {Shown(value)}");
        return number;
    }

    private List<string> Strings(string field, bool orOne = false)
    {
        List<string> strings = [];
        if (!Has(field, out JsonElement value))
            return strings;
        if (orOne && value.ValueKind == JsonValueKind.String)
            return [value.GetString()!];
        if (value.ValueKind == JsonValueKind.Array)
            foreach (JsonElement element in value.EnumerateArray())
            {
                if (element.ValueKind == JsonValueKind.String && element.GetString() is { Length: > 0 } text)
                    strings.Add(text);
                else
                    Fault(field, $"expected names, found {Shown(element)}");
            }
        else
            Fault(field, $"expected a list of names, found {Shown(value)}");
        return strings;
    }

    private List<int>? Ints(string field) => Has(field, out JsonElement value) ? IntsOf(field, value) : null;

    private List<int>? IntsOf(string field, JsonElement value)
    {
        List<int> numbers = [];
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int one) && one >= 0)
            return [one];
        if (value.ValueKind != JsonValueKind.Array)
        {
            Fault(field, $"expected whole numbers, found {Shown(value)}");
            return null;
        }
        foreach (JsonElement element in value.EnumerateArray())
        {
            if (element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int number) && number >= 0)
                numbers.Add(number);
            else
                Fault(field, $"expected whole numbers, found {Shown(element)}");
        }
        return numbers;
    }

    private static bool IsRank(JsonElement value, out int rank)
    {
        rank = 0;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out rank) && rank is > 0 and <= MaxRank;
    }

    private static double Finite(JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) ? number : double.NaN;

    private static bool IsOff(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => true,
        JsonValueKind.String => value.GetString()!.Length == 0,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => !value.EnumerateObject().MoveNext(),
        JsonValueKind.Number => value.TryGetDouble(out double number) && number == 0,
        _ => false,
    };

    private static string Shown(JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.Undefined)
            return "nothing";
        string text = SafeJson.Excerpt(value);
        return text.StartsWith("\"~", StringComparison.Ordinal) || text == "\"~\"" ? "NaN or infinity" : text;
    }

    private void Fault(string field, string fault) => _faults.Add($"{FileName}: {field}: {fault}");
}
