using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One site of a resident adapter: what it does, with its tensors on the device.</summary>
internal sealed record ResidentDelta(SiteDelta Host)
{
    public DeviceTensor? A { get; init; }

    public DeviceTensor? B { get; init; }

    public DeviceTensor? OutputBias { get; init; }

    public DeviceTensor? Weight { get; init; }

    public DeviceTensor? Bias { get; init; }

    public ReplacedRows? Rows { get; init; }

    /// <summary>PiSSA, OLoRA: what the base lost, taken off again before the adapter's own step.</summary>
    public DeviceTensor? ResidualA { get; init; }

    public DeviceTensor? ResidualB { get; init; }

    public DeviceTensor? Magnitude { get; init; }
}

/// <summary>A trainable adapter's tensor on the device.</summary>
/// <param name="Key">Its name in the adapter's file.</param>
/// <param name="Tensor">F32.</param>
/// <param name="Part">What it is to its module.</param>
/// <param name="Layout">How it lies against the file.</param>
public sealed record ResidentTensor(string Key, DeviceTensor Tensor, PeftPart Part, FileLayout Layout);

/// <summary>
/// One adapter's tensors on a device, uploaded once whatever the number of paths through it. Owns them, and what its paths computed from them: DoRA gains (once a
/// strength), merged rows. Dispose it after every path that uses it.
/// </summary>
public sealed class ResidentAdapter : IDisposable
{
    private readonly List<DeviceTensor> _owned = [];
    private readonly Dictionary<(int Site, float Scale), DeviceTensor> _gains = [];
    private readonly Dictionary<(int Site, float Scale), DoraGain> _trainedGains = [];
    private readonly Dictionary<Tensor, DeviceTensor> _uploaded = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(int Site, ReplacedRows Under), ReplacedRows> _rows = [];
    private readonly Dictionary<(int Site, DeviceTensor From, ReplacedRows? Rows, float Strength), DeviceTensor> _mapped = [];
    private readonly Dictionary<(int Site, float Strength), LowRankStep> _gainSteps = [];
    private readonly IComputeBackend _backend;
    private readonly Lock _lock = new();
    private readonly bool _trainable;

