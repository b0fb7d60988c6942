using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A decoder over <see cref="IComputeBackend"/>: the base, instantiated once and never written. One forward at a time.</summary>
public sealed class DecoderModel : ICausalLM, ITrainableModel
{
    private readonly BaseCheckpoint _checkpoint;
    private readonly DecoderWeights _weights;
    private readonly BatchLayout _headRows = new();
    private readonly DecoderPass _pass;
    private readonly LogitRows _head;
    private string? _fingerprint;

    private DecoderModel(BaseCheckpoint checkpoint, IComputeBackend backend, ModelConfig config, DecoderWeights weights, SiteBuilder build)
    {
        _checkpoint = checkpoint;
        Backend = backend;
        Config = config;
        _weights = weights;
        ByteLength = build.ByteLength;
        Sites = new(build.Sites, weights.Head.Name, weights.Tokens.Name, config.TiedHead, config.Layers) { ModelType = config.ModelType };
        _pass = new(weights, config, Sites, Pairs, backend, 16);
        _head = new(backend, config);
        Whole = (backend as IWholeModelBackend)?.Compile(this);
    }

    /// <summary>The backend it runs on.</summary>
    public IComputeBackend Backend { get; }

    /// <summary>What runs it where the backend runs whole models; null where it runs op by op.</summary>
    public ICausalLM? Whole { get; }

    /// <inheritdoc/>
    public ModelConfig Config { get; }

    /// <inheritdoc/>
    public SiteCatalog Sites { get; }

    /// <summary>The checkpoint, open for the model's life.</summary>
    public BaseCheckpoint Checkpoint => _checkpoint;

    /// <summary>Bytes of the base's weights in their stored form: they exist once, mapped.</summary>
    public long ByteLength { get; }

    /// <summary>XxHash128 over the base's tensors, 32 hex digits. Read once, on first use.</summary>
    public string BaseFingerprint => _fingerprint ??= Fingerprint.Of(_checkpoint.Weights);

    /// <summary>Instantiates a base. Takes ownership of <paramref name="checkpoint"/> also when it throws. Throws <see cref="ModelFileException"/> with every fault.</summary>
    /// <param name="checkpoint">The base.</param>
    /// <param name="backend">What it runs on; stays the caller's.</param>
    /// <param name="layerOrder">For layer_replication: the stored layer that each layer runs; null: all, once.</param>
    public static DecoderModel Load(BaseCheckpoint checkpoint, IComputeBackend backend, int[]? layerOrder = null)
    {
        try
        {
            IArchitecture architecture = ArchitectureRegistry.For(checkpoint.Config);
            if (DecoderClassifier.IsNamed(checkpoint.Config))
                throw checkpoint.Config.Refusal("architectures", "a language model ('edgelora logits' and ClassifierHost run those that classify)");
            ModelConfig config = architecture.ReadConfig(checkpoint);
            checkpoint.RequireLayers(config.Layers);
            if (layerOrder is not null)
                config = layerOrder.All(i => (uint)i < (uint)config.Layers)
                    ? config.WithLayers(layerOrder)
                    : throw new ModelFileException(checkpoint.Path, $"layer_replication: expected layers 0..{config.Layers - 1}, found {layerOrder.Max()}");
            SiteBuilder build = new(checkpoint, backend);
            DecoderWeights weights = architecture.Load(config, build);
            build.Store.ThrowIfFaulty();
            return new(checkpoint, backend, config, weights, build);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public bool Classifies => false;

    /// <inheritdoc/>
    public IForwardPass CreatePass(IComputeBackend backend, int rows) => new DecoderPass(_weights, Config, Sites, Pairs, backend, rows);

    /// <inheritdoc/>
    public KvBuffer CreateCache(int capacity) => Whole?.CreateCache(capacity) ?? new(Backend, Config.Layers, Config.KvHeads * Config.HeadSize, capacity);

    /// <inheritdoc/>
    public void Forward(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits, HiddenObserver? observer = null)
    {
        if (Whole is not null)
        {
            Whole.Forward(batch, logitRows, logits, observer);
            return;
        }
        RunLayers(batch, observer);
        for (int done = 0; done < logitRows.Length;)
        {
            int count = Math.Min(_head.Capacity, logitRows.Length - done);
            RunHead(batch, logitRows.Slice(done, count));
            Backend.Read(_head.Logits, 0, logits.Slice(done * Config.Vocabulary, count * Config.Vocabulary));
            done += count;
        }
    }

    /// <inheritdoc/>
    public void Score(BatchLayout batch, ReadOnlySpan<int> rows, ReadOnlySpan<TokenScores> scores)
    {
        if (Whole is not null)
        {
            ICausalLM.ScoreAll(this, batch, rows, scores);
            return;
        }
        RunLayers(batch, null);
        _head.Reserve(rows.Length);
        for (int done = 0; done < rows.Length;)
        {
            int count = Math.Min(_head.Capacity, rows.Length - done);
            RunHead(batch, rows.Slice(done, count));
            _head.Give(scores.Slice(done, count));
            done += count;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Whole?.Dispose();
        _pass.Dispose();
        _head.Dispose();
        _checkpoint.Dispose();
    }

    private void RunLayers(BatchLayout batch, HiddenObserver? observer)
    {
        int rows = batch.Rows;
        _pass.Reserve(rows);
        _pass.Embed(batch);
        Observe(observer, 0, rows);
        for (int i = 0; i < _pass.Layers; i++)
        {
            _pass.RunLayer(batch, i);
            Observe(observer, i + 1, rows);
        }
    }

    private void RunHead(BatchLayout batch, ReadOnlySpan<int> rows)
    {
        _head.Clear(rows.Length);
        for (int i = 0; i < rows.Length; i++)
        {
            Backend.Copy(_pass.Hidden, rows[i], _head.Hidden, i, 1);
            _headRows.AddRow(PathOf(batch, rows[i]));
        }
        _pass.Finish(_headRows, _head.Hidden, _head.Hidden, _head.Input);
        Backend.Linear(_headRows, _weights.Head, _head.Input, _head.Logits);
        _pass.FinishLogits(rows.Length, _head.Logits);
        _headRows.Clear();
    }

    private RopePairs Pairs => Config.Pairs ?? _checkpoint.Pairs;

    private static SiteTable PathOf(BatchLayout batch, int row)
    {
        foreach (RowGroup group in batch.Groups)
            if (row < group.Start + group.Count)
                return group.Path;
        throw new ArgumentOutOfRangeException(nameof(row), row, $"the batch has {batch.Rows} rows");
    }

    private void Observe(HiddenObserver? observer, int index, int rows)
    {
        if (observer is null)
            return;
        float[] hidden = new float[rows * Config.HiddenSize];
        Backend.Read(_pass.Hidden, 0, hidden);
        observer(index, hidden);
    }
}
