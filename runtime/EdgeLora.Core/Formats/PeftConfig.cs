using System.Text.RegularExpressions;

namespace EdgeLora.Core;

/// <summary>Which biases an adapter brings along.</summary>
public enum PeftBias
{
    /// <summary>None.</summary>
    None,
    /// <summary>Those of targeted layers.</summary>
    LoraOnly,
    /// <summary>All of the model.</summary>
    All,
}

/// <summary>How an adapter changed its base before training: what a reader must take off the base again.</summary>
public enum PeftResidual
{
    /// <summary>Not at all.</summary>
    None,
    /// <summary>PiSSA: the leading rank-r part is gone. arXiv:2404.02948.</summary>
    Pissa,
    /// <summary>OLoRA: s times the first r columns of Q times rows of R are gone. arXiv:2406.01775.</summary>
    Olora,
}

/// <summary>One key of rank_pattern or alpha_pattern with its value.</summary>
/// <param name="Key">Matches dotted ends of module names.</param>
/// <param name="Value">The rank or alpha.</param>
public sealed record PeftPatternValue(PythonPattern Key, double Value);

/// <summary>Token rows of one embedding.</summary>
/// <param name="Module">Name or dotted end of the embedding's name; null: the input embedding.</param>
/// <param name="Ids">Tokens in the order of the tensor's rows.</param>
public sealed record PeftTokenRows(string? Module, int[] Ids);

/// <summary>How OFT makes a rotation of a block's skew matrix S.</summary>
/// <param name="NeumannTerms">Terms of the series that stands for the Cayley transform; null: (I − S)(I + S)⁻¹ itself.</param>
/// <param name="Constraint">Constrained OFT's eps, or null.</param>
/// <param name="Shares">Whether one block stands for all.</param>
public sealed record PeftRotation(int? NeumannTerms, double? Constraint, bool Shares);

/// <summary>
/// adapter_config.json: what is needed to read an adapter. Field names are those of peft.LoraConfig (0.21). The text is read by <see cref="PeftConfigReader"/>,
/// which refuses by name whatever would change the numbers and is not listed here.
/// </summary>
public sealed record PeftConfig
{
    /// <summary>peft_type of full and partial fine-tuning, no library's: whole tensors of the base, under the checkpoint's own names, in place of the base's.</summary>
    public const string Partial = "PARTIAL";

    /// <summary>peft_type of bottleneck adapters, no library's: <c>layers.0.attn_adapter.down.weight</c> and so on.</summary>
    public const string Bottleneck = "BOTTLENECK";

    // Adapters of many experts name thousands of modules: their list is not walked for each. Made when it is asked for.
    private HashSet<string>? _targets;

    /// <summary><c>LORA</c>, <c>TRAINABLE_TOKENS</c>, <c>LN_TUNING</c>, <c>IA3</c>, <c>OFT</c>, <c>BOFT</c>; or ours: <see cref="Partial"/>, <see cref="Bottleneck"/>.</summary>
    public string PeftType { get; init; } = "LORA";

    /// <summary><c>CAUSAL_LM</c>; null where absent.</summary>
    public string? TaskType { get; init; } = "CAUSAL_LM";

    /// <summary>Where the base was, as the trainer saw it.</summary>
    public string? BaseModel { get; init; }

    /// <summary>r where no pattern says otherwise.</summary>
    public int Rank { get; init; }

    /// <summary>lora_alpha where no pattern says otherwise.</summary>
    public double Alpha { get; init; }

    /// <summary>rank_pattern in file order: the first that matches wins.</summary>
    public IReadOnlyList<PeftPatternValue> RankPattern { get; init; } = [];

    /// <summary>alpha_pattern in file order: the first that matches wins.</summary>
    public IReadOnlyList<PeftPatternValue> AlphaPattern { get; init; } = [];

    /// <summary>Scale alpha/√r in place of alpha/r.</summary>
    public bool UseRslora { get; init; }

    /// <summary>Magnitudes per output. arXiv:2402.09353.</summary>
    public bool UseDora { get; init; }

    /// <summary>Conv1D weights. The base's own layer type decides; this is kept for writing.</summary>
    public bool FanInFanOut { get; init; }

    /// <summary>Which biases are replaced.</summary>
    public PeftBias Bias { get; init; }

    /// <summary>B has a bias, scaled like B.</summary>
    public bool LoraBias { get; init; }

    /// <summary>Modules that are saved whole; a name matches by bare suffix.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary>target_modules as a list; empty where it is a pattern or absent.</summary>
    public IReadOnlyList<string> TargetModules
    {
        get;
        init => (field, _targets) = (value, null);
    } = [];

    /// <summary>target_parameters: parameters of modules that are no layers of their own, by whole names or ends after a dot (<c>mlp.experts.gate_up_proj</c>). See <see cref="FusedExperts"/>.</summary>
    public IReadOnlyList<string> TargetParameters { get; init; } = [];

    /// <summary>target_modules as a pattern over whole names.</summary>
    public PythonPattern? TargetPattern { get; init; }

    /// <summary>target_modules is <c>all-linear</c>.</summary>
    public bool TargetsAllLinear { get; init; }

    /// <summary>exclude_modules as a list.</summary>
    public IReadOnlyList<string> ExcludeModules { get; init; } = [];

    /// <summary>exclude_modules as a pattern over whole names.</summary>
    public PythonPattern? ExcludePattern { get; init; }

    /// <summary>Layers that are targeted; null: all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }

    /// <summary>Names of layer containers; empty: any.</summary>
    public IReadOnlyList<PythonPattern> LayersPattern { get; init; } = [];

    /// <summary>Ranges [start, end) of layers that stand one after another; null: the base's own.</summary>
    public IReadOnlyList<(int Start, int End)>? LayerReplication { get; init; }

