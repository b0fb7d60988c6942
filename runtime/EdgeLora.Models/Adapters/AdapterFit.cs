using System.Globalization;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Does an adapter fit a base? Collects every mismatch, then throws once.</summary>
internal sealed class AdapterFit(PeftAdapter file, SiteCatalog sites)
{
    private readonly FaultList _faults = new(file.FilePath);
    private readonly List<SiteDelta> _deltas = [];
    private readonly PeftConfig _config = file.Config;

    public IReadOnlyList<SiteDelta> Check()
    {
        foreach ((string module, PeftModule tensors) in file.Modules)
            CheckModule(module, tensors);
        CheckPromises();
        if (_config.LayerReplication is { } order && order.Length != sites.Layers)
            _faults.Add($"layer_replication: the adapter stacks {order.Length} layers, the base was opened with {sites.Layers}: open the base with this adapter's layers");
        if (_config.LoraBias && _config.UseDora)
            _faults.Add("lora_bias: cannot be combined with use_dora");
        _faults.ThrowIfAny();
        return _deltas;
    }

    private void CheckModule(string module, PeftModule m)
    {
        ModelSite? site = Find(module);
        if (site is null)
        {
            foreach ((string name, Tensor _) in file.Tensors.Where(t => t.Key.Contains(module, StringComparison.Ordinal)))
                _faults.Add($"{name}: the base has no site {module}");
            return;
        }
        int faultsBefore = _faults.Count;
        (int outputs, int inputs) = Size(site);
        if (m.A is not null || m.B is not null)
            CheckLowRank(module, site, m, outputs, inputs);
        else if (m.Magnitude is not null || m.LoraBias is not null)
            _faults.Add($"{module}.lora_A: missing");
        CheckReplacements(module, site, m, outputs);
        int[]? ids = CheckTokens(module, site, m);
        foreach (Tensor? tensor in new[] { m.A, m.B, m.Magnitude, m.LoraBias, m.Weight, m.Bias, m.TokenRows })
            CheckNumbers(tensor);
        if (_faults.Count > faultsBefore)
            return;
        double scale = m.A is null ? 0 : _config.ScaleOf(module, (int)m.A.Shape[0]);
        if (!double.IsFinite(scale))
            _faults.Add($"{module}: scale {scale.ToString(CultureInfo.InvariantCulture)} is no finite number");
        _deltas.Add(new(site, m.A, Order(site, m.B), scale, Order(site, m.Magnitude), Order(site, m.LoraBias), m.Weight, Order(site, m.Bias), ids, SortedRows(m.TokenRows, ids, module)));
        if (site.Embedding is not null && sites.TiedHead && ids is not null && site.Name == sites.EmbeddingName)
            _deltas.Add(new(sites.Find(sites.HeadName!)!, TokenIds: ids, TokenRows: SortedRows(m.TokenRows, ids, module)));
    }

    // The adapter may name the model's modules with or without the outer module, as the base's own files may.
    private ModelSite? Find(string module) => sites.Find(module) ?? sites.Find("model." + module) ?? sites.Find("transformer." + module);

    private static (int Outputs, int Inputs) Size(ModelSite site) =>
        site.Linear is { } l ? (l.Outputs, l.Inputs) : site.Embedding is { } e ? (e.Table.Columns, (int)e.Table.Shape[0]) : (site.Norm!.Width, 0);

    private void CheckLowRank(string module, ModelSite site, PeftModule m, int outputs, int inputs)
    {
        string kind = m.IsEmbedding ? "lora_embedding_" : "lora_";
        if (site.Norm is not null || m.IsEmbedding != site.Embedding is not null)
            _faults.Add($"{module}.{kind}A: does not act on a {(site.Norm is not null ? "norm" : site.Embedding is not null ? "table of embeddings" : "linear layer")}");
        if (m.A is null || m.B is null)
        {
            _faults.Add($"{module}.{kind}{(m.A is null ? "A" : "B")}: missing");
            return;
        }
        int rank = _config.RankOf(module);
        CheckShape($"{module}.{kind}A", m.A, rank, inputs);
        CheckShape($"{module}.{kind}B", m.B, outputs, rank);
        if (_config.UseDora && m.Magnitude is null)
            _faults.Add($"{module}.lora_magnitude_vector: missing, but use_dora is set");
        if (!_config.UseDora && m.Magnitude is not null)
            _faults.Add($"{module}.lora_magnitude_vector: there, but use_dora is not set");
        if (m.Magnitude is not null)
            CheckShape($"{module}.lora_magnitude_vector", m.Magnitude, outputs);
        if (_config.LoraBias != m.LoraBias is not null)
            _faults.Add($"{module}.lora_B.bias: {(m.LoraBias is null ? "missing, but lora_bias is set" : "there, but lora_bias is not set")}");
        if (m.LoraBias is not null)
            CheckShape($"{module}.lora_B.bias", m.LoraBias, outputs);
        if (!IsTarget(module))
            _faults.Add($"{module}: has LoRA tensors but is not in target_modules");
    }

