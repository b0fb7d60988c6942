namespace EdgeLora.Core;

/// <summary>
/// kohya's files (sd-scripts, and LyCORIS for it), one .safetensors. A module's tensors stand under its name with underscores (<see cref="KohyaNames"/>):
/// <code>
/// KEY.lora_down.weight [R, I(, k, k)]   KEY.lora_up.weight [O, R(, 1, 1)]   KEY.lora_mid.weight [R, R, k, k] (Tucker: down has no kernel then)
/// KEY.alpha []   s = alpha/R; absent or 0: s = 1                            KEY.dora_scale [O, 1(, 1, 1)]
/// KEY.hada_w1_a … (LoHa), KEY.lokr_w1 … (LoKr): read as pairs of their exact rank, see LycorisForm
/// </code>
/// Fused q, k and v of Flux and SD3 are read as one site each and joined again. Sources: kohya-ss/sd-scripts networks/lora.py; KohakuBlueleaf/LyCORIS modules/.
/// </summary>
public sealed class KohyaFormat : AdapterFileFormat
{
    // What describes the network is not kept where the network became another, and hashes are of the file that they stand in.
    private const string Network = "ss_network_", Hash = "sshs_";

    private static readonly string[] s_pair = ["lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale"];

    private static readonly (string Ending, string Why)[] s_refused =
    [
        ("diff", "a whole difference of a weight is not supported"), ("diff_b", "a difference of a bias is not supported"), ("w_norm", "a trained norm is not supported"), ("b_norm", "a trained norm is not supported"),
        ("oft_blocks", "OFT turns the base's weight, which a low-rank pair cannot say"), ("oft_diag", "OFT turns the base's weight, which a low-rank pair cannot say"),
        ("a1.weight", "GLoRA needs the base's weight"), ("b1.weight", "GLoRA needs the base's weight"), ("weight", "IA3 scales the base's weight, which a low-rank pair cannot say"),
    ];

    /// <inheritdoc/>
    public override string Name => "kohya";

    /// <inheritdoc/>
    public override string Title => "a kohya file";

    /// <inheritdoc/>
    public override string Extension => ".safetensors";

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.Metadata;

    /// <inheritdoc/>
    public override bool Recognizes(string path) =>
        SafetensorsPeek.Header(path, h => SafetensorsPeek.Has(h, "\"lora_unet_"u8) || SafetensorsPeek.Has(h, "\"lora_te"u8) || SafetensorsPeek.Has(h, "\"lora_transformer_"u8));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        TensorFile file = Safetensors.Open(path);
        try
        {
            FaultList faults = new(path);
            Dictionary<string, Dictionary<string, Tensor>> groups = [];
            foreach ((string name, Tensor tensor) in file.Tensors)
            {
                int dot = name.IndexOf('.');
                if (dot < 0 || !KohyaNames.IsKohya(name))
                    faults.Add(name.StartsWith("bundle_emb.", StringComparison.Ordinal) ? $"{name}: a textual-inversion embedding {tensor.Shape} is not part of an adapter here" : $"{name}: is no tensor of a kohya file");
                else if (!groups.TryGetValue(name[..dot], out Dictionary<string, Tensor>? parts))
                    groups[name[..dot]] = new() { [name[(dot + 1)..]] = tensor };
                else
                    parts[name[(dot + 1)..]] = tensor;
            }
            DiffusionFamily family = KohyaNames.FamilyOfKeys(groups.Keys);
            KohyaNames names = new(options.Modules);
            DiffusionSites sites = new(path, faults);
            bool plain = true;
            foreach ((string key, Dictionary<string, Tensor> parts) in groups)
            {
                plain &= parts.ContainsKey("lora_down.weight") && !parts.ContainsKey("lora_mid.weight");
                if (names.Find(key, family, out string? fault) is not var (rule, modules))
                    faults.Add(fault!);
                else if (Pair(key, modules[0], parts, faults) is var (a, b, alpha, magnitude))
                    Add(sites, key, rule, modules, a, b, alpha, magnitude, faults);
            }
            Dictionary<string, string> metadata = file.Metadata.Where(m => IsKept(m.Key) && (plain || !m.Key.StartsWith(Network, StringComparison.Ordinal))).ToDictionary();
            if (faults.Count == 0 && names.Kept(groups.Keys, sites.Modules, metadata) is { } kept)
                metadata[KohyaNames.FamilyKey] = kept;
            return sites.ToAdapter(file, metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>alpha stands beside each pair, so no scale is ever folded; joining parts of different scales into one fused module is.</summary>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options)
    {
        List<string> refusals = [];
        List<(string Reason, DiffusionPair Part)> folds = [];
        _ = Plan(adapter, options, refusals, folds);
        return Verdict(refusals, folds);
    }

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        List<string> refusals = [];
        List<(string Reason, DiffusionPair Part)> folds = [];
        List<(string Key, DiffusionPair Pair)> plan = Plan(adapter, options, refusals, folds);
        Verdict(refusals, folds).Demand(adapter.FilePath, options.Fold);
        List<Tensor> tensors = [];
        foreach ((string key, DiffusionPair pair) in plan)
        {
            Put(key + ".lora_down.weight", pair.A);
            Put(key + ".lora_up.weight", pair.B);
            tensors.Add(AlphaTensor(key + ".alpha", pair.Alpha, options.Type ?? pair.A.Type));
            if (pair.Magnitude is { } m)
                Put(key + ".dora_scale", m.View(m.Name, new Shape([m.Shape.Elements, .. Enumerable.Repeat(1L, pair.B.Shape.Rank - 1)])));
        }
        Safetensors.Write(path, tensors, adapter.File.Metadata.Where(m => IsKept(m.Key) && m.Key != KohyaNames.FamilyKey).ToDictionary(), cancellation);

        void Put(string name, Tensor tensor)
        {
            DType type = ScaleFold.TypeOf(tensor, options.Type, DType.F32, DType.F16, DType.BF16, DType.F64);
            ScaleFold.Require(tensor, 1, type, name, adapter.FilePath);
            tensors.Add(type == tensor.Type ? tensor.View(name, tensor.Shape) : new(name, type, tensor.Shape, new ComputedStorage(type.Bytes(tensor.Shape.Elements), () => ScaleFold.Apply(tensor, 1, type))));
        }
    }

