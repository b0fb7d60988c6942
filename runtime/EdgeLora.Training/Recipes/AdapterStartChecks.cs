using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Whether every name of a recipe means something in a base, before a fresh adapter is made for it.</summary>
internal sealed class AdapterStartChecks(TrainingRecipe recipe, SiteCatalog sites, PeftConfig config, FaultList faults)
{
    public void Run()
    {
        ModelSite[] targeted = [.. sites.Sites.Where(s => config.Selects(s.Name))];
        foreach (string name in recipe.LoraTarget.Names)
            if (!sites.Sites.Any(s => new PeftConfig { TargetModules = [name] }.Selects(s.Name)))
                faults.Add($"lora_target: the base has no module {name}" + Meant(name));
        if (targeted.Length == 0)
            faults.Add("lora_target: matches no module of the base");
        foreach (ModelSite site in targeted)
        {
            if (site.Norm is not null)
                faults.Add($"lora_target: {site.Name} is a norm; LoRA needs a linear layer or an embedding");
            else if (config.Saves(site.Name))
                faults.Add($"additional_target: {site.Name} is in lora_target too");
            else if (recipe.LoraStart == LoraStart.Pissa)
                CheckPissa(site);
        }
        foreach (string name in recipe.ModulesToSave)
            if (!sites.Sites.Any(s => (config with { ModulesToSave = [name] }).Saves(s.Name)))
                faults.Add($"additional_target: the base has no module {name}" + Meant(name));
        CheckPatterns("rank_pattern", recipe.RankPattern, targeted);
        CheckPatterns("alpha_pattern", recipe.AlphaPattern, targeted);
        foreach (int layer in recipe.LayersToTransform ?? [])
            if (layer >= sites.Layers)
                faults.Add($"layers_to_transform: layer {layer}, but the base has {sites.Layers}");
    }

    private void CheckPissa(ModelSite site)
    {
        int rank = config.RankOf(site.Name);
        if (site.Linear is not { } linear)
            faults.Add($"pissa_init: {site.Name} is an embedding; PiSSA is defined for linear layers");
        else if (rank > Math.Min(linear.Inputs, linear.Outputs))
            faults.Add($"pissa_init: {site.Name}: expected a rank of at most {Math.Min(linear.Inputs, linear.Outputs)}, found {rank}");
    }

    private void CheckPatterns(string field, IReadOnlyList<PeftPatternValue> patterns, ModelSite[] targeted)
    {
        foreach (PeftPatternValue pattern in patterns)
            if (!targeted.Any(s => pattern.Key.IsMatch(s.Name)))
                faults.Add($"{field}: {pattern.Key.Source} matches no targeted module");
    }

    private string Meant(string name) => NearestName.Of(name, sites.Sites.Select(s => AdapterStart.LastPart(s.Name)).Distinct()) is { } meant ? $"; did you mean {meant}?" : "";
}
