using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// The modules of a classifier's head. A checkpoint that is no classifier (a bare model, a masked language model) has none: they are zero then, and only a path that
/// replaces every one of them (modules_to_save, as adapters for sequence classification have) gives classes.
/// </summary>
public sealed class ClassifierHead
{
    /// <summary>How the classes of models that classify texts end.</summary>
    public const string OfSequences = "ForSequenceClassification";

    private static readonly string[] s_headless = ["Model", "ForMaskedLM", "ForPreTraining", "ForMaskedImageModeling", "ForCausalLM"];

    private readonly SiteBuilder _build;
    private readonly IComputeBackend _backend;
    private readonly List<LinearSite> _missing = [];
    private readonly int? _classes;
    private readonly bool _may;

    /// <summary>Reads from the config whether the checkpoint classifies. Throws <see cref="ModelFileException"/> for a head of another kind.</summary>
    /// <param name="build">Where the weights come from.</param>
    /// <param name="backend">Where they go.</param>
    /// <param name="suffix">How the classes of models that classify end.</param>
    /// <param name="classes">Classes of a checkpoint without a classifier; null: those of id2label, or 2 as in the reference library.</param>
    internal ClassifierHead(SiteBuilder build, IComputeBackend backend, string suffix, int? classes)
    {
        (_build, _backend, _classes) = (build, backend, classes);
        HfConfig config = build.Checkpoint.Config;
        if (config.TryGetStrings("architectures", out IReadOnlyList<string> named) && named.Count > 0)
        {
            _may = s_headless.Any(s => named[0].EndsWith(s, StringComparison.Ordinal));
            if (!_may && !named[0].EndsWith(suffix, StringComparison.Ordinal))
                throw config.Refusal("architectures", $"a model {suffix}, or one without a head (…Model, …ForMaskedLM)");
        }
        else
        {
            _may = true;
        }
    }

    /// <summary>Classes of the classifier that an adapter brings; null where it brings none.</summary>
    public static int? ClassesOf(PeftAdapter adapter) =>
        new[] { "classifier.out_proj", "classifier", "score" }.Select(name => adapter.Modules.GetValueOrDefault(name)?[PeftPart.Weight]).FirstOrDefault(w => w is { Shape.Rank: 2 }) is { } weight ? (int)weight.Shape[0] : null;

    /// <summary>Modules that the checkpoint lacks.</summary>
    public IReadOnlyList<LinearSite> Missing => _missing;

    /// <summary>Checks that a path brings every module that is missing. Throws <see cref="InvalidOperationException"/>.</summary>
    internal static void Require(IReadOnlyList<LinearSite> missing, AdapterPath path, string checkpoint)
    {
        foreach (LinearSite site in missing)
            if (path.Table[site.Index] is not { Weight: not null } own || (site.Bias is not null && own.Bias is null))
                throw new InvalidOperationException($"{checkpoint}: has no classifier ({site.Name}.weight is missing), and {(path.Name.Length == 0 ? "the root" : $"'{path.Name}'")} brings none");
    }

    /// <summary>A module [O, I] of the head.</summary>
    /// <param name="name">Its name for adapters.</param>
    /// <param name="stored">Its name in the checkpoint.</param>
    /// <param name="outputs">O.</param>
    /// <param name="inputs">I.</param>
    /// <param name="bias">Whether it has a bias.</param>
    public LinearSite Linear(string name, string stored, int outputs, int inputs, bool bias = true)
    {
        if (!_may || _build.Store.Has(stored + ".weight"))
            return _build.Linear(name, stored, outputs, inputs, bias);
        LinearSite site = _build.Linear(name, _backend.Allocate(name + ".weight", DType.F32, new Shape(outputs, inputs)), bias ? _backend.Allocate(name + ".bias", DType.F32, new Shape(outputs)) : null);
        _missing.Add(site);
        return site;
    }

    /// <summary>The last module: its rows are the classes, whatever config.json counts.</summary>
    public LinearSite Classifier(string name, int inputs, bool bias = true)
    {
        HfConfig config = _build.Checkpoint.Config;
        int labels = ClassLabels.Count(config) ?? 2;
        bool there = _build.Checkpoint.Weights.Tensors.TryGetValue(name + ".weight", out Tensor? weight) && weight.Shape.Rank == 2 && weight.Shape[0] is > 0 and < 1 << 24;
        return Linear(name, name, there ? (int)weight!.Shape[0] : _classes ?? labels, inputs, bias);
    }
}
