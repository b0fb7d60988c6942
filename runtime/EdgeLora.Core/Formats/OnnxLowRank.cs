using System.Globalization;

namespace EdgeLora.Core;

/// <summary>
/// Low-rank pairs as ONNX graphs take them, and so as <c>.onnx_adapter</c> files hold them: inputs named <c>model.layers.0.attn.q_proj.lora_A.MatMul.weight</c>, A [I, R] and B [R, O], the scale
/// already in B: y = W·x + (x·A)·B. Names are those of onnxruntime-genai's model builder (make_matmul_lora) and of Olive's convert-adapters; modules that those do not know keep the checkpoint's names.
/// </summary>
public static class OnnxLowRank
{
    private const string Title = "an .onnx_adapter file", EndingA = ".lora_A.MatMul.weight", EndingB = ".lora_B.MatMul.weight", Layers = "model.layers.", Attention = ".self_attn.", OnnxAttention = ".attn.";

    // Olive leaves out the operator where the graph came from torch's exporter; graphs made by hand name the inputs alone.
    private static readonly (string Ending, PeftPart Part)[] s_endings =
        [(EndingA, PeftPart.A), (EndingB, PeftPart.B), (".lora_A.weight", PeftPart.A), (".lora_B.weight", PeftPart.B), (".lora_A", PeftPart.A), (".lora_B", PeftPart.B)];

    // The file's own versions, kept as metadata.
    private const string AdapterVersion = "onnx_adapter.adapter_version", ModelVersion = "onnx_adapter.model_version";

    /// <summary>Whether metadata of this name is one of the file's own versions.</summary>
    internal static bool IsVersion(string key) => key is AdapterVersion or ModelVersion;

    /// <summary>Whether a tensor of this name is A or B of a pair.</summary>
    public static bool IsPart(string name) => Array.Exists(s_endings, e => name.Length > e.Ending.Length && name.EndsWith(e.Ending, StringComparison.Ordinal));

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
        // A part that was refused above is not missing.
        foreach (string module in faults.Count > 0 ? [] : tensors.GroupBy(t => t.Module).Where(g => g.DistinctBy(t => t.Part).Count() < 2).Select(g => g.Key))
            faults.Add($"{module}: {PeftAdapter.LabelOf(tensors.Exists(t => t.Module == module && t.Part == PeftPart.A) ? PeftPart.B : PeftPart.A)} is missing");
        if (file.File.Tensors.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();
        // alpha is the rank everywhere: a scale of 1.
        Dictionary<string, string> versions = file is { AdapterVersion: 1, ModelVersion: 1 } ? []
            : new() { [AdapterVersion] = file.AdapterVersion.ToString(CultureInfo.InvariantCulture), [ModelVersion] = file.ModelVersion.ToString(CultureInfo.InvariantCulture) };
        return PeftAdapter.Create(path, PairConfig.Of(path, ranks.ToDictionary(r => r.Key, r => (r.Value, (double)r.Value))), tensors, versions);
    }

    /// <summary>What graph inputs cannot hold: they add s·B·A to linear layers and nothing else. The scale always goes into B.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="type">F32 or F16: the type of the graph's inputs; null: as the tensors are, F32 for other types.</param>
    public static AdapterVerdict Judge(PeftAdapter adapter, DType? type = null)
    {
        List<string> refusals = [];
        AdapterContents.Refuse(adapter, AdapterTraits.None, Title, refusals);
        List<LowRankPair> pairs = [.. LowRankPair.Of(adapter, refusals).Where(p => !p.IsEmbedding)];
        if (type is not (null or DType.F32 or DType.F16))
            refusals.Add($"{type}: {Title} is of F32 or F16");
        if (pairs.Count == 0 && refusals.Count == 0)
            refusals.Add("holds no low-rank pair");
        return ScaleFold.Judge(pairs.Select(p => (p, p.Scale, TypeOf(p.B, type))), Title, refusals);
    }

    /// <summary>Writes an adapter's pairs, with every scale in B. Throws <see cref="ModelFileException"/> naming what <see cref="Judge"/> refuses.</summary>
    /// <param name="path">The file.</param>
    /// <param name="adapter">What is written.</param>
    /// <param name="type">F32 or F16: the type of the graph's inputs; null: as the tensors are, F32 for other types.</param>
    /// <param name="cancellation">Stops between two tensors; nothing is left behind.</param>
    public static void Write(string path, PeftAdapter adapter, DType? type = null, CancellationToken cancellation = default)
    {
        if (type is not (null or DType.F32 or DType.F16))
            throw new ArgumentException($"{type}: expected F32 or F16");
        new AdapterVerdict([], Judge(adapter, type).Refusals).Demand(adapter.FilePath, fold: true);
        List<Tensor> tensors = [];
        foreach (LowRankPair pair in LowRankPair.Of(adapter, []))
        {
            Add(pair.A, 1, PeftPart.A, pair.Module);
            Add(pair.B, pair.Scale, PeftPart.B, pair.Module);
        }
        OnnxAdapter.Write(path, tensors, Version(AdapterVersion), Version(ModelVersion), cancellation);

        int Version(string key) => int.TryParse(adapter.File.Metadata.GetValueOrDefault(key), CultureInfo.InvariantCulture, out int version) ? version : 1;

        void Add(Tensor tensor, double factor, PeftPart part, string module)
        {
            DType stored = TypeOf(tensor, type);
            ScaleFold.Require(tensor, factor, stored, $"{module}.{PeftAdapter.LabelOf(part)}", adapter.FilePath);
            Shape turned = new(tensor.Shape[1], tensor.Shape[0]);
            tensors.Add(new(NameOf(module, part), stored, turned, new ComputedStorage(stored.Bytes(turned.Elements), () => ScaleFold.Apply(tensor, factor, stored).Transposed())));
        }
    }

    private static DType TypeOf(Tensor tensor, DType? type) => ScaleFold.TypeOf(tensor, type, DType.F32, DType.F16);

    // model.layers.0.self_attn.q_proj <-> model.layers.0.attn.q_proj
    private static string Swap(string module, string from, string to)
    {
        int at = module.IndexOf(from, StringComparison.Ordinal);
        return module.StartsWith(Layers, StringComparison.Ordinal) && at >= Layers.Length && module.AsSpan(Layers.Length, at - Layers.Length).IndexOf('.') < 0
            ? module[..at] + to + module[(at + from.Length)..]
            : module;
    }
}