    private void CheckReplacements(string module, ModelSite site, PeftModule m, int outputs)
    {
        DeviceTensor stored = site.Linear?.Weight ?? site.Embedding?.Table ?? site.Norm!.Gain;
        if (m.Weight is not null)
        {
            CheckShape($"{module}.weight", m.Weight, stored.Shape.Dimensions);
            // A norm or head named here by no one would be dropped in silence by a reader that goes by the config.
            if (m.Weight.Shape == stored.Shape && site.RowOrder is not null)
                _faults.Add($"{module}.weight: a saved q or k cannot replace a permuted GGUF weight");
            if (!_config.ModulesToSave.Any(s => module.EndsWith(s, StringComparison.Ordinal)))
                _faults.Add($"{module}.weight: there, but not in modules_to_save");
        }
        if (m.Bias is null)
            return;
        if (m.BaseCopy is null && m.Weight is null && _config.Bias == "none")
            _faults.Add($"{module}.bias: there, but bias is none");
        CheckShape($"{module}.bias", m.Bias, outputs);
    }

    private int[]? CheckTokens(string module, ModelSite site, PeftModule m)
    {
        int[]? ids = _config.TrainableTokens.FirstOrDefault(t => t.Key.Length == 0 ? site.Name == sites.EmbeddingName : module == t.Key || module.EndsWith("." + t.Key, StringComparison.Ordinal)).Value;
        if (m.TokenRows is null)
        {
            if (ids is not null && site.Embedding is not null)
                _faults.Add($"{module}.token_adapter.trainable_tokens_delta: missing, but trainable_token_indices names {ids.Length} tokens");
            return null;
        }
        if (ids is null || site.Norm is not null)
        {
            _faults.Add($"{module}.token_adapter.trainable_tokens_delta: there, but trainable_token_indices names no tokens of it");
            return null;
        }
        (long vocabulary, int width) = site.Embedding is { } e ? (e.Table.Shape[0], e.Table.Columns) : (site.Linear!.Outputs, site.Linear.Inputs);
        if (ids.Any(i => i >= vocabulary) || ids.Distinct().Count() != ids.Length)
            _faults.Add($"trainable_token_indices: expected different ids below {vocabulary}");
        CheckShape($"{module}.token_adapter.trainable_tokens_delta", m.TokenRows, ids.Length, width);
        return [.. ids.Order()];
    }

    private void CheckPromises()
    {
        if (!file.Modules.Values.Any(m => m.A is not null || m.Weight is not null || m.TokenRows is not null))
            _faults.Add("no lora_A tensor in the file");
        string[] touched = [.. file.Modules.Where(m => m.Value.A is not null || m.Value.B is not null).Select(m => m.Key)];
        foreach (string target in _config.TargetModules ?? [])
            if (!touched.Any(t => t == target || t.EndsWith("." + target, StringComparison.Ordinal)))
                _faults.Add($"{target}: is in target_modules, but the file has no lora_A of it");
        if (_config.TargetPattern is { } pattern && !touched.Any(pattern.Matches))
            _faults.Add("target_modules: the regular expression matches no module of the file");
        foreach (string saved in _config.ModulesToSave)
            if (sites.Sites.Any(s => s.Name.EndsWith(saved, StringComparison.Ordinal)) && !file.Modules.Any(m => m.Key.EndsWith(saved, StringComparison.Ordinal) && m.Value.Weight is not null))
                _faults.Add($"{saved}: is in modules_to_save, but the file has no weight of it");
        if (_config.LayersToTransform is { } layers && layers.Any(l => l >= sites.Layers))
            _faults.Add($"layers_to_transform: expected layers below {sites.Layers}, found {layers.Max()}");
        CheckSameModuleOnEveryLayer(touched);
    }

