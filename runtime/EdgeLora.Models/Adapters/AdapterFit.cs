using System.Text.RegularExpressions;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Fits an adapter file to a base, gathering every fault before it throws: the tensors that are there, then (in AdapterPromises) those that should be.</summary>
internal sealed class AdapterFit(PeftAdapter file, SiteCatalog sites)
{
    private readonly FaultList _faults = new(file.FilePath);
    private readonly SortedDictionary<int, SiteDelta> _deltas = [];
    private readonly Dictionary<int, PeftModule> _modules = [];
    private readonly PeftConfig _config = file.Config;

    public SiteDelta[] Run()
    {
        try
        {
            if (!CheckLayers())
                _faults.ThrowIfAny();
            SiteNames names = new(sites, file.Modules.Keys);
            AdapterTensors tensors = new(_faults, file.IsTrusted);
            foreach (PeftModule module in file.Modules.Values)
            {
                if (names.Find(module.Name) is not { } site)
                    AddForeign(module);
                else if (_modules.TryAdd(site.Index, module))
                    Add(site, module, tensors);
                else
                    _faults.Add($"{module.Name}: is the same module as {_modules[site.Index].Name}");
            }
            FollowTies();
            new AdapterPromises(_config, sites, names, _modules, _faults).Check();
        }
        catch (RegexMatchTimeoutException e)
        {
            _faults.Add($"{PeftConfigReader.FileName}: target_modules, rank_pattern or alpha_pattern: '{e.Pattern}' takes too long");
        }
        _faults.ThrowIfAny();
        return [.. _deltas.Values];
    }

    private bool CheckLayers()
    {
        if (_config.LayerReplication is { } ranges)
        {
            int count = ranges.Sum(r => r.End - r.Start);
            if (count == sites.Layers)
                return true;
            _faults.Add($"{PeftConfigReader.FileName}: layer_replication: expected a base loaded with {count} layers out of its own, found {sites.Layers} layers");
            return false;
        }
        foreach (int layer in _config.LayersToTransform ?? [])
            if (layer >= sites.Layers)
                _faults.Add($"{PeftConfigReader.FileName}: layers_to_transform: layer {layer}, but the base has {sites.Layers}");
        foreach (int token in _config.InvocationTokens ?? [])
            if (sites.Find(sites.EmbeddingName)?.Embedding is { } table && token >= table.Table.Shape[0])
                _faults.Add($"{PeftConfigReader.FileName}: alora_invocation_tokens: token {token}, but the base has {table.Table.Shape[0]}");
        return true;
    }

    private void AddForeign(PeftModule module)
    {
        foreach (PeftPart part in module.Parts.Keys)
            _faults.Add($"{module.Name}.{PeftAdapter.LabelOf(part)}: the base has no module of this name");
    }

    private void Add(ModelSite site, PeftModule module, AdapterTensors tensors)
    {
        SiteDelta delta = new(site);
        if (IsLowRank(module))
            delta = delta with { LowRank = ReadLowRank(site, module, tensors) };
        if (module[PeftPart.BaseWeight] is { } copy)
            tensors.CheckShape(copy, $"{module.Name}.base_layer.weight", AdapterMerge.StoredWeight(site).Shape);
        bool saved = _config.Saves(module.Name) || _config.PeftType == PeftConfig.Partial || _config.PeftType == "LN_TUNING" && site.Norm is not null;
        if (module[PeftPart.Weight] is { } weight)
        {
            if (saved || site.Name == sites.EmbeddingName || site.Name == sites.HeadName)
                delta = delta with { Weight = ReadWeight(site, module, weight, tensors) };
            else
                _faults.Add($"{module.Name}.weight: is neither LoRA nor in modules_to_save");
        }
        if (module[PeftPart.TokenRows] is { } rows)
            delta = delta with { Rows = ReadRows(site, module, rows, tensors) };
        if ((module[PeftPart.BaseBias] ?? module[PeftPart.Bias]) is { } bias)
            delta = delta with { Bias = ReadBias(site, module, bias, saved, tensors) };
        if (new MapFit(_config, sites, tensors, _faults).Read(site, module) is var (at, map))
        {
            SiteDelta mapped = _deltas.GetValueOrDefault(at.Index) ?? new(at);
            _deltas[at.Index] = mapped with { Map = MapFit.Join(mapped.Map, map) };
        }
        if (delta.LowRank is not null || delta.Weight is not null || delta.Rows is not null || delta.Bias is not null)
            _deltas[site.Index] = delta with { Map = _deltas.GetValueOrDefault(site.Index)?.Map };
    }

