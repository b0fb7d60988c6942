using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Names of a file against names of a base: a checkpoint of the bare model lacks <c>model.</c>, <c>transformer.</c> or <c>gpt_neox.</c>, and some files have it where the base does not.</summary>
internal sealed class SiteNames
{
    private static readonly string[] s_prefixes = ["model.", "transformer.", "gpt_neox."];

    private readonly SiteCatalog _sites;
    private readonly string _added = "";
    private readonly string _removed = "";

    public SiteNames(SiteCatalog sites, IEnumerable<string> modules)
    {
        _sites = sites;
        foreach (string module in modules)
        {
            if (sites.Find(module) is not null)
                return;
            foreach (string prefix in s_prefixes)
            {
                if (sites.Find(prefix + module) is not null)
                {
                    _added = prefix;
                    return;
                }
                if (module.StartsWith(prefix, StringComparison.Ordinal) && sites.Find(module[prefix.Length..]) is not null)
                {
                    _removed = prefix;
                    return;
                }
            }
        }
    }

    public ModelSite? Find(string module)
    {
        if (_added.Length > 0 && _sites.Find(_added + module) is { } longer)
            return longer;
        if (_removed.Length > 0 && module.StartsWith(_removed, StringComparison.Ordinal) && _sites.Find(module[_removed.Length..]) is { } shorter)
            return shorter;
        return _sites.Find(module);
    }

    /// <summary>How the file spells a site of the base.</summary>
    public string Spell(ModelSite site) =>
        _added.Length > 0 && site.Name.StartsWith(_added, StringComparison.Ordinal) ? site.Name[_added.Length..] : _removed + site.Name;
}

/// <summary>What a configuration promises and a file must hold: targeted modules, saved modules, biases.</summary>
internal sealed class AdapterPromises(PeftConfig config, SiteCatalog sites, SiteNames names, Dictionary<int, PeftModule> modules, FaultList faults)
{
    public void Check()
    {
        switch (config.PeftType)
        {
            case "LN_TUNING":
                CheckTargets(s => s.Norm is not null, m => m[PeftPart.Weight] is not null, _ => PeftPart.Weight);
                break;
            case PeftConfig.Partial:
                if (modules.Count == 0)
                    faults.Add("the adapter holds no tensor of the base's modules");
                return;
            case "TRAINABLE_TOKENS":
                CheckTargets(s => s.Embedding is not null, m => m[PeftPart.TokenRows] is not null, _ => PeftPart.TokenRows);
                break;
            case "IA3" or "OFT" or "BOFT":
                PeftPart part = MapFit.PartOf(config.PeftType)!.Value;
                CheckTargets(s => s.Linear is not null && !(config.TargetsAllLinear && s.Name == sites.HeadName), m => m[part] is not null, _ => part);
                CheckUntargeted(m => m[part] is not null, config.PeftType);
                break;
            default:
                CheckTargets(
                    s => s.Norm is null && !(config.TargetsAllLinear && (s.Embedding is not null || s.Name == sites.HeadName)),
                    AdapterFit.IsLowRank, s => s.Embedding is null ? PeftPart.A : PeftPart.EmbeddingA);
                CheckUntargeted(AdapterFit.IsLowRank, "LoRA");
                CheckTokens();
                break;
        }
        CheckSaved();
        if (config.Bias != PeftBias.None)
            CheckBiases();
    }

    private void CheckTargets(Func<ModelSite, bool> can, Func<PeftModule, bool> has, Func<ModelSite, PeftPart> missing)
    {
        bool any = false;
        foreach (ModelSite site in sites.Sites)
        {
            string name = names.Spell(site);
            if (!can(site) || !config.Selects(name))
                continue;
            any = true;
            if (!modules.TryGetValue(site.Index, out PeftModule? module) || !has(module))
                faults.Add($"{name}.{PeftAdapter.LabelOf(missing(site))}: is missing, but target_modules names it");
        }
        if (config.HasTargets && !any)
            faults.Add($"{PeftConfigReader.FileName}: target_modules: matches no module of the base");
        if (modules.Count == 0)
            faults.Add($"the adapter holds no tensor of the base's modules: expected {(MapFit.PartOf(config.PeftType) is { } own ? PeftAdapter.LabelOf(own) : $"{PeftAdapter.LabelOf(PeftPart.A)} and {PeftAdapter.LabelOf(PeftPart.B)}")}");
    }

    // The library would drop these without a word. A tied head follows the embedding without being named.
    private void CheckUntargeted(Func<PeftModule, bool> has, string method)
    {
        if (!config.HasTargets || config.TargetsAllLinear)
            return;
        foreach ((int index, PeftModule module) in modules)
            if (has(module) && !config.Selects(module.Name) && !(config.EnsureWeightTying && sites.Sites[index].Name == sites.HeadName))
                faults.Add($"{module.Name}: has {method} tensors, but target_modules does not name it");
    }

    private void CheckTokens()
    {
        foreach (PeftTokenRows rows in config.TokenRows)
        {
            bool found = modules.Values.Any(m => m[PeftPart.TokenRows] is not null
                && (rows.Module is null || m.Name == rows.Module || m.Name.EndsWith("." + rows.Module, StringComparison.Ordinal)));
            if (!found)
                faults.Add($"{rows.Module ?? sites.EmbeddingName}.{PeftAdapter.LabelOf(PeftPart.TokenRows)}: is missing, but trainable_token_indices names it");
        }
    }

    private void CheckSaved()
    {
        if (config.ModulesToSave.Count == 0)
            return;
        HashSet<string> unmatched = [.. config.ModulesToSave];
        // The library adds these by itself to every classifier, whichever the model has.
        unmatched.Remove("classifier");
        unmatched.Remove("score");
        foreach (ModelSite site in sites.Sites)
        {
            string name = names.Spell(site);
            if (!config.Saves(name))
                continue;
            unmatched.RemoveWhere(m => (config with { ModulesToSave = [m] }).Saves(name));
            PeftModule? module = modules.GetValueOrDefault(site.Index);
            if (module?[PeftPart.Weight] is null)
                faults.Add($"{name}.weight: is missing, but modules_to_save names it");
            if (site.Bias is not null && module?[PeftPart.Bias] is null)
                faults.Add($"{name}.bias: is missing, but modules_to_save names it");
        }
        foreach (string name in unmatched)
            faults.Add($"{PeftConfigReader.FileName}: modules_to_save: the base has no module {name}");
    }

    private void CheckBiases()
    {
        foreach (ModelSite site in sites.Sites)
        {
            if (site.Bias is null)
                continue;
            string name = names.Spell(site);
            PeftModule? module = modules.GetValueOrDefault(site.Index);
            bool targeted = module is not null && AdapterFit.IsLowRank(module);
            if ((targeted || config.Bias == PeftBias.All) && module?[targeted ? PeftPart.BaseBias : PeftPart.Bias] is null)
                faults.Add($"{name}.{PeftAdapter.LabelOf(targeted ? PeftPart.BaseBias : PeftPart.Bias)}: is missing, but bias is {(config.Bias == PeftBias.All ? "all" : "lora_only")}");
        }
    }
}
