namespace EdgeLora.Core;

/// <summary>
/// A folder of mlx-lm: adapters.safetensors with <c>MODULE.lora_a</c> [I, R], <c>MODULE.lora_b</c> [R, O] and, for DoRA, <c>MODULE.m</c> [O]; and adapter_config.json (<see cref="MlxConfig"/>). One rank and one scale for all,
/// the scale being the factor itself. fine_tune_type full holds whole weights. Source: ml-explore/mlx-lm, tuner/utils.py, lora.py and dora.py.
/// </summary>
public sealed class MlxFormat : AdapterFileFormat
{
    private const string EndA = ".lora_a", EndB = ".lora_b", EndM = ".m", Layers = "model.h.", Experts = ".experts.";

    // mlx-lm calls every model "model"; its GPT-2 and GPT-NeoX call their layers h.
    private static readonly (string Mlx, string Checkpoint)[] s_roots =
        [("model.wte", "transformer.wte"), ("model.wpe", "transformer.wpe"), ("model.embed_in", "gpt_neox.embed_in"), ("model.embed_out", "embed_out")];

    /// <summary>The tensors' file.</summary>
    public const string WeightsName = "adapters.safetensors";

    /// <inheritdoc/>
    public override string Name => "mlx";

    /// <inheritdoc/>
    public override string Title => "an MLX folder";

    /// <inheritdoc/>
    public override string? Extension => null;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Files { get; } = [PeftConfigReader.FileName, WeightsName];

    /// <inheritdoc/>
    public override string ScaleRule(PeftAdapter adapter) => "one factor for all";

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.BaseModel | AdapterTexts.Dropout | AdapterTexts.Metadata;

    /// <inheritdoc/>
    public override bool Recognizes(string path) => File.Exists(Path.Combine(path, WeightsName)) && !File.Exists(Path.Combine(path, PeftAdapter.WeightsName)) && !File.Exists(Path.Combine(path, PeftAdapter.BinaryName));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        MlxConfig config = MlxConfig.Read(path, options.Alpha);
        TensorFile file = PeftFormat.Naming(path, WeightsName, () => Safetensors.Open(Path.Combine(path, WeightsName)));
        try
        {
            PeftAdapter adapter = config.IsFull ? ReadFull(path, file, config) : ReadPairs(path, file, config, options);
            adapter.Unread = config.Unread;
            return adapter;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => Plan(adapter, options, out _, out _, out _);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Plan(adapter, options, out List<LowRankPair> pairs, out double scale, out double[] left).Demand(adapter.FilePath, options.Fold);
        int rank = pairs.Max(p => p.Rank);
        List<Tensor> tensors = [];
        for (int i = 0; i < pairs.Count; i++)
        {
            (LowRankPair pair, string name) = (pairs[i], ToMlx(pairs[i].Module));
            tensors.Add(Stored(pair.A, 1, name + EndA, new(pair.A.Shape[1], rank), t => t.Resized(new(rank, t.Shape[1])).Transposed()));
            tensors.Add(Stored(pair.B, left[i], name + EndB, new(rank, pair.B.Shape[0]), t => t.Resized(new(t.Shape[0], rank)).Transposed()));
            if (adapter.Modules[pair.Module][PeftPart.Magnitude] is { } magnitude)
                tensors.Add(Stored(magnitude, 1, name + EndM, new(magnitude.Shape.Elements), t => t));
        }
        Safetensors.Write(Path.Combine(path, WeightsName), tensors.OrderBy(t => t.Name, StringComparer.Ordinal), adapter.WithFormat("mlx"), cancellation);
        AtomicFile.WriteText(Path.Combine(path, PeftConfigReader.FileName), MlxConfig.Text(adapter, pairs, ToMlx, rank, scale, options.Base));

        Tensor Stored(Tensor tensor, double factor, string name, Shape shape, Func<Tensor, Tensor> lay)
        {
            DType type = TypeOf(tensor, factor, options);
            ScaleFold.Require(tensor, factor, type, name, adapter.FilePath);
            return new(name, type, shape, new ComputedStorage(type.Bytes(shape.Elements), () => lay(ScaleFold.Apply(tensor, factor, type))));
        }
    }