    /// <summary>What of a file's texts goes along.</summary>
    internal static bool IsKept(string key) => key is not (PeftAdapter.FormatKey or DiffusersFormat.MetadataKey) && !key.StartsWith(Hash, StringComparison.Ordinal);

    private static (Tensor A, Tensor B, double Alpha, Tensor? Magnitude)? Pair(string key, string module, Dictionary<string, Tensor> parts, FaultList faults)
    {
        int before = faults.Count;
        foreach ((string ending, Tensor tensor) in parts)
            if (!s_pair.Contains(ending) && !LycorisForm.Endings.Contains(ending))
                faults.Add($"{key}.{ending}: {Array.Find(s_refused, r => r.Ending == ending).Why ?? "is no tensor of LoRA, LoCon, LoHa or LoKr"}");
            else if (ending == "alpha" && (tensor.Shape.Elements != 1 || tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64)))
                faults.Add($"{key}.alpha: expected one number, found {tensor.Type} {tensor.Shape}");
        bool lycoris = parts.Keys.Any(LycorisForm.Endings.Contains), low = parts.Keys.Any(k => k.StartsWith("lora_", StringComparison.Ordinal));
        if (lycoris && low)
            faults.Add($"{key}: holds a pair and factors of LoHa or LoKr at once");
        if (faults.Count > before)
            return null;
        double? alpha = parts.TryGetValue("alpha", out Tensor? stored) && Number(stored) is double given && given != 0 ? given : null;
        (Tensor A, Tensor B, int? Rank)? pair = lycoris ? LycorisForm.Read(key, parts, DiffusionNames.IsThreeByThree(module) ? [3, 3] : [], faults) : LowRank(key, parts, faults);
        if (pair is not var (a, b, rank))
            return null;
        Tensor? magnitude = parts.GetValueOrDefault("dora_scale");
        if (magnitude is not null && (magnitude.Shape.Rank < 2 || magnitude.Shape.Elements != magnitude.Shape[0]))
        {
            faults.Add($"{key}.dora_scale: expected [outputs, 1], found {magnitude.Shape}: magnitudes of inputs (wd_on_out false) are not DoRA's and are not supported");
            return null;
        }
        // A pair of greater rank than alpha counts on keeps its scale.
        return (a, b, rank is { } r && alpha is { } own ? own * a.Shape[0] / r : a.Shape[0], magnitude);
    }

    private static (Tensor, Tensor, int?)? LowRank(string key, Dictionary<string, Tensor> parts, FaultList faults)
    {
        Tensor? down = parts.GetValueOrDefault("lora_down.weight"), up = parts.GetValueOrDefault("lora_up.weight");
        if (down is null || up is null)
        {
            faults.Add($"{key}.{(down is null ? "lora_down.weight" : "lora_up.weight")}: is missing");
            return null;
        }
        if (!parts.TryGetValue("lora_mid.weight", out Tensor? mid))
            return (down, up, down.Shape.Rank > 0 ? (int)Math.Min(int.MaxValue, down.Shape[0]) : 0);
        if (mid.Shape.Rank < 3 || mid.Shape.Elements == 0 || down.Shape.Rank < 2 || up.Shape.Rank < 2 || mid.Shape[0] != up.Shape[1] || mid.Shape[1] != down.Shape[0]
            || down.Shape.Elements != down.Shape[0] * down.Shape[1] || up.Shape.Elements != up.Shape[0] * up.Shape[1] || down.Shape.Elements == 0 || up.Shape.Elements == 0)
        {
            faults.Add($"{key}.lora_mid.weight: expected [rank, rank, kernel] between {down.Shape} and {up.Shape}, found {mid.Shape}");
            return null;
        }
        return FactorProduct.Lazily(key, FactorProduct.SizeOf(mid, up, down), mid.Shape.Dimensions[2..], () => FactorProduct.Tucker(mid, up, down, outerRows: true), faults) is var (a, b) ? (a, b, (int)down.Shape[0]) : null;
    }

    private static void Add(DiffusionSites sites, string key, FusedRule rule, string[] modules, Tensor a, Tensor b, double alpha, Tensor? magnitude, FaultList faults)
    {
        long outputs = b.Shape.Rank > 0 ? b.Shape[0] : 0, inputs = a.Shape.Rank > 1 ? a.Shape[1] : 0;
        if (rule.Kind == FusedKind.Swapped || rule.Kind == FusedKind.SwappedIfDouble && outputs == 2 * inputs)
        {
            if (outputs % 2 == 0)
                sites.Add(key, modules[0], a, FusedRows.Swapped(b), alpha, magnitude is null ? null : FusedRows.Swapped(magnitude));
            else
                faults.Add($"{key}: expected two halves of outputs, found {outputs}");
            return;
        }
        if (FusedRows.Sizes(rule, outputs, inputs) is not { } sizes)
        {
            faults.Add($"{key}: {outputs} outputs of {inputs} inputs are not the parts {string.Join(", ", modules)}");
            return;
        }
        // The pair's own check stands before it is taken apart.
        if (modules.Length == 1 || b.Shape.Rank < 2 || b.Shape[1] != a.Shape[0] || b.Shape.Elements != outputs * a.Shape[0] || magnitude is not null && magnitude.Shape.Elements != outputs)
        {
            sites.Add(key, modules[0], a, b, alpha, magnitude);
            return;
        }
        int part = 0;
        foreach ((Tensor partA, Tensor partB, double partAlpha, Tensor? m) in FusedRows.Split(a, b, alpha, magnitude, sizes))
            sites.Add(key, modules[part++], partA, partB, partAlpha, m);
    }

    private static AdapterVerdict Verdict(List<string> refusals, List<(string Reason, DiffusionPair Part)> folds) =>
        new([.. folds.Select(f => f.Reason)], refusals) { Rounding = ScaleFold.Worst(folds.Select(f => (f.Part.B, f.Part.Scale, DType.F32))) };

    private static List<(string Key, DiffusionPair Pair)> Plan(PeftAdapter adapter, AdapterOptions options, List<string> refusals, List<(string Reason, DiffusionPair Part)> folds)
    {
        List<DiffusionPair> pairs = DiffusionPair.Of(adapter, AdapterTraits.Dora, "a kohya file", refusals);
        KohyaNames names = new(options.Modules);
        List<(string, DiffusionPair)> plan = [];
        if (names.FamilyOf([.. pairs.Select(p => p.Module)], adapter.File.Metadata) is not { } family)
        {
            refusals.Add("transformer: its blocks are Flux's or SD3's, named differently by kohya: name the base's modules with --base");
            return plan;
        }
        FusedNames? fused = family switch { DiffusionFamily.Flux => FusedNames.Flux, DiffusionFamily.Sd3 => FusedNames.Sd3, _ => null };
        Dictionary<string, (FusedRule Rule, DiffusionPair?[] Parts)> joined = [];
        HashSet<string> keys = [];
        foreach (DiffusionPair pair in pairs)
        {
            if (pair.Alpha == 0)
                refusals.Add($"{pair.Module}: alpha is 0, which a kohya file takes for no alpha at all");
            if (pair.Module.StartsWith("transformer.", StringComparison.Ordinal) && fused?.FindDiffusers(pair.Module["transformer.".Length..]) is var (rule, part, numbers))
            {
                string original = "lora_unet_" + ModuleTemplates.Fill(rule.Original, numbers).Replace('.', '_');
                if (!joined.TryGetValue(original, out (FusedRule Rule, DiffusionPair?[] Parts) entry))
                    joined[original] = entry = (rule, new DiffusionPair?[rule.Diffusers.Length]);
                entry.Parts[part] = pair;
            }
            else if (names.KeyOf(pair.Module, family, out string? fault) is not { } key)
                refusals.Add(fault!);
            else if (!keys.Add(key))
                refusals.Add($"{pair.Module}: another module is {key} too");
            else
                plan.Add((key, pair));
        }
        foreach ((string key, (FusedRule rule, DiffusionPair?[] parts)) in joined)
            if (Joined(key, rule, parts, refusals, folds) is { } pair)
                plan.Add((key, pair));
        return plan;
    }

    private static DiffusionPair? Joined(string key, FusedRule rule, DiffusionPair?[] parts, List<string> refusals, List<(string Reason, DiffusionPair Part)> folds)
    {
        DiffusionPair first = parts.First(p => p is not null)!;
        long inputs = first.A.Shape[1];
        if (parts.Length == 1)
        {
            bool swapped = rule.Kind == FusedKind.Swapped || rule.Kind == FusedKind.SwappedIfDouble && first.B.Shape[0] == 2 * inputs;
            return swapped ? first with { B = FusedRows.Swapped(first.B), Magnitude = first.Magnitude is { } m ? FusedRows.Swapped(m) : null } : first;
        }
        int last = parts.Length - 1;
        // An absent last part of Flux's single blocks has four rows for each input: mlp_ratio 4.
        long[] sizes = [.. parts.Select((p, i) => p?.B.Shape[0] ?? (rule.Kind == FusedKind.Equal ? first.B.Shape[0] : i == last ? 4 * inputs : inputs))];
        if (parts.Any(p => p is not null && (p.A.Shape[1] != inputs || p.A.Shape.Rank != 2)) || FusedRows.Sizes(rule, sizes.Sum(), inputs)?.SequenceEqual(sizes) != true)
        {
            refusals.Add($"{key}: {string.Join(", ", parts.OfType<DiffusionPair>().Select(p => $"{p.Module} {p.B.Shape[0]}×{p.A.Shape[1]}"))} are not the parts of one module");
            return null;
        }
        if (parts.Any(p => p?.Magnitude is not null) && parts.Any(p => p?.Magnitude is null))
        {
            refusals.Add($"{key}: some of its parts have magnitudes and others none");
            return null;
        }
        Tensor? magnitude = first.Magnitude is null ? null : Stacked([.. parts.Select(p => p!.Magnitude!)]);
        if (FusedRows.Join(parts, sizes) is not var (a, b, alpha))
        {
            // Scales that differ go into B; so do types, as F32.
            foreach (DiffusionPair part in parts.OfType<DiffusionPair>())
                if (!ScaleFold.IsExact(part.B, part.Scale, DType.F32))
                    folds.Add((FormattableString.Invariant($"{part.Module}: its scale {part.Scale:R} is not that of the other parts of {key}"), part));
            DiffusionPair?[] same = [.. parts.Select(p => p is null ? null : p with { A = ScaleFold.Apply(p.A, 1, DType.F32), B = ScaleFold.Apply(p.B, p.Scale, DType.F32), Alpha = p.Rank })];
            (a, b, alpha) = FusedRows.Join(same, sizes)!.Value;
        }
        return new(first.Module, a, b, alpha, magnitude);
    }

    private static Tensor Stacked(Tensor[] rows) => Tensor.FromFloats("", new Shape(rows.Sum(r => r.Shape.Elements)), [.. rows.SelectMany(r => r.ToFloats())]);

    private static double Number(Tensor tensor) => tensor.Type == DType.F64 ? BitConverter.ToDouble(tensor.Bytes) : tensor.ToFloats()[0];

    // In the factors' type, as training tools save it, where that holds it.
    private static Tensor AlphaTensor(string name, double alpha, DType type)
    {
        Tensor tensor = Tensor.FromFloats(name, new Shape(), [(float)alpha]);
        if (type is not (DType.F16 or DType.BF16))
            return tensor;
        Tensor narrow = QuantBlocks.ToTensor(name, type, tensor.Shape, [(float)alpha]);
        return narrow.ToFloats()[0] == (float)alpha ? narrow : tensor;
    }
}
