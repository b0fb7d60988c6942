using System.Text.RegularExpressions;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>
/// The adapter that a LoRA run starts from, in memory, as the library would save it before the first step: same keys, shapes and configuration. A is uniform in ±1/√in or normal with
/// deviation 1/r, B zero; on embeddings A is zero and B normal with deviation 1; DoRA's magnitudes are the norms of W; PiSSA takes W's leading part; biases and saved modules are copies.
/// Sources: huggingface/peft tuners/lora/layer.py, utils/save_and_load.py.
/// </summary>
public sealed class AdapterStart
{
    private readonly TrainingRecipe _recipe;
    private readonly SiteCatalog _sites;
    private readonly SiteTable _under;
    private readonly FaultList _faults;
    private readonly string _path;

    private AdapterStart(TrainingRecipe recipe, SiteCatalog sites, SiteTable under)
    {
        _recipe = recipe;
        _sites = sites;
        _under = under;
        _path = recipe.Source.Length > 0 ? recipe.Source : "recipe";
        _faults = new(_path);
    }

    /// <summary>The adapter of <see cref="TrainingRecipe.AdapterInit"/> where that is set, else a fresh one. Throws <see cref="ModelFileException"/> with every fault.</summary>
    /// <param name="recipe">The run. What it sets itself must agree with an adapter that it starts from.</param>
    /// <param name="sites">The base's modules.</param>
    /// <param name="under">The parents' path; null: the bare base. Copies and norms are taken from what it makes of the base.</param>
    /// <param name="baseName">base_model_name_or_path of a fresh adapter.</param>
    /// <param name="task"><c>CAUSAL_LM</c>, or <c>SEQ_CLS</c>, which saves the classifier.</param>
    public static PeftAdapter Of(TrainingRecipe recipe, SiteCatalog sites, SiteTable? under = null, string? baseName = null, string task = "CAUSAL_LM")
    {
        AdapterStart start = new(recipe, sites, under ?? SiteTable.Base);
        try
        {
            PeftConfig config = start.Configure(baseName, task);
            return recipe.AdapterInit is { } init ? start.Continue(PeftAdapter.Open(init), config) : start.Create(config);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new ModelFileException(start._path, $"lora_target, rank_pattern or alpha_pattern: '{e.Pattern}' takes too long", e);
        }
    }

    private PeftConfig Configure(string? baseName, string task)
    {
        PeftConfig config = new()
        {
            TaskType = task,
            BaseModel = baseName,
            Rank = _recipe.LoraRank,
            Alpha = _recipe.Alpha,
            RankPattern = _recipe.RankPattern,
            AlphaPattern = _recipe.AlphaPattern,
            UseRslora = _recipe.UseRslora,
            UseDora = _recipe.UseDora,
            Bias = _recipe.Bias,
            ModulesToSave = [.. _recipe.ModulesToSave.Concat(task == "SEQ_CLS" ? ["classifier", "score"] : Array.Empty<string>()).Distinct()],
            LayersToTransform = _recipe.LayersToTransform,
            Residual = _recipe.LoraStart == LoraStart.Pissa ? PeftResidual.Pissa : PeftResidual.None,
            Start = _recipe.LoraStart == LoraStart.Gaussian ? "gaussian" : null,
            Dropout = _recipe.LoraDropout,
            TargetPattern = _recipe.LoraTarget.Pattern is { } pattern ? PythonPattern.Whole(pattern) : null,
        };
        config = config with { TargetModules = _recipe.LoraTarget.IsAll ? AllLinear(config) : [.. _recipe.LoraTarget.Names.Distinct().Order(StringComparer.Ordinal)] };
        return config with { FanInFanOut = _sites.Sites.Any(s => s.IsConv1D && config.Selects(s.Name)) };
    }

    // The library's all-linear ends up as the last parts of the modules' names.
    private string[] AllLinear(PeftConfig config) =>
    [
        .. _sites.Sites.Where(s => s.Linear is not null && s.Name != _sites.HeadName && !config.Saves(s.Name)).Select(s => LastPart(s.Name)).Distinct().Order(StringComparer.Ordinal),
    ];

    private PeftAdapter Create(PeftConfig config)
    {
        new AdapterStartChecks(_recipe, _sites, config, _faults).Run();
        _faults.ThrowIfAny();
        List<(string, PeftPart, Tensor)> tensors = [];
        RandomTensors random = new(_recipe.Seed);
        foreach (ModelSite site in _sites.Sites)
        {
            AdapterSource source = new(site, _under[site.Index]);
            bool targeted = config.Selects(site.Name), saved = config.Saves(site.Name);
            if (targeted)
                AddPair(site, source, config, random, tensors);
            if (saved)
                tensors.Add((site.Name, PeftPart.Weight, source.Weight()));
            Tensor? bias = saved ? source.BiasOfWeight() : config.Bias == PeftBias.All || config.Bias == PeftBias.LoraOnly && targeted ? source.Bias() : null;
            if (bias is not null && site.Bias is not null)
                tensors.Add((site.Name, targeted ? PeftPart.BaseBias : PeftPart.Bias, bias));
            else if (bias is not null)
                _faults.Add($"additional_target: {site.Name} has no bias, but a parent gave it one, which a copy cannot keep");
        }
        _faults.ThrowIfAny();
        return PeftAdapter.Create(_path, config, tensors);
    }