    private LowRankDelta? ReadLowRank(ModelSite site, PeftModule module, AdapterTensors tensors)
    {
        string name = module.Name;
        if (site.Norm is not null)
        {
            _faults.Add($"{name}.{PeftAdapter.LabelOf(module.Parts.Keys.First())}: the module is a norm; LoRA needs a linear layer or an embedding");
            return null;
        }
        (PeftPart partA, PeftPart partB) = site.Embedding is null ? (PeftPart.A, PeftPart.B) : (PeftPart.EmbeddingA, PeftPart.EmbeddingB);
        (PeftPart otherA, PeftPart otherB) = site.Embedding is null ? (PeftPart.EmbeddingA, PeftPart.EmbeddingB) : (PeftPart.A, PeftPart.B);
        foreach (PeftPart other in new[] { otherA, otherB })
            if (module[other] is not null)
                _faults.Add($"{name}.{PeftAdapter.LabelOf(other)}: the module is {(site.Embedding is null ? "a linear layer" : "an embedding")}");
        foreach (PeftPart needed in new[] { partA, partB })
            if (module[needed] is null)
                _faults.Add($"{name}.{PeftAdapter.LabelOf(needed)}: is missing");
        (long inputs, long outputs) = site.Linear is { } linear ? (linear.Inputs, linear.Outputs) : (site.Embedding!.Table.Shape[0], site.Embedding.Table.Columns);
        // A head that follows a tied embedding has the embedding's rank, whatever the patterns say of lm_head.
        int rank = _config.EnsureWeightTying && site.Name == sites.HeadName && module[partA] is { } own && own.Shape.Rank == 2 && own.Shape[0] is > 0 and < 65536 ? (int)own.Shape[0] : _config.RankOf(name);
        Tensor? a = tensors.Take(module[partA], $"{name}.{PeftAdapter.LabelOf(partA)}", new Shape(rank, inputs));
        Tensor? b = tensors.Take(module[partB], $"{name}.{PeftAdapter.LabelOf(partB)}", new Shape(outputs, rank), site.RowOrder);
        Tensor? bias = null;
        if (module[PeftPart.OutputBias] is { } outputBias)
        {
            if (!_config.LoraBias)
                _faults.Add($"{name}.lora_B.bias: is there, but lora_bias is false");
            bias = tensors.Take(outputBias, $"{name}.lora_B.bias", new Shape(outputs), site.RowOrder);
        }
        else if (_config.LoraBias && site.Embedding is null)
        {
            _faults.Add($"{name}.lora_B.bias: is missing, but lora_bias is true");
        }
        Tensor? magnitude = ReadMagnitude(site, module, outputs, tensors);
        double scale = _config.ScaleOf(name, rank);
        if (!float.IsFinite((float)scale))
            _faults.Add($"{name}: scale: expected a finite number, found {scale}");
        return a is null || b is null ? null : new(a, b, rank, (float)scale, bias, magnitude);
    }

    private Tensor? ReadMagnitude(ModelSite site, PeftModule module, long outputs, AdapterTensors tensors)
    {
        string label = $"{module.Name}.lora_magnitude_vector";
        if (module[PeftPart.Magnitude] is not { } magnitude)
        {
            if (_config.UseDora)
                _faults.Add($"{label}: is missing, but use_dora is true");
            return null;
        }
        if (!_config.UseDora)
        {
            _faults.Add($"{label}: is there, but use_dora is false");
            return null;
        }
        if (magnitude.Shape == new Shape(1, outputs))
            magnitude = magnitude.View(magnitude.Name, new Shape(outputs));
        return tensors.Take(magnitude, label, new Shape(outputs), site.RowOrder);
    }

    private Tensor? ReadWeight(ModelSite site, PeftModule module, Tensor weight, AdapterTensors tensors)
    {
        string label = $"{module.Name}.weight";
        // GGUF stores GPT-2's Conv1D turned; the adapter has it as the checkpoint does.
        if (site is { IsConv1D: true, Linear: { InputMajor: false } linear })
            return tensors.Take(weight, label, new Shape(linear.Inputs, linear.Outputs)) is { } turned ? turned.Transposed() : null;
        return tensors.Take(weight, label, AdapterMerge.StoredWeight(site).Shape, site.RowOrder);
    }

