using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Takes weights by name and shape, brings them to the backend and numbers the sites as it goes.</summary>
/// <param name="checkpoint">Where they are.</param>
/// <param name="backend">Where they go; null takes none and only notes what is asked for.</param>
public sealed class SiteBuilder(BaseCheckpoint checkpoint, IComputeBackend? backend)
{
    private readonly WeightStore _store = new(checkpoint.Path, checkpoint.Weights.Tensors);
    private readonly List<ModelSite> _sites = [];
    private readonly List<PlannedWeight> _asked = [];
    private readonly Dictionary<string, DeviceTensor> _taken = [];

    /// <summary>The checkpoint being read.</summary>
    public BaseCheckpoint Checkpoint => checkpoint;

    /// <summary>Bytes of the base's tensors that were taken, each counted once.</summary>
    public long ByteLength { get; private set; }

    /// <summary>The weights, for optional tensors.</summary>
    public WeightStore Store => _store;

    /// <summary>Sites so far, in index order.</summary>
    public IReadOnlyList<ModelSite> Sites => _sites;

    /// <summary>What stands in place of a language model's output head, made for a width; null: the head itself.</summary>
    internal Func<int, LinearSite>? Head { get; set; }

    /// <summary>Weights that were asked for without a backend to bring them to.</summary>
    internal IReadOnlyList<PlannedWeight> Asked => _asked;

    /// <summary>A linear layer [O, I] (Conv1D: [I, O]) with an optional bias.</summary>
    /// <param name="name">Module name for adapters.</param>
    /// <param name="stored">Module name in the checkpoint.</param>
    /// <param name="outputs">O.</param>
    /// <param name="inputs">I.</param>
    /// <param name="bias">Whether the layer has a bias.</param>
    /// <param name="conv1D">Whether it is GPT-2's Conv1D.</param>
    /// <param name="rotatedHeads">For q and k: their heads, so that a permuted checkpoint's row order is known; else 0.</param>
    /// <param name="fusedHeads">For fused q, k and v in pieces: their heads, so that the order in a GGUF, one behind the other, is known.</param>
    public LinearSite Linear(string name, string stored, int outputs, int inputs, bool bias, bool conv1D = false, int rotatedHeads = 0, HeadRows? fusedHeads = null)
    {
        if (IsHead(name) && Head is { } made)
            return made(inputs);
        bool inputMajor = conv1D && !checkpoint.TransposedConv1D;
        DeviceTensor? weight = inputMajor ? Take(name, WeightRole.Linear, $"{stored}.weight", inputs, outputs) : Take(name, WeightRole.Linear, $"{stored}.weight", outputs, inputs);
        DeviceTensor? b = bias ? Take(name, WeightRole.Bias, $"{stored}.bias", outputs) : null;
        LinearSite site = new(name, _sites.Count, weight!, b, inputMajor);
        // Rows that are not there are not put in order: a config may tell of any number.
        int[]? order = rotatedHeads > 0 && checkpoint.Pairs == RopePairs.Adjacent && !_store.IsFaulty ? QueryKeyPermutation.ToHalves(outputs, rotatedHeads)
            : checkpoint.SplitsQueryKeyValue && !_store.IsFaulty && fusedHeads is { KvHeads: > 1 } heads ? heads.ToFile(outputs) : null;
        _sites.Add(new(name, Linear: site, RowOrder: order, RotatedHeads: rotatedHeads) { IsConv1D = conv1D, FusedHeads = fusedHeads });
        return site;
    }

    /// <summary>A convolution whose stride is its kernel, as a linear layer [O, C·p·p] over what the kernel covers: its weight [O, C, p, p] lies in that order already.</summary>
    /// <param name="name">Module name for adapters.</param>
    /// <param name="stored">Module name in the checkpoint.</param>
    /// <param name="outputs">O.</param>
    /// <param name="kernel">[C, p, p].</param>
    public LinearSite Convolution(string name, string stored, int outputs, Shape kernel)
    {
        DeviceTensor? weight = TakeAs(name, WeightRole.Linear, $"{stored}.weight", new(outputs, kernel.Elements), outputs, kernel[0], kernel[1], kernel[2]);
        LinearSite site = new(name, _sites.Count, weight!, Take(name, WeightRole.Bias, $"{stored}.bias", outputs), false);
        _sites.Add(new(name, Linear: site));
        return site;
    }

    /// <summary>A linear site over a weight that is on the device already: a tied head.</summary>
    public LinearSite Tied(string name, DeviceTensor weight) => IsHead(name) && Head is { } made ? made(weight.Columns) : Linear(name, weight, null);

    /// <summary>A linear site over tensors that are on the device already.</summary>
    public LinearSite Linear(string name, DeviceTensor weight, DeviceTensor? bias)
    {
        LinearSite site = new(name, _sites.Count, weight, bias, false);
        _sites.Add(new(name, Linear: site));
        return site;
    }