    private ResidentAdapter(LoraAdapter adapter, IComputeBackend backend, bool trainable, Dropout? dropout)
    {
        Adapter = adapter;
        Dropout = dropout;
        _backend = backend;
        _trainable = trainable;
        try
        {
            if (trainable && adapter.Deltas.Any(d => d.Map is not null))
                throw new ModelFileException(adapter.File.FilePath, $"{PeftConfigReader.FileName}: peft_type: {adapter.Config.PeftType} is run here, not trained");
            Deltas = [.. adapter.Deltas.Select(Stage)];
            Bottlenecks = [.. adapter.Bottlenecks.Select(b => (b.Index, Stage(b)))];
            // One gain per magnitude and what maps make are counted ahead: a path will ask for them.
            ByteLength = _owned.Sum(t => t.AllocatedBytes) + adapter.Deltas.Sum(d => (d.LowRank?.Magnitude is { } m ? m.Shape.Elements * sizeof(float) : 0) + (d.Map?.BytesAt(d.Site) ?? 0));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The adapter; owned.</summary>
    public LoraAdapter Adapter { get; }

    /// <summary>Bytes on the device: its tensors, what PiSSA and OLoRA take off the base, one set of DoRA gains, one weight for every input map. Those at further strengths, or over other weights, are not counted.</summary>
    public long ByteLength { get; }

    /// <summary>Dropout of its low-rank inputs while it trains; else null.</summary>
    public Dropout? Dropout { get; }

    /// <summary>DoRA's gains that paths asked for, where the magnitudes train.</summary>
    public IReadOnlyCollection<DoraGain> Gains => _trainedGains.Values;

    internal IReadOnlyList<ResidentDelta> Deltas { get; } = [];

    internal IReadOnlyList<(int Index, BottleneckStep Step)> Bottlenecks { get; } = [];

    /// <summary>Reads, checks and uploads an adapter. Throws <see cref="ModelFileException"/> with every fault.</summary>
    public static ResidentAdapter Load(string path, string name, SiteCatalog sites, IComputeBackend backend) => Stage(LoraAdapter.Load(path, name, sites), backend);

    /// <summary>Uploads an adapter. Takes ownership of it, also when it throws <see cref="ModelFileException"/>: PiSSA or OLoRA on a weight that cannot be decomposed.</summary>
    public static ResidentAdapter Stage(LoraAdapter adapter, IComputeBackend backend) => new(adapter, backend, false, null);

    /// <summary>As <see cref="Stage(LoraAdapter, IComputeBackend)"/>, but every tensor becomes a writable F32 buffer of its own, magnitudes too; a tensor that two sites share is one buffer.</summary>
    public static ResidentAdapter StageTrainable(LoraAdapter adapter, IComputeBackend backend, Dropout? dropout) => new(adapter, backend, true, dropout);

    /// <summary>What trains: each buffer once. Only after <see cref="StageTrainable"/>.</summary>
    public IEnumerable<ResidentTensor> Trainables()
    {
        HashSet<DeviceTensor> seen = new(ReferenceEqualityComparer.Instance);
        foreach (ResidentDelta delta in Deltas)
        {
            ModelSite site = delta.Host.Site;
            bool table = site.Embedding is not null;
            (DeviceTensor? Tensor, PeftPart Part)[] all =
            [
                (delta.A, table ? PeftPart.EmbeddingA : PeftPart.A), (delta.B, table ? PeftPart.EmbeddingB : PeftPart.B), (delta.OutputBias, PeftPart.OutputBias),
                (delta.Magnitude, PeftPart.Magnitude), (delta.Weight, PeftPart.Weight), (delta.Bias, PeftPart.Bias), (delta.Rows?.Values, PeftPart.TokenRows),
            ];
            foreach ((DeviceTensor? tensor, PeftPart part) in all)
                if (tensor is not null && seen.Add(tensor))
                    yield return new(tensor.Name, tensor, part, part is PeftPart.A or PeftPart.EmbeddingA or PeftPart.TokenRows ? FileLayout.Same : part == PeftPart.Weight ? site.WeightLayout : site.RowLayout);
        }
        foreach ((int _, BottleneckStep step) in Bottlenecks)
            foreach (LinearSite layer in (LinearSite[])[step.Down, step.Up])
            {
                yield return new(layer.Weight.Name, layer.Weight, PeftPart.Weight, FileLayout.Same);
                yield return new(layer.Bias!.Name, layer.Bias, PeftPart.Bias, FileLayout.Same);
            }
    }

    /// <summary>Takes it off the device and gives its file, still mapped, to the caller. As after <see cref="Dispose"/>, no path may use it any more.</summary>
    public LoraAdapter Detach()
    {
        foreach (DeviceTensor tensor in _owned)
            tensor.Dispose();
        _owned.Clear();
        return Adapter;
    }

    /// <inheritdoc/>
    public void Dispose() => Detach().Dispose();

    /// <summary>DoRA's gain over the untouched base at one scale: computed once, shared by every path; over replaced weights it is the path's own.</summary>
    internal DeviceTensor Gain(ResidentDelta delta, float scale, bool shared, DoraSite site)
    {
        lock (_lock)
        {
            (int, float) key = (delta.Host.Site.Index, scale);
            if (shared && _gains.TryGetValue(key, out DeviceTensor? known))
                return known;
            Tensor stored = delta.Host.LowRank!.Magnitude!;
            DeviceTensor Like(string suffix) => _backend.Allocate(stored.Name + suffix, DType.F32, stored.Shape);
            DeviceTensor gain = Like(".gain"), norms = Like(".norms");
            _owned.Add(gain);
            if (shared || _trainable)
                _gains[key] = gain;
            if (delta.Magnitude is { } trained)
            {
                _owned.Add(norms);
                DoraGain kept = new(_backend, site, trained, norms, gain);
                kept.Refresh();
                _trainedGains[key] = kept;
                return gain;
            }
            // Of a frozen adapter only the gain stays.
            using DeviceTensor magnitude = _backend.Upload(Tensor.FromFloats(stored.Name, stored.Shape, stored.ToFloats()));
            _backend.DoraGain(site, magnitude, norms, gain);
            norms.Dispose();
            return gain;
        }
    }

    /// <summary>W·T of a site's weight as the path has it so far; made once for each.</summary>
    internal DeviceTensor MappedWeight(ResidentDelta delta, SiteAdapter under, float strength)
    {
        ModelSite site = delta.Host.Site;
        DeviceTensor weight = under.Weight ?? AdapterMerge.StoredWeight(site);
        lock (_lock)
        {
            if (_mapped.TryGetValue((site.Index, weight, under.Rows, strength), out DeviceTensor? known))
                return known;
            float[] values = delta.Host.Map!.Inputs!.Apply(new WeightRows(site, weight, under.Rows).Apply([]), weight.Columns, WeightRows.AreInputs(site), strength);
            return _mapped[(site.Index, weight, under.Rows, strength)] = Upload(Tensor.FromFloats(weight.Name, weight.Shape, values));
        }
    }

    /// <summary>A·T of an earlier step; made once for each.</summary>
    internal DeviceTensor MappedA(ResidentDelta delta, DeviceTensor a, float strength)
    {
        lock (_lock)
        {
            if (!_mapped.TryGetValue((delta.Host.Site.Index, a, null, strength), out DeviceTensor? mapped))
                _mapped[(delta.Host.Site.Index, a, null, strength)] = mapped = Upload(Tensor.FromFloats(a.Name, a.Shape, delta.Host.Map!.Inputs!.Apply(a.ToFloats(), a.Columns, false, strength)));
            return mapped;
        }
    }

    /// <summary>A step that adds nothing and scales what stands before it. Rank 1, of zeros: some devices take no rank 0.</summary>
    internal LowRankStep GainStep(ResidentDelta delta, float strength)
    {
        LinearSite linear = delta.Host.Site.Linear!;
        lock (_lock)
        {
            if (_gainSteps.TryGetValue((linear.Index, strength), out LowRankStep? step))
                return step;
            DeviceTensor Made(string name, Shape shape, float[] values) => Upload(Tensor.FromFloats($"{linear.Name}.{name}", shape, values));
            return _gainSteps[(linear.Index, strength)] = new(
                Made("zero_A", new(1, linear.Inputs), new float[linear.Inputs]), Made("zero_B", new(linear.Outputs, 1), new float[linear.Outputs]), 1, 1, Gain: Made("gain", new(linear.Outputs), GainsAt(delta, strength)));
        }
    }

    /// <summary>A bias scaled as the outputs are; made once for each.</summary>
    internal DeviceTensor ScaledBias(ResidentDelta delta, DeviceTensor bias, float strength)
    {
        lock (_lock)
        {
            if (!_mapped.TryGetValue((delta.Host.Site.Index, bias, null, strength), out DeviceTensor? scaled))
                _mapped[(delta.Host.Site.Index, bias, null, strength)] = scaled = Upload(Tensor.FromFloats(bias.Name, bias.Shape, [.. bias.ToFloats().Zip(GainsAt(delta, strength), (b, g) => b * g)]));
            return scaled;
        }
    }

    /// <summary>These rows over another node's: made once for every pair. Where both have one, the later wins.</summary>
    internal ReplacedRows RowsOver(ReplacedRows under, ResidentDelta delta)
    {
        lock (_lock)
        {
            if (_rows.TryGetValue((delta.Host.Site.Index, under), out ReplacedRows? rows))
                return rows;
            RowsDelta over = delta.Host.Rows!;
            int[] ids = [.. under.Ids.Union(over.Ids).Order()];
            int columns = over.Values.Shape.Columns;
            float[] values = new float[ids.Length * columns], low = under.Values.ToFloats(), high = over.Values.ToFloats();
            for (int i = 0; i < ids.Length; i++)
            {
                int at = Array.BinarySearch(over.Ids, ids[i]);
                (float[] source, int row) = at >= 0 ? (high, at) : (low, Array.BinarySearch(under.Ids, ids[i]));
                source.AsSpan(row * columns, columns).CopyTo(values.AsSpan(i * columns));
            }
            return _rows[(delta.Host.Site.Index, under)] = new(ids, Upload(Tensor.FromFloats(over.Values.Name, new Shape(ids.Length, columns), values)));
        }
    }

    /// <summary>A bottleneck at another strength: its output layer times that. Owned here.</summary>
    internal BottleneckStep Scaled(BottleneckStep step, float strength)
    {
        lock (_lock)
        {
            DeviceTensor Scale(DeviceTensor tensor) => Upload(Tensor.FromFloats(tensor.Name, tensor.Shape, Array.ConvertAll(tensor.ToFloats(), v => v * strength)));
            return step with { Up = step.Up with { Weight = Scale(step.Up.Weight), Bias = Scale(step.Up.Bias!) } };
        }
    }

    private static float[] GainsAt(ResidentDelta delta, float strength) => Array.ConvertAll(delta.Host.Map!.Gain!.ToFloats(), g => strength == 1 ? g : 1 + strength * (g - 1));

    private BottleneckStep Stage(BottleneckDelta delta) => new(
        new(delta.Name + ".down", -1, Upload(delta.Down), Upload(delta.DownBias), false), new(delta.Name + ".up", -1, Upload(delta.Up), Upload(delta.UpBias), false), delta.Activation);

    private ResidentDelta Stage(SiteDelta delta)
    {
        (Tensor A, Tensor B)? residual = delta.LowRank is null ? null : BaseResidual.Of(Adapter, delta);
        return new(delta)
        {
            A = Upload(delta.LowRank?.A),
            B = Upload(delta.LowRank?.B),
            OutputBias = Upload(delta.LowRank?.OutputBias),
            Weight = Upload(delta.Weight),
            Bias = Upload(delta.Bias),
            Rows = delta.Rows is { } rows ? new(rows.Ids, Upload(rows.Values)) : null,
            ResidualA = Upload(residual?.A),
            ResidualB = Upload(residual?.B),
            Magnitude = _trainable ? Upload(delta.LowRank?.Magnitude) : null,
        };
    }

    [return: System.Diagnostics.CodeAnalysis.NotNullIfNotNull(nameof(tensor))]
    private DeviceTensor? Upload(Tensor? tensor)
    {
        if (tensor is null)
            return null;
        if (_uploaded.TryGetValue(tensor, out DeviceTensor? known))
            return known;
        DeviceTensor device = _trainable ? _backend.Allocate(tensor.Name, DType.F32, tensor.Shape) : _backend.Upload(tensor);
        _owned.Add(device);
        _uploaded.Add(tensor, device);
        if (_trainable)
            _backend.Write(tensor.ToFloats(), device, 0);
        return device;
    }
}