    private AdapterVerdict Plan(PeftAdapter adapter, AdapterOptions options, out List<LowRankPair> pairs, out double scale, out double[] left)
    {
        List<string> refusals = [];
        AdapterContents.Refuse(adapter, AdapterTraits.Dora | AdapterTraits.Embedding, Title, refusals);
        pairs = LowRankPair.Of(adapter, refusals);
        AdapterContents.RefuseMissingMagnitudes(adapter, refusals);
        if (pairs.Find(p => p.Module.Contains(Experts, StringComparison.Ordinal)) is { } expert)
            refusals.Add($"{expert.Module}: mlx-lm has all experts of a layer in one module, and their pairs are not written");
        foreach (LowRankPair table in pairs.Where(p => p.IsEmbedding).ToList())
        {
            if (adapter.Config.UseDora)
                refusals.Add($"{table.Module}.{PeftAdapter.LabelOf(PeftPart.Magnitude)}: {Title} has magnitudes per token, PEFT one per column");
            else if (options.Base is not { } model)
                refusals.Add($"{table.Module}: mlx-lm moves a head that is tied to the table along with it; the base tells whether it is: give it (--base)");
            else if (TableNames.IsTied(model) && adapter.Config.EnsureWeightTying)
                pairs.RemoveAll(p => p.Module == "lm_head");
            else if (TableNames.IsTied(model))
                refusals.Add($"{table.Module}: the base's head is tied to it, and mlx-lm would move the head along with it");
        }
        if (pairs.Count == 0 && refusals.Count == 0)
            refusals.Add("holds no low-rank pair");
        (scale, left) = pairs.Count == 0 ? (1, []) : OneAlpha.Plain(pairs);
        double[] factors = left;
        return ScaleFold.Judge(pairs.Select((p, i) => (p, factors[i], TypeOf(p.B, factors[i], options))), Title, refusals);
    }

