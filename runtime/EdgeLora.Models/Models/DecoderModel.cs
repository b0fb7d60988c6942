using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A decoder over <see cref="IComputeBackend"/>: the base, instantiated once and never written. One forward at a time.</summary>
public sealed class DecoderModel : ICausalLM
{
    private readonly BaseCheckpoint _checkpoint;
    private readonly DecoderWeights _weights;
    private readonly BatchLayout _headRows = new();
    private DecoderBuffers _buffers;
    private string? _fingerprint;

    private DecoderModel(BaseCheckpoint checkpoint, IComputeBackend backend, ModelConfig config, DecoderWeights weights, SiteBuilder build)
    {
        _checkpoint = checkpoint;
        Backend = backend;
        Config = config;
        _weights = weights;
        ByteLength = build.ByteLength;
        Sites = new(build.Sites, weights.Head.Name, weights.Tokens.Name, config.TiedHead, config.Layers);
        _buffers = new(backend, config, 16);
    }

    /// <summary>The backend it runs on.</summary>
    public IComputeBackend Backend { get; }

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
            ModelConfig config = architecture.ReadConfig(checkpoint);
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
    public KvBuffer CreateCache(int capacity) => new(Backend, Config.Layers, Config.KvHeads * Config.HeadSize, capacity);

    /// <inheritdoc/>
    public void Forward(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits, HiddenObserver? observer = null)
    {
        int rows = batch.Rows;
        if (rows > _buffers.Rows)
        {
            _buffers.Dispose();
            _buffers = new(Backend, Config, Math.Max(rows, Math.Min(256, _buffers.Rows * 2)));
        }
        DecoderBuffers b = _buffers;
        Backend.Embed(batch, _weights.Tokens, b.Hidden);
        if (_weights.Positions is not null)
        {
            b.Positions.Fill(batch);
            Backend.Embed(b.Positions.Rows, _weights.Positions, b.Delta);
            Backend.Add(rows, b.Hidden, b.Delta, b.Hidden);
        }
        if (Config.Rope is not null)
            b.WriteAngles(batch.Positions, Config.Rope);
        Observe(observer, 0, rows);
        for (int i = 0; i < _weights.Layers.Length; i++)
        {
            RunAttention(batch, i, _weights.Layers[i]);
            RunFeedForward(batch, _weights.Layers[i]);
            Observe(observer, i + 1, rows);
        }
        WriteLogits(batch, logitRows, logits);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _buffers.Dispose();
        _checkpoint.Dispose();
    }

    private void RunAttention(BatchLayout batch, int index, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        int rows = batch.Rows, q = Config.Heads * Config.HeadSize, kv = Config.KvHeads * Config.HeadSize;
        Norm(batch, layer.AttentionNorm, b.Hidden, b.Normed);
        if (layer.Qkv is { } fused)
        {
            Backend.Linear(batch, fused, b.Normed, b.Qkv);
            Backend.CopyColumns(rows, b.Qkv, 0, b.Q, 0, q);
            Backend.CopyColumns(rows, b.Qkv, q, b.K, 0, kv);
            Backend.CopyColumns(rows, b.Qkv, q + kv, b.V, 0, kv);
        }
        else
        {
            Backend.Linear(batch, layer.Q!, b.Normed, b.Q);
            Backend.Linear(batch, layer.K!, b.Normed, b.K);
            Backend.Linear(batch, layer.V!, b.Normed, b.V);
        }
        if (layer.QNorm is not null)
            Backend.RmsNorm(batch, layer.QNorm, b.Q, b.Q);
        if (layer.KNorm is not null)
            Backend.RmsNorm(batch, layer.KNorm, b.K, b.K);
        if (Config.Rotates[index])
        {
            Backend.Rope(rows, Config.HeadSize, _checkpoint.Pairs, b.Cos, b.Sin, b.Q);
            Backend.Rope(rows, Config.HeadSize, _checkpoint.Pairs, b.Cos, b.Sin, b.K);
        }
        Backend.StoreKeyValues(batch, index, b.K, b.V);
        AttentionShape shape = new(Config.Heads, Config.KvHeads, Config.HeadSize, Config.AttentionScales[index], Config.Windows[index]);
        Backend.Attention(batch, index, shape, b.Q, b.Mixed);
        Backend.Linear(batch, layer.O, b.Mixed, b.Delta);
        Backend.Add(rows, b.Hidden, b.Delta, b.Hidden);
    }

    private void RunFeedForward(BatchLayout batch, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        Norm(batch, layer.FeedForwardNorm, b.Hidden, b.Normed);
        Backend.Linear(batch, layer.Up, b.Normed, b.Up);
        if (layer.Gate is null)
        {
            Backend.Activate(batch.Rows, _weights.Activation, b.Up, b.Up);
        }
        else
        {
            Backend.Linear(batch, layer.Gate, b.Normed, b.Gate);
            Backend.SwiGlu(batch.Rows, b.Gate, b.Up, b.Up);
        }
        Backend.Linear(batch, layer.Down, b.Up, b.Delta);
        Backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
    }

    private void WriteLogits(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits)
    {
        DecoderBuffers b = _buffers;
        // The head is the widest layer: a few rows at a time keep its output small however long the prompt is.
        for (int done = 0; done < logitRows.Length;)
        {
            int count = Math.Min(DecoderBuffers.HeadRows, logitRows.Length - done);
            _headRows.Clear();
            for (int i = 0; i < count; i++)
            {
                int row = logitRows[done + i];
                Backend.Copy(b.Hidden, row, b.HeadInput, i, 1);
                _headRows.AddRow(PathOf(batch, row));
            }
            Norm(_headRows, _weights.FinalNorm, b.HeadInput, b.HeadInput);
            Backend.Linear(_headRows, _weights.Head, b.HeadInput, b.Logits);
            Backend.Read(b.Logits, 0, logits.Slice(done * Config.Vocabulary, count * Config.Vocabulary));
            done += count;
        }
        _headRows.Clear();
    }

    private static SiteTable PathOf(BatchLayout batch, int row)
    {
        foreach (RowGroup group in batch.Groups)
            if (row < group.Start + group.Count)
                return group.Path;
        throw new ArgumentOutOfRangeException(nameof(row), row, $"the batch has {batch.Rows} rows");
    }

    private void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y)
    {
        if (_weights.LayerNorm)
            Backend.LayerNorm(batch, site, x, y);
        else
            Backend.RmsNorm(batch, site, x, y);
    }

    private void Observe(HiddenObserver? observer, int index, int rows)
    {
        if (observer is null)
            return;
        float[] hidden = new float[rows * Config.HiddenSize];
        Backend.Read(_buffers.Hidden, 0, hidden);
        observer(index, hidden);
    }
}
