namespace EdgeLora.Core;

/// <summary>
/// The sites of a diffusion adapter while a file is read: checked one by one, then put together as an adapter whose modules are named as in diffusers with the pipeline's component in front
/// (<c>unet.mid_block.resnets.0.conv1</c>). Convolutions keep their kernel: A [R, I, k, k], B [O, R, 1, 1].
/// </summary>
internal sealed class DiffusionSites(string path, FaultList faults)
{
    private readonly List<(string Module, PeftPart Part, Tensor Value)> _tensors = [];
    private readonly Dictionary<string, (int Rank, double Alpha)> _sites = [];
    private bool _dora, _bias;

    /// <summary>Parts of a diffusion pipeline that adapters stand on.</summary>
    public static IReadOnlyList<string> Components { get; } = ["unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"];

    // GPT-2, Falcon and BLOOM call their whole model "transformer" as well.
    private static readonly string[] s_language = ["transformer.h.", "transformer.wte", "transformer.wpe", "transformer.word_embeddings", "transformer.ln_f"];

    /// <summary>The component that a module's name begins with, and the rest; null for a name of no diffusion pipeline.</summary>
    public static (string Component, string Name)? Split(string module) =>
        module.IndexOf('.') is int at and > 0 && Components.Contains(module[..at]) && !Array.Exists(s_language, l => module.StartsWith(l, StringComparison.Ordinal)) ? (module[..at], module[(at + 1)..]) : null;

    /// <summary>Modules so far.</summary>
    public IReadOnlyCollection<string> Modules => _sites.Keys;

    /// <summary>Adds s·B·A with s = alpha/R, after its check; <paramref name="label"/> is what the file calls it.</summary>
    public void Add(string label, string module, Tensor a, Tensor b, double alpha, Tensor? magnitude = null, Tensor? bias = null)
    {
        if (a.Shape.Rank is < 2 or > 5 || b.Shape.Rank < 2 || a.Shape.Elements == 0 || b.Shape.Elements == 0 || a.Shape[0] != b.Shape[1] || b.Shape.Elements != b.Shape[0] * b.Shape[1] || a.Shape[0] > 1 << 16)
            faults.Add($"{label}: expected a factor [rank, inputs(, kernel)] and one [outputs, rank(, 1, 1)], found {a.Shape} and {b.Shape}");
        else if (!IsFloat(a) || !IsFloat(b))
            faults.Add($"{label}: expected factors of F32, F16, BF16 or F64, found {a.Type} and {b.Type}");
        else if (magnitude is not null && (magnitude.Shape.Elements != b.Shape[0] || !IsFloat(magnitude)))
            faults.Add($"{label}: expected {b.Shape[0]} magnitudes, found {magnitude.Type} {magnitude.Shape}");
        else if (bias is not null && (bias.Shape.Elements != b.Shape[0] || !IsFloat(bias)))
            faults.Add($"{label}: expected a bias of {b.Shape[0]}, found {bias.Type} {bias.Shape}");
        else if (!double.IsFinite(alpha))
            faults.Add($"{label}.alpha: expected a finite number, found {alpha}");
        else if (!_sites.TryAdd(module, ((int)a.Shape[0], alpha)))
            faults.Add($"{label}: {module} is there twice");
        else
        {
            // A linear factor beside one of a 1×1 kernel: both take the kernel's form.
            if (a.Shape.Rank != b.Shape.Rank)
                b = b.View(b.Name, new Shape([b.Shape[0], b.Shape[1], .. Enumerable.Repeat(1L, a.Shape.Rank - 2)]));
            _tensors.Add((module, PeftPart.A, a));
            _tensors.Add((module, PeftPart.B, b));
            if (magnitude is not null)
                _tensors.Add((module, PeftPart.Magnitude, magnitude.View(magnitude.Name, new Shape(b.Shape[0]))));
            if (bias is not null)
                _tensors.Add((module, PeftPart.OutputBias, bias.View(bias.Name, new Shape(b.Shape[0]))));
            _dora |= magnitude is not null;
            _bias |= bias is not null;
        }
    }

    /// <summary>The adapter. Throws <see cref="ModelFileException"/> with every fault so far.</summary>
    /// <param name="owner">The file that the tensors look into; the adapter owns it from here on.</param>
    /// <param name="metadata">What is kept of the file's texts.</param>
    public PeftAdapter ToAdapter(TensorFile owner, IReadOnlyDictionary<string, string> metadata)
    {
        if (_sites.Count == 0 && faults.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();
        PeftConfig config = PairConfig.Of(path, _sites) with { TaskType = null, UseDora = _dora, LoraBias = _bias };
        Dictionary<string, Tensor> named = [];
        foreach ((string module, PeftPart part, Tensor value) in _tensors)
        {
            string name = PeftAdapter.NameOf(config, module, part);
            named[name] = value.View(name, value.Shape);
        }
        return PeftAdapter.Assemble(path, config, PeftConfigWriter.ToJson(config), new TensorFile(path, named, metadata, []), owner);
    }

    private static bool IsFloat(Tensor tensor) => tensor.Type is DType.F32 or DType.F16 or DType.BF16 or DType.F64;
}