    // A target's name means every layer (or those of layers_to_transform): a layer without tensors was lost.
    private void CheckSameModuleOnEveryLayer(string[] touched)
    {
        if (_config.TargetModules is not { } targets || _config.ExcludeModules.Count > 0)
            return;
        HashSet<string> have = [.. touched.Select(t => Find(t)?.Name ?? t)];
        foreach (ModelSite site in sites.Sites)
            if (site.Linear is not null && site.Name != sites.HeadName && !have.Contains(site.Name) && targets.Any(t => site.Name == t || site.Name.EndsWith("." + t, StringComparison.Ordinal)) && InLayers(site.Name))
                _faults.Add($"{site.Name}: is in target_modules, but the file has no lora_A of it");
    }

    private bool InLayers(string name) =>
        _config.LayersToTransform is not { } layers || name.Split('.').Skip(1).FirstOrDefault(p => int.TryParse(p, out _)) is not { } number || layers.Contains(int.Parse(number, CultureInfo.InvariantCulture));

    private bool IsTarget(string module) =>
        _config.TargetModules is { } list ? list.Count == 0 || list.Any(t => module == t || module.EndsWith("." + t, StringComparison.Ordinal)) || IsTiedHead(module)
        : _config.TargetPattern?.Matches(module) ?? true;

    // ensure_weight_tying stores the head's half of an embedding's LoRA under the head's name.
    private bool IsTiedHead(string module) => sites.TiedHead && module == sites.HeadName;

    private void CheckShape(string name, Tensor tensor, params ReadOnlySpan<long> expected)
    {
        Shape shape = new(expected);
        if (tensor.Shape != shape)
            _faults.Add($"{name}: expected {shape}, found {tensor.Shape}");
        if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16))
            _faults.Add($"{name}: expected F32, F16 or BF16, found {tensor.Type}");
    }

    private void CheckNumbers(Tensor? tensor)
    {
        if (tensor is null || tensor.Type is not (DType.F32 or DType.F16 or DType.BF16))
            return;
        // An all-ones exponent is NaN or infinite in every one of the three types.
        bool bad = false;
        if (tensor.Type == DType.F32)
            foreach (uint bits in MemoryMarshal.Cast<byte, uint>(tensor.Bytes))
                bad |= (bits & 0x7F800000) == 0x7F800000;
        else
        {
            ushort mask = tensor.Type == DType.F16 ? (ushort)0x7C00 : (ushort)0x7F80;
            foreach (ushort bits in MemoryMarshal.Cast<byte, ushort>(tensor.Bytes))
                bad |= (bits & mask) == mask;
        }
        if (bad)
            _faults.Add($"{tensor.Name}: holds NaN or infinity");
    }

    private static Tensor? Order(ModelSite site, Tensor? tensor)
    {
        if (site.RowOrder is not { } order || tensor is null)
            return tensor;
        float[] from = tensor.ToFloats(), to = new float[from.Length];
        int width = from.Length / order.Length;
        for (int row = 0; row < order.Length; row++)
            from.AsSpan(order[row] * width, width).CopyTo(to.AsSpan(row * width));
        return Tensor.FromFloats(tensor.Name, tensor.Shape, to);
    }

    // Rows come in the order of the config's list; the backend looks ids up in ascending order.
    private Tensor? SortedRows(Tensor? rows, int[]? ids, string module)
    {
        if (rows is null || ids is null)
            return rows;
        int[] listed = _config.TrainableTokens.First(t => t.Key.Length == 0 || module == t.Key || module.EndsWith("." + t.Key, StringComparison.Ordinal)).Value;
        if (listed.AsSpan().SequenceEqual(ids))
            return rows;
        float[] from = rows.ToFloats(), to = new float[from.Length];
        int width = rows.Shape.Columns;
        for (int i = 0; i < ids.Length; i++)
            from.AsSpan(Array.IndexOf(listed, ids[i]) * width, width).CopyTo(to.AsSpan(i * width));
        return Tensor.FromFloats(rows.Name, rows.Shape, to);
    }
}
