using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Fits IA3's scales and OFT's and BOFT's rotations to a base: as gains of a layer's outputs where that says it exactly, else as a map of its inputs.</summary>
internal sealed class MapFit(PeftConfig config, SiteCatalog sites, AdapterTensors tensors, FaultList faults)
{
    /// <summary>What <paramref name="module"/> does, and where; null where it does nothing or after a fault.</summary>
    public (ModelSite Site, WeightMap Map)? Read(ModelSite site, PeftModule module)
    {
        if (PartOf(config.PeftType) is not { } part || module[part] is not { } tensor)
            return null;
        string label = $"{module.Name}.{PeftAdapter.LabelOf(part)}";
        if (site.Linear is null)
        {
            faults.Add($"{label}: the module is a {(site.Norm is null ? "table" : "norm")}; {config.PeftType} is supported on linear layers");
            return null;
        }
        return part switch
        {
            PeftPart.Scales => ReadScales(site, tensor, label),
            PeftPart.Rotation => ReadRotation(site, tensor, label),
            _ => ReadButterfly(site, module, tensor, label),
        };
    }

    /// <summary>The tensor that a targeted module must have; null for a method that is no map.</summary>
    public static PeftPart? PartOf(string method) => method switch { "IA3" => PeftPart.Scales, "OFT" => PeftPart.Rotation, "BOFT" => PeftPart.Butterfly, _ => null };

    /// <summary>Two maps of one adapter at one layer: its own, and what it does to its outputs for the layer behind.</summary>
    public static WeightMap Join(WeightMap? a, WeightMap b) => a is null ? b
        : new(a.Inputs ?? b.Inputs, a.Gain is null ? b.Gain : b.Gain is null ? a.Gain : Tensor.FromFloats(a.Gain.Name, a.Gain.Shape, [.. a.Gain.ToFloats().Zip(b.Gain.ToFloats(), (x, y) => x * y)]), a.ScalesBias && b.ScalesBias, a.ForNext || b.ForNext);

    // [O, 1]: outputs, with their bias. [1, I]: inputs (feedforward_modules).
    private (ModelSite, WeightMap)? ReadScales(ModelSite site, Tensor tensor, string label)
    {
        LinearSite linear = site.Linear!;
        if (tensor.Shape == new Shape(linear.Outputs, 1))
            return Gain(site, tensor, label) is { } gain ? (site, new(null, gain, true)) : null;
        if (tensor.Shape != new Shape(1, linear.Inputs))
        {
            faults.Add($"{label}: expected [{linear.Outputs}, 1] or [1, {linear.Inputs}], found {tensor.Shape}");
            return null;
        }
        // down(act(gate)∘up): its inputs are scaled where up's outputs are, which costs no weight of its own.
        if (UpOf(site) is { } up)
            return Gain(up, tensor, label) is { } gain ? (up, new(null, gain, true, true)) : null;
        return tensors.Take(tensor, label, tensor.Shape) is { } scales ? (site, new(InputMap.Scaling(scales.ToFloats()), null, false)) : null;
    }

    private (ModelSite, WeightMap)? ReadRotation(ModelSite site, Tensor tensor, string label)
    {
        PeftRotation form = config.Rotation!;
        int inputs = site.Linear!.Inputs;
        long entries = tensor.Shape.Rank == 2 ? tensor.Shape[1] : 0, size = (long)Math.Round((1 + Math.Sqrt(1 + 8.0 * entries)) / 2);
        long blocks = size > 0 ? inputs / size : 0;
        if (entries < 1 || size * (size - 1) / 2 != entries || blocks * size != inputs || tensor.Shape[0] != (form.Shares ? 1 : blocks))
        {
            faults.Add($"{label}: expected [{(form.Shares ? "1" : "blocks")}, n(n-1)/2] with blocks of n inputs, {inputs} in all, found {tensor.Shape}");
            return null;
        }
        if (tensors.Take(tensor, label, tensor.Shape) is not { } upper)
            return null;
        return Mapped(site, InputMap.Rotation(upper.ToFloats(), (int)size, (int)blocks, form), null, label);
    }

    private (ModelSite, WeightMap)? ReadButterfly(ModelSite site, PeftModule module, Tensor tensor, string label)
    {
        int inputs = site.Linear!.Inputs;
        if (tensor.Shape.Rank == 4 && tensor.Shape[0] > 1)
        {
            faults.Add($"{label}: {tensor.Shape[0]} butterfly factors are not supported, one is; merge it with the library that made it");
            return null;
        }
        if (tensor.Shape.Rank != 4 || tensor.Shape[2] != tensor.Shape[3] || tensor.Shape[1] * tensor.Shape[2] != inputs)
        {
            faults.Add($"{label}: expected [1, blocks, n, n] with blocks of n inputs, {inputs} in all, found {tensor.Shape}");
            return null;
        }
        Tensor? gain = null;
        if (module[PeftPart.ButterflyScale] is not { } scale)
            faults.Add($"{module.Name}.{PeftAdapter.LabelOf(PeftPart.ButterflyScale)}: is missing");
        else if (scale.Shape != new Shape(site.Linear.Outputs, 1))
            faults.Add($"{module.Name}.{PeftAdapter.LabelOf(PeftPart.ButterflyScale)}: expected [{site.Linear.Outputs}, 1], found {scale.Shape}");
        else
            gain = Gain(site, scale, $"{module.Name}.{PeftAdapter.LabelOf(PeftPart.ButterflyScale)}");
        return gain is not null && tensors.Take(tensor, label, tensor.Shape) is { } blocks
            ? Mapped(site, InputMap.Butterfly(blocks.ToFloats(), (int)tensor.Shape[2], (int)tensor.Shape[1]), gain, label) : null;
    }

    private (ModelSite, WeightMap)? Mapped(ModelSite site, InputMap? inputs, Tensor? gain, string label)
    {
        if (inputs is not null)
            return (site, new(inputs, gain, false));
        faults.Add($"{label}: a block has no rotation: I + S has no inverse");
        return null;
    }

    private Tensor? Gain(ModelSite site, Tensor scales, string label) =>
        tensors.Take(scales.View(scales.Name, new(scales.Shape.Elements)), label, new(site.Linear!.Outputs), site.RowOrder) is { } gain ? Tensor.FromFloats(gain.Name, gain.Shape, gain.ToFloats()) : null;

    private ModelSite? UpOf(ModelSite down)
    {
        int dot = down.Name.LastIndexOf('.') + 1;
        (string up, string gate) = down.Name[dot..] switch { "down_proj" => ("up_proj", "gate_proj"), "w2" => ("w3", "w1"), _ => ("", "") };
        return up.Length > 0 && sites.Find(down.Name[..dot] + gate)?.Linear is not null && sites.Find(down.Name[..dot] + up) is { Linear: { } linear } site && linear.Outputs == down.Linear!.Inputs ? site : null;
    }
}
