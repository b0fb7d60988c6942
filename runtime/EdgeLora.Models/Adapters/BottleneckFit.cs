using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A bottleneck adapter at one place: <c>h ← h + up(f(down(h)))</c>.</summary>
/// <param name="Name"><c>layers.0.attn_adapter</c>.</param>
/// <param name="Index">Its index in a <see cref="SiteTable"/>.</param>
/// <param name="Down">[S, D].</param>
/// <param name="DownBias">[S].</param>
/// <param name="Up">[D, S].</param>
/// <param name="UpBias">[D].</param>
/// <param name="Activation">f.</param>
public sealed record BottleneckDelta(string Name, int Index, Tensor Down, Tensor DownBias, Tensor Up, Tensor UpBias, Activation Activation)
{
    /// <summary>Bytes of its tensors.</summary>
    public long ByteLength => Down.ByteLength + DownBias.ByteLength + Up.ByteLength + UpBias.ByteLength;
}

/// <summary>Fits a file of bottleneck adapters (<c>layers.I.attn_adapter.down.weight</c>, …) to a base, gathering every fault before it throws.</summary>
internal sealed class BottleneckFit(PeftAdapter file, SiteCatalog sites)
{
    private const string Down = ".down", Up = ".up";

    private readonly FaultList _faults = new(file.FilePath);

    public BottleneckDelta[] Run()
    {
        if (sites.Bottlenecks.Count == 0)
            throw new ModelFileException(file.FilePath, "the base's layers have no place for bottlenecks: decoders have");
        int width = sites.Find(sites.EmbeddingName)!.Embedding!.Table.Columns;
        AdapterTensors tensors = new(_faults);
        SortedDictionary<int, string> found = [];
        foreach ((string module, PeftModule parts) in file.Modules)
        {
            string end = module.EndsWith(Down, StringComparison.Ordinal) ? Down : module.EndsWith(Up, StringComparison.Ordinal) ? Up : "";
            if (end.Length > 0 && sites.Bottlenecks.TryGetValue(module[..^end.Length], out int index))
                found[index] = module[..^end.Length];
            else
                _faults.Add($"{module}: expected layers.0..{sites.Layers - 1}.attn_adapter or .mlp_adapter with .down or .up");
            foreach (PeftPart part in parts.Parts.Keys)
                if (part is not (PeftPart.Weight or PeftPart.Bias))
                    _faults.Add($"{module}.{PeftAdapter.LabelOf(part)}: is no part of a bottleneck");
        }
        if (file.Modules.Count == 0)
            _faults.Add("the adapter holds no bottleneck");
        List<BottleneckDelta> deltas = [];
        foreach ((int index, string name) in found)
            if (Read(name, index, width, tensors) is { } delta)
                deltas.Add(delta);
        _faults.ThrowIfAny();
        return [.. deltas];
    }

    private BottleneckDelta? Read(string name, int index, int width, AdapterTensors tensors)
    {
        Tensor? Part(string module, PeftPart part)
        {
            Tensor? tensor = file.Modules.GetValueOrDefault(name + module)?[part];
            if (tensor is null)
                _faults.Add($"{name}{module}.{PeftAdapter.LabelOf(part)}: is missing");
            return tensor;
        }
        Tensor? down = Part(Down, PeftPart.Weight), downBias = Part(Down, PeftPart.Bias), up = Part(Up, PeftPart.Weight), upBias = Part(Up, PeftPart.Bias);
        if (down is null || downBias is null || up is null || upBias is null)
            return null;
        // The size is the file's own: whatever down's first dimension says, the others must follow.
        long size = down.Shape.Rank == 2 ? Math.Max(1, down.Shape[0]) : 1;
        Tensor? d = tensors.Take(down, $"{name}{Down}.weight", new Shape(size, width)), db = tensors.Take(downBias, $"{name}{Down}.bias", new Shape(size));
        Tensor? u = tensors.Take(up, $"{name}{Up}.weight", new Shape(width, size)), ub = tensors.Take(upBias, $"{name}{Up}.bias", new Shape(width));
        return d is null || db is null || u is null || ub is null ? null : new(name, index, d, db, u, ub, file.Config.BottleneckActivation);
    }
}