    private Tensor? ReadBias(ModelSite site, PeftModule module, Tensor bias, bool saved, AdapterTensors tensors)
    {
        bool targeted = module[PeftPart.BaseBias] is not null;
        string label = $"{module.Name}.{(targeted ? "base_layer.bias" : "bias")}";
        if (targeted && module[PeftPart.Bias] is not null)
            _faults.Add($"{module.Name}.bias: stands beside base_layer.bias");
        if (_config.Bias == PeftBias.None && !saved)
        {
            // A targeted head is stored with a frozen copy of its own weight and bias.
            if (!(targeted && (site.Name == sites.HeadName || site.Name == sites.EmbeddingName)))
                _faults.Add($"{label}: is there, but bias is none and the module is not in modules_to_save");
            return null;
        }
        if (!targeted && !saved && _config.Bias == PeftBias.LoraOnly)
            _faults.Add($"{label}: is there, but bias is lora_only and the module is not targeted");
        DeviceTensor? own = site.Bias;
        if (own is null)
        {
            _faults.Add($"{label}: the base's module has no bias");
            return null;
        }
        return tensors.Take(bias, label, own.Shape, site.RowOrder);
    }

    private RowsDelta? ReadRows(ModelSite site, PeftModule module, Tensor rows, AdapterTensors tensors)
    {
        string label = $"{module.Name}.{PeftAdapter.LabelOf(PeftPart.TokenRows)}";
        PeftTokenRows? entry = _config.TokenRows.FirstOrDefault(t => t.Module is null || module.Name == t.Module || module.Name.EndsWith("." + t.Module, StringComparison.Ordinal));
        if (entry is null || site.Norm is not null || site.Linear is { InputMajor: true })
        {
            _faults.Add($"{label}: trainable_token_indices names no tokens of this module");
            return null;
        }
        Shape weight = AdapterMerge.StoredWeight(site).Shape;
        HashSet<int> seen = [];
        foreach (int id in entry.Ids)
        {
            if (id >= weight[0])
                _faults.Add($"{PeftConfigReader.FileName}: trainable_token_indices: token {id}, but {module.Name} has {weight[0]} rows");
            if (!seen.Add(id))
                _faults.Add($"{PeftConfigReader.FileName}: trainable_token_indices: token {id} is there twice");
        }
        if (tensors.Take(rows, label, new Shape(entry.Ids.Length, weight[1])) is not { } values)
            return null;
        int[] order = [.. Enumerable.Range(0, entry.Ids.Length).OrderBy(i => entry.Ids[i])];
        return new([.. order.Select(i => entry.Ids[i])], values.Reordered(order));
    }

    // What a head that shares the embedding's weight takes over from it. LoRA on the embedding is not among it.
    private void FollowTies()
    {
        if (!sites.TiedHead || sites.HeadName is null || sites.Find(sites.HeadName) is not { } head || sites.Find(sites.EmbeddingName) is not { } embedding)
            return;
        SiteDelta? table = _deltas.GetValueOrDefault(embedding.Index), own = _deltas.GetValueOrDefault(head.Index);
        if (table?.Rows is { } rows && own?.Rows is null)
            _deltas[head.Index] = own = (own ?? new(head)) with { Rows = rows };
        // A weight outside modules_to_save is written into the parameter that both share.
        if (table?.Weight is { } saved && own?.Weight is null && (_config.EnsureWeightTying || !_config.Saves(_modules[embedding.Index].Name)))
            _deltas[head.Index] = (own ?? new(head)) with { Weight = saved };
        else if (own?.Weight is { } savedHead && table?.Weight is null && (_config.EnsureWeightTying || !_config.Saves(_modules[head.Index].Name)))
            _deltas[embedding.Index] = (table ?? new(embedding)) with { Weight = savedHead };
    }

    internal static bool IsLowRank(PeftModule module) =>
        module[PeftPart.A] is not null || module[PeftPart.B] is not null || module[PeftPart.EmbeddingA] is not null || module[PeftPart.EmbeddingB] is not null
        || module[PeftPart.Magnitude] is not null || module[PeftPart.OutputBias] is not null;
}