    private void AddPair(ModelSite site, AdapterSource source, PeftConfig config, RandomTensors random, List<(string, PeftPart, Tensor)> tensors)
    {
        int rank = config.RankOf(site.Name);
        (long inputs, long outputs) = site.Linear is { } linear ? (linear.Inputs, linear.Outputs) : (site.Embedding!.Table.Shape[0], site.Embedding.Table.Columns);
        Shape shapeA = new(rank, inputs), shapeB = new(outputs, rank);
        if (site.Embedding is not null)
        {
            tensors.Add((site.Name, PeftPart.EmbeddingA, Tensor.FromFloats("", shapeA, new float[shapeA.Elements])));
            tensors.Add((site.Name, PeftPart.EmbeddingB, Tensor.FromFloats("", shapeB, random.Normal(shapeB.Elements, 1))));
        }
        else if (_recipe.LoraStart == LoraStart.Pissa)
        {
            if (source.LeadingFactors(rank, config.ScaleOf(site.Name, rank)) is not var (a, b))
            {
                _faults.Add($"pissa_init: {site.Name}: the leading part of the weight does not stand apart from the rest");
                return;
            }
            tensors.Add((site.Name, PeftPart.A, a));
            tensors.Add((site.Name, PeftPart.B, b));
        }
        else
        {
            float[] a = _recipe.LoraStart == LoraStart.Gaussian ? random.Normal(shapeA.Elements, 1.0 / rank) : random.Uniform(shapeA.Elements, 1 / Math.Sqrt(inputs));
            tensors.Add((site.Name, PeftPart.A, Tensor.FromFloats("", shapeA, a)));
            tensors.Add((site.Name, PeftPart.B, Tensor.FromFloats("", shapeB, new float[shapeB.Elements])));
        }
        if (config.UseDora)
            tensors.Add((site.Name, PeftPart.Magnitude, source.Norms()));
    }

    // What a given adapter says holds; what the recipe sets beside it must say the same.
    private PeftAdapter Continue(PeftAdapter init, PeftConfig asked)
    {
        PeftConfig has = init.Config;
        void Compare(string field, bool equal, string wanted, string found)
        {
            if (_recipe.Given.Contains(field) && !equal)
                _faults.Add($"{field}: adapter_init has {found}, the recipe asks for {wanted}");
        }
        if (has.PeftType is "IA3" or "OFT" or "BOFT")
            _faults.Add($"adapter_init: peft_type {has.PeftType} is run here, not trained");
        Compare("lora_rank", asked.Rank == has.Rank, $"{asked.Rank}", $"{has.Rank}");
        Compare("lora_alpha", asked.Alpha == has.Alpha, $"{asked.Alpha}", $"{has.Alpha}");
        Compare("use_rslora", asked.UseRslora == has.UseRslora, $"{asked.UseRslora}", $"{has.UseRslora}");
        Compare("use_dora", asked.UseDora == has.UseDora, $"{asked.UseDora}", $"{has.UseDora}");
        Compare("bias", asked.Bias == has.Bias, $"{asked.Bias}", $"{has.Bias}");
        foreach (string field in new[] { "pissa_init", "init_lora_weights" })
            Compare(field, asked.Residual == has.Residual, $"{asked.Residual}", $"{has.Residual}");
        foreach ((string field, Func<PeftConfig, IEnumerable<string>> list) in new (string, Func<PeftConfig, IEnumerable<string>>)[]
        {
            ("rank_pattern", c => c.RankPattern.Select(p => $"{p.Key.Source}={p.Value}")), ("alpha_pattern", c => c.AlphaPattern.Select(p => $"{p.Key.Source}={p.Value}")),
            ("additional_target", c => c.ModulesToSave), ("lora_target", Targeted), ("layers_to_transform", Targeted),
        })
            Compare(field, list(asked).ToHashSet().SetEquals(list(has)), string.Join(", ", list(asked)), string.Join(", ", list(has)));
        if (_faults.Count > 0)
            init.Dispose();
        _faults.ThrowIfAny();
        return _recipe.Given.Contains("lora_dropout") ? init.With(has with { Dropout = asked.Dropout }) : init;
    }

    private IEnumerable<string> Targeted(PeftConfig config) =>
        _sites.Sites.Where(s => s.Norm is null && !(config.TargetsAllLinear && (s.Embedding is not null || s.Name == _sites.HeadName)) && config.Selects(s.Name)).Select(s => s.Name);

    internal static string LastPart(string module) => module[(module.LastIndexOf('.') + 1)..];
}
