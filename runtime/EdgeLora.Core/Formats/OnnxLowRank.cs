namespace EdgeLora.Core;

/// <summary>
/// Low-rank pairs as ONNX graphs take them, and so as <c>.onnx_adapter</c> files hold them: inputs named <c>model.layers.0.attn.q_proj.lora_A.MatMul.weight</c>, A [I, R] and B [R, O], the scale
/// already in B: y = W·x + (x·A)·B. Names are those of onnxruntime-genai's model builder (make_matmul_lora) and of Olive's convert-adapters; modules that those do not know keep the checkpoint's names.
/// </summary>
public static class OnnxLowRank
{
    private const string EndingA = ".lora_A.MatMul.weight", EndingB = ".lora_B.MatMul.weight", Layers = "model.layers.", Attention = ".self_attn.", OnnxAttention = ".attn.";

    // Olive leaves out the operator where the graph came from torch's exporter.
    private static readonly (string Ending, PeftPart Part)[] s_endings = [(EndingA, PeftPart.A), (EndingB, PeftPart.B), (".lora_A.weight", PeftPart.A), (".lora_B.weight", PeftPart.B)];

    /// <summary>The input's name for A or B of a module, which is named as in the checkpoint.</summary>
    public static string NameOf(string module, PeftPart part) => Swap(module, Attention, OnnxAttention) + part switch
    {
        PeftPart.A => EndingA,
        PeftPart.B => EndingB,
        _ => throw new ArgumentOutOfRangeException(nameof(part), part, "expected A or B"),
    };