    /// <summary>Replaced token rows.</summary>
    public IReadOnlyList<PeftTokenRows> TokenRows { get; init; } = [];

    /// <summary>A tied head follows the embedding.</summary>
    public bool EnsureWeightTying { get; init; }

    /// <summary>OFT's form; null for other methods.</summary>
    public PeftRotation? Rotation { get; init; }

    /// <summary>What the base lost before training.</summary>
    public PeftResidual Residual { get; init; }

    /// <summary>How A and B started where the base stayed whole: <c>gaussian</c>, <c>orthogonal</c>, <c>eva</c>, <c>mica</c>; null: A uniform, B zero.</summary>
    public string? Start { get; init; }

    /// <summary>lora_dropout: for training only.</summary>
    public double Dropout { get; init; }

    /// <summary>aLoRA: the adapter acts from the last occurrence of these tokens on; null for an ordinary one.</summary>
    public int[]? InvocationTokens { get; init; }

    /// <summary>Nonlinearity of bottleneck adapters (<c>bottleneck_activation</c>): gelu (exact), relu, silu, tanh, gelu_new.</summary>
    public Activation BottleneckActivation { get; init; }

    /// <summary>Names of <see cref="BottleneckActivation"/>.</summary>
    public static IReadOnlyDictionary<string, Activation> ActivationNames { get; } = new Dictionary<string, Activation>
    {
        ["gelu"] = Activation.Gelu,
        ["gelu_new"] = Activation.GeluTanh,
        ["relu"] = Activation.Relu,
        ["silu"] = Activation.Silu,
        ["tanh"] = Activation.Tanh,
    };

    /// <summary>r of <paramref name="module"/>. Throws <see cref="RegexMatchTimeoutException"/> for a pattern that does not end.</summary>
    public int RankOf(string module) => (int)First(RankPattern, module, Rank);

    /// <summary>alpha of <paramref name="module"/>. Throws <see cref="RegexMatchTimeoutException"/> for a pattern that does not end.</summary>
    public double AlphaOf(string module) => First(AlphaPattern, module, Alpha);

    /// <summary>s = alpha/r, or alpha/√r with rsLoRA, for a module of rank <paramref name="rank"/>.</summary>
    public double ScaleOf(string module, int rank) => AlphaOf(module) / (UseRslora ? Math.Sqrt(rank) : rank);

    /// <summary>Whether any target is named at all.</summary>
    public bool HasTargets => TargetModules.Count > 0 || TargetPattern is not null || TargetsAllLinear;

    /// <summary>
    /// Whether the configuration targets <paramref name="module"/>; what all-linear leaves out and what cannot be targeted is the caller's to know.
    /// Throws <see cref="RegexMatchTimeoutException"/> for a pattern that does not end.
    /// </summary>
    public bool Selects(string module)
    {
        if (EndsWithAny(ExcludeModules, module) || ExcludePattern?.IsMatch(module) == true || ModulesToSave.Any(m => HasSegment(module, m)))
            return false;
        if (TargetsAllLinear)
            return true;
        if (TargetPattern is not null)
            return TargetPattern.IsMatch(module);
        _targets ??= [.. TargetModules];
        return _targets.Contains(module) || IsEndOfAny(_targets, module) && LayerSelected(module);
    }

    /// <summary>Whether target_parameters names <paramref name="parameter"/>: <c>model.layers.0.mlp.experts.down_proj</c>.</summary>
    public bool SelectsParameter(string parameter) => EndsWithAny(TargetParameters, parameter);

    /// <summary>Number of the first layer container in <paramref name="module"/>, or -1: <c>model.layers.3.mlp.up_proj</c> is 3.</summary>
    public int LayerOf(string module)
    {
        foreach (PythonPattern pattern in LayersPattern)
            if (pattern.LayerOf(module) is int found && found >= 0)
                return found;
        return LayersPattern.Count > 0 ? -1 : FirstNumber(module);
    }

    /// <summary>Whether modules_to_save takes <paramref name="module"/> or a module that holds it.</summary>
    public bool Saves(string module)
    {
        for (int end = module.Length; end > 0; end = module.LastIndexOf('.', end - 1))
            foreach (string name in ModulesToSave)
                if (module.AsSpan(0, end).EndsWith(name, StringComparison.Ordinal))
                    return true;
        return false;
    }

    private static double First(IReadOnlyList<PeftPatternValue> patterns, string module, double otherwise)
    {
        foreach (PeftPatternValue pattern in patterns)
            if (pattern.Key.IsMatch(module))
                return pattern.Value;
        return otherwise;
    }

    private bool LayerSelected(string module) =>
        LayersToTransform is not { Count: > 0 } layers || LayerOf(module) is int layer && layer >= 0 && layers.Contains(layer);

    private static bool EndsWithAny(IReadOnlyList<string> names, string module)
    {
        foreach (string name in names)
            if (module == name || module.Length > name.Length && module.EndsWith(name, StringComparison.Ordinal) && module[^(name.Length + 1)] == '.')
                return true;
        return false;
    }

    private static bool IsEndOfAny(HashSet<string> names, string module)
    {
        for (int dot = module.IndexOf('.'); dot >= 0; dot = module.IndexOf('.', dot + 1))
            if (names.Contains(module[(dot + 1)..]))
                return true;
        return false;
    }

    private static bool HasSegment(string module, string name) => $".{module}.".Contains($".{name}.", StringComparison.Ordinal);

    // The first whole number between two dots that has a name and a dot before its own.
    private static int FirstNumber(string module)
    {
        string[] parts = module.Split('.');
        for (int i = 2; i < parts.Length - 1; i++)
            if (int.TryParse(parts[i], System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int number))
                return number;
        return -1;
    }
}