    private static PeftAdapter ReadPairs(string path, TensorFile file, MlxConfig config, AdapterOptions options)
    {
        FaultList faults = new(path);
        Dictionary<string, (int Rank, double Alpha)> pairs = [];
        List<(string Module, PeftPart Part, Tensor Value)> tensors = [];
        foreach ((string name, Tensor tensor) in file.Tensors)
        {
            string ending = Array.Find([EndA, EndB, EndM], e => name.Length > e.Length && name.EndsWith(e, StringComparison.Ordinal)) ?? "";
            string module = FromMlx(name[..^ending.Length]);
            bool table = TableNames.Contains(module);
            if (ending.Length == 0)
                faults.Add($"{name}: expected a name that ends in {EndA}, {EndB} or {EndM}");
            else if (config.Fault(name[..^ending.Length]) is { } fault)
                faults.Add(fault);
            else if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64))
                faults.Add($"{name}: is {tensor.Type}: expected F32, F16 or BF16");
            else if (ending == EndM)
            {
                if (!config.IsDora || table)
                    faults.Add($"{name}: {(table ? "magnitudes per token are not PEFT's" : "fine_tune_type is not dora")}");
                tensors.Add((module, PeftPart.Magnitude, tensor));
            }
            else if (tensor.Shape.Rank != 2 || tensor.Shape.Elements == 0)
                faults.Add($"{name}: expected {(ending == EndA ? "[inputs, rank]" : "[rank, outputs]")}, found {tensor.Shape}{(tensor.Shape.Rank == 3 ? ": pairs of experts are not read" : "")}");
            else if (tensor.Shape[ending == EndA ? 1 : 0] != config.Rank)
                faults.Add($"{name}: expected rank {config.Rank} of lora_parameters, found {tensor.Shape}");
            else
            {
                pairs[module] = (config.Rank, PairConfig.AlphaOf(config.Scale, config.Rank));
                tensors.Add((module, (table, ending) switch { (false, EndA) => PeftPart.A, (false, _) => PeftPart.B, (_, EndA) => PeftPart.EmbeddingA, _ => PeftPart.EmbeddingB }, tensor.Transposed()));
            }
        }
        bool follows = AddTied(pairs, tensors, options, faults);
        foreach (string module in tensors.Where(t => t.Part != PeftPart.Magnitude).CountBy(t => t.Module).Where(c => c.Value < 2).Select(c => c.Key))
            faults.Add($"{module}: {EndA[1..]} or {EndB[1..]} is missing");
        if (pairs.Count == 0 && faults.Count == 0)
            faults.Add("holds no low-rank pair");
        config.CheckLayers(pairs.Keys, faults);
        faults.ThrowIfAny();
        PeftConfig peft = PairConfig.Of(path, pairs) with { UseDora = config.IsDora, BaseModel = config.BaseModel, Dropout = config.Dropout, EnsureWeightTying = follows };
        Dictionary<string, Tensor> named = [];
        foreach ((string module, PeftPart part, Tensor value) in tensors)
            named[PeftAdapter.NameOf(peft, module, part)] = value.View(PeftAdapter.NameOf(peft, module, part), value.Shape);
        return PeftAdapter.From(path, peft, new(path, named, file.Metadata, [new TensorFileOwner(file)]));
    }

    // A tied head moves along: PEFT's file has its pair too, A and B exchanged and turned.
    private static bool AddTied(Dictionary<string, (int Rank, double Alpha)> pairs, List<(string Module, PeftPart Part, Tensor Value)> tensors, AdapterOptions options, FaultList faults)
    {
        if (!tensors.Exists(t => t.Part == PeftPart.EmbeddingA) || faults.Count > 0)
            return false;
        (string table, _, Tensor a) = tensors.Find(t => t.Part == PeftPart.EmbeddingA);
        if (options.Base is not { } model)
            faults.Add($"{table}: mlx-lm moves a head that is tied to the table along with it; the base tells whether it is: give it (--base)");
        else if (TableNames.IsTied(model) && tensors.Find(t => t.Part == PeftPart.EmbeddingB).Value is { } b)
        {
            pairs["lm_head"] = pairs[table];
            tensors.Add(("lm_head", PeftPart.A, b.Transposed()));
            tensors.Add(("lm_head", PeftPart.B, a.Transposed()));
            return true;
        }
        return false;
    }

    private static PeftAdapter ReadFull(string path, TensorFile file, MlxConfig given)
    {
        FaultList faults = new(path);
        PeftConfig config = new() { PeftType = PeftConfig.Partial, BaseModel = given.BaseModel };
        Dictionary<string, Tensor> tensors = [];
        foreach ((string name, Tensor tensor) in file.Tensors)
        {
            PeftPart part = name.EndsWith(".bias", StringComparison.Ordinal) ? PeftPart.Bias : PeftPart.Weight;
            if (name.StartsWith(Layers, StringComparison.Ordinal) || !name.EndsWith("." + PeftAdapter.LabelOf(part), StringComparison.Ordinal))
                faults.Add($"{name}: expected a weight or bias under the checkpoint's own name");
            else if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16))
                faults.Add($"{name}: is {tensor.Type}: a quantised layer is not read");
            else
            {
                string peft = PeftAdapter.NameOf(config, name[..name.LastIndexOf('.')], part);
                tensors[peft] = tensor.View(peft, tensor.Shape);
            }
        }
        faults.ThrowIfAny();
        return PeftAdapter.From(path, config, new(path, tensors, file.Metadata, [new TensorFileOwner(file)]));
    }

    private static DType TypeOf(Tensor tensor, double factor, AdapterOptions options) => ScaleFold.TypeOf(tensor, factor, options.Type, DType.F32, DType.F16, DType.BF16);

    // mlx-lm's GPT-2 calls its model "model", not "transformer".
    private static string FromMlx(string module) => Array.Find(s_roots, r => r.Mlx == module).Checkpoint ?? (!module.StartsWith(Layers, StringComparison.Ordinal) ? module
        : (module.Contains(".attention.", StringComparison.Ordinal) || module.Contains(".mlp.dense_", StringComparison.Ordinal) ? "gpt_neox.layers." : module.Contains(".attn.", StringComparison.Ordinal) || module.Contains(".mlp.c_", StringComparison.Ordinal) ? "transformer.h." : Layers) + module[Layers.Length..]);

    // Other models that call their layers so (Falcon) keep their names: mlx-lm has none of them.
    private static string ToMlx(string module) => Array.Find(s_roots, r => r.Checkpoint == module).Mlx
        ?? (Array.Find(["transformer.h.", "gpt_neox.layers."], p => module.StartsWith(p, StringComparison.Ordinal)) is { } layers && FromMlx(Layers + module[layers.Length..]) == module ? Layers + module[layers.Length..] : module);
}