    /// <summary>Reads a file as an adapter with B as it stands and scale 1. Throws <see cref="ModelFileException"/> with every fault.</summary>
    public static PeftAdapter Read(string path)
    {
        using OnnxAdapter file = OnnxAdapter.Read(path);
        FaultList faults = new(path);
        List<(string Module, PeftPart Part, Tensor Value)> tensors = [];
        Dictionary<string, int> ranks = [];
        foreach ((string name, Tensor tensor) in file.File.Tensors)
        {
            (string ending, PeftPart part) = Array.Find(s_endings, e => name.Length > e.Ending.Length && name.EndsWith(e.Ending, StringComparison.Ordinal));
            if (ending is null)
                faults.Add($"{name}: is neither A nor B of a module: expected a name that ends in {EndingA} or {EndingB}");
            else if (tensor.Shape.Rank != 2 || tensor.Shape.Elements == 0)
                faults.Add($"{name}: expected {(part == PeftPart.A ? "[inputs, rank]" : "[rank, outputs]")}, found {tensor.Shape}");
            else
            {
                string module = Swap(name[..^ending.Length], OnnxAttention, Attention);
                tensors.Add((module, part, tensor.Transposed()));
                int rank = (int)tensor.Shape[part == PeftPart.A ? 1 : 0];
                if (!ranks.TryAdd(module, rank) && ranks[module] != rank)
                    faults.Add($"{module}: A and B are of ranks {ranks[module]} and {rank}");
            }
        }
        if (file.File.Tensors.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();
        return PeftAdapter.Create(path, Config(path, ranks), tensors);
    }

    /// <summary>Writes an adapter's pairs. Throws <see cref="ModelFileException"/> naming everything of it that graph inputs cannot hold: they add s·B·A to linear layers and nothing else.</summary>
    /// <param name="path">The file.</param>
    /// <param name="adapter">What is written.</param>
    /// <param name="type">F32 or F16: the type of the graph's inputs.</param>
    /// <param name="cancellation">Stops between two tensors; nothing is left behind.</param>
    public static void Write(string path, PeftAdapter adapter, DType type = DType.F32, CancellationToken cancellation = default)
    {
        if (type is not (DType.F32 or DType.F16))
            throw new ArgumentException($"{type}: expected F32 or F16");
        FaultList faults = new(adapter.FilePath);
        CheckMethod(adapter.Config, faults);
        List<Tensor> tensors = [];
        foreach (PeftModule module in adapter.Modules.Values)
        {
            foreach (PeftPart part in module.Parts.Keys)
                // A frozen copy of the base's own weight says nothing.
                if (part is not (PeftPart.A or PeftPart.B or PeftPart.BaseWeight))
                    faults.Add($"{module.Name}.{PeftAdapter.LabelOf(part)}: an {OnnxAdapter.Extension} file cannot hold it");
            if (module[PeftPart.A] is { } a && module[PeftPart.B] is { } b)
                Add(tensors, module.Name, a, b, adapter.Config, type, faults);
            else if (module[PeftPart.A] is not null || module[PeftPart.B] is not null)
                faults.Add($"{module.Name}.{PeftAdapter.LabelOf(module[PeftPart.A] is null ? PeftPart.A : PeftPart.B)}: is missing");
        }
        if (tensors.Count == 0 && faults.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();
        OnnxAdapter.Write(path, tensors, cancellation: cancellation);
    }

    private static void CheckMethod(PeftConfig config, FaultList faults)
    {
        void Check(bool holds, string what)
        {
            if (!holds)
                faults.Add($"{PeftConfigReader.FileName}: {what}: an {OnnxAdapter.Extension} file cannot hold it");
        }
        Check(config.PeftType == "LORA", $"peft_type {config.PeftType}");
        Check(!config.UseDora, "use_dora");
        Check(config.Residual == PeftResidual.None, "init_lora_weights that changed the base");
        Check(config.InvocationTokens is null, "alora_invocation_tokens");
        Check(config.LayerReplication is null, "layer_replication");
        Check(config.ModulesToSave.Count == 0, "modules_to_save");
        Check(config.TokenRows.Count == 0, "trainable_token_indices");
        Check(config.Bias == PeftBias.None, "bias");
        Check(!config.LoraBias, "lora_bias");
    }

    private static void Add(List<Tensor> tensors, string module, Tensor a, Tensor b, PeftConfig config, DType type, FaultList faults)
    {
        if (a.Shape.Rank != 2 || b.Shape.Rank != 2 || a.Shape[0] != b.Shape[1] || a.Shape[0] < 1)
        {
            faults.Add($"{module}: expected A [rank, inputs] and B [outputs, rank], found {a.Shape} and {b.Shape}");
            return;
        }
        float scale = (float)config.ScaleOf(module, (int)a.Shape[0]);
        foreach ((Tensor tensor, PeftPart part) in new[] { (a, PeftPart.A), (b, PeftPart.B) })
        {
            float[] values = tensor.ToFloats();
            for (int i = 0; part == PeftPart.B && i < values.Length; i++)
                values[i] *= scale;
            if (type == DType.F16 && Array.Exists(values, v => float.IsFinite(v) && !Half.IsFinite((Half)v)))
                faults.Add($"{module}.{PeftAdapter.LabelOf(part)}: holds numbers too large for F16");
            tensors.Add(QuantBlocks.ToTensor(NameOf(module, part), type, tensor.Shape, values).Transposed());
        }
    }

    // alpha is the rank everywhere: a scale of 1. The commonest rank stands for all, the others are named.
    private static PeftConfig Config(string path, Dictionary<string, int> ranks)
    {
        int common = ranks.Values.CountBy(r => r).MaxBy(c => c.Value).Key;
        try
        {
            PeftPatternValue[] others = [.. ranks.Where(r => r.Value != common).Select(r => new PeftPatternValue(PythonPattern.DottedEnd(r.Key.Replace(".", "\\.")), r.Value))];
            return new() { Rank = common, Alpha = common, RankPattern = others, AlphaPattern = others, TargetModules = [.. ranks.Keys] };
        }
        catch (ArgumentException e)
        {
            throw new ModelFileException(path, $"a module's name is none: {e.Message}", e);
        }
    }

    // model.layers.0.self_attn.q_proj <-> model.layers.0.attn.q_proj
    private static string Swap(string module, string from, string to)
    {
        int at = module.IndexOf(from, StringComparison.Ordinal);
        return module.StartsWith(Layers, StringComparison.Ordinal) && at >= Layers.Length && module.AsSpan(Layers.Length, at - Layers.Length).IndexOf('.') < 0
            ? module[..at] + to + module[(at + from.Length)..]
            : module;
    }
}