    /// <summary>A norm of width <paramref name="width"/>; with <paramref name="heads"/> above 1 its gains are [heads, width]. <paramref name="offset"/> is added to every gain.</summary>
    public NormSite Norm(string name, string stored, int width, float epsilon, bool bias = false, int heads = 1, float offset = 0)
    {
        // Checkpoints converted from TensorFlow long ago have its names.
        bool old = !_store.Has($"{stored}.weight") && _store.Has($"{stored}.gamma");
        string gains = $"{stored}.{(old ? "gamma" : "weight")}";
        DeviceTensor? gain = offset != 0 && checkpoint.ShiftsGains ? TakeShifted(gains, width, offset)
            : heads == 1 ? Take(name, WeightRole.Gain, gains, width) : Take(name, WeightRole.Gain, gains, heads, width);
        if (backend is null)
            _asked[^1] = _asked[^1] with { Offset = offset };
        DeviceTensor? b = bias ? Take(name, WeightRole.Bias, $"{stored}.{(old ? "beta" : "bias")}", width) : null;
        NormSite site = new(name, _sites.Count, gain!, b, epsilon, heads, offset);
        _sites.Add(new(name, Norm: site) { GainShift = checkpoint.ShiftsGains ? offset : 0 });
        return site;
    }

    /// <summary>A norm without bias whose heads' gains are stored one by one, <c>{stored}.norms.0.weight</c> and on: they are few numbers, copied side by side into one tensor.</summary>
    public NormSite HeadNorms(string name, string stored, int width, int heads, float epsilon)
    {
        if (_store.Has($"{stored}.weight"))
            return Norm(name, stored, width, epsilon, heads: heads);
        float[] gains = new float[heads * width];
        bool whole = backend is not null;
        for (int head = 0; head < heads; head++)
        {
            string tensor = $"{stored}.norms.{head}.weight";
            if (backend is null)
                _asked.Add(new(tensor, name, new Shape(width), WeightRole.Gain));
            else if (_store.Take(tensor, [width]) is { } taken)
            {
                ByteLength += taken.ByteLength;
                taken.ToFloats().CopyTo(gains.AsSpan(head * width));
            }
            else
                whole = false;
        }
        DeviceTensor? gain = whole ? backend!.Allocate(name, DType.F32, new Shape(heads, width)) : null;
        if (gain is not null)
            backend!.Write(gains, gain, 0);
        NormSite site = new(name, _sites.Count, gain!, null, epsilon, heads);
        _sites.Add(new(name, Norm: site));
        return site;
    }

    // Gains as every other file has them: adapters bring theirs so. They are few numbers.
    private DeviceTensor? TakeShifted(string name, int width, float offset)
    {
        if (_store.Take(name, [width]) is not { } tensor)
            return null;
        ByteLength += tensor.ByteLength;
        return Computed(name, Array.ConvertAll(tensor.ToFloats(), v => v - offset), new Shape(width));
    }

    /// <summary>Numbers that an architecture computes itself, [1, n] on the device; null without one.</summary>
    public DeviceTensor? Computed(string name, ReadOnlySpan<float> values) => Computed(name, values, new Shape(1, values.Length));

    private DeviceTensor? Computed(string name, ReadOnlySpan<float> values, Shape shape)
    {
        DeviceTensor? tensor = backend?.Allocate(name, DType.F32, shape);
        if (tensor is not null)
            backend!.Write(values, tensor, 0);
        return tensor;
    }

    /// <summary>A table [<paramref name="rows"/>, <paramref name="width"/>].</summary>
    public EmbeddingSite Embedding(string name, string stored, int rows, int width)
    {
        EmbeddingSite site = new(name, _sites.Count, Take(name, WeightRole.Embedding, $"{stored}.weight", rows, width)!);
        _sites.Add(new(name, Embedding: site));
        return site;
    }

    /// <summary>A table that is a parameter of its own, not a module's weight: [1, rows, width] under its plain name.</summary>
    public EmbeddingSite Parameter(string name, string stored, Shape shape)
    {
        EmbeddingSite site = new(name, _sites.Count, TakeAs(name, WeightRole.Embedding, stored, new(shape[1], shape[2]), shape.Dimensions)!);
        _sites.Add(new(name, Embedding: site));
        return site;
    }

    private static bool IsHead(string name) => name is "lm_head" or "embed_out";

    private DeviceTensor? Take(string module, WeightRole role, string name, params ReadOnlySpan<long> shape) => TakeAs(module, role, name, null, shape);

    // A fault, as a plan, leaves a null weight behind; the model throws all faults together before any site is used.
    private DeviceTensor? TakeAs(string module, WeightRole role, string name, Shape? view, params ReadOnlySpan<long> shape)
    {
        if (_taken.TryGetValue(name, out DeviceTensor? known))
            return known;
        if (backend is null)
        {
            _asked.Add(new(name, module, new Shape(shape), role));
            return null;
        }
        if (_store.Take(name, shape) is not { } tensor)
            return null;
        ByteLength += tensor.ByteLength;
        return _taken[name] = backend.Upload(view is { } seen ? tensor.Held().View(tensor.Name, seen) : tensor.Held());
    }
}
