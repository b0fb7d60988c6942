using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The decoder's forward: pre-norm, sequential residuals.</summary>
public sealed class DecoderPass : IForwardPass
{
    private readonly DecoderWeights _weights;
    private readonly ModelConfig _config;
    private readonly RopePairs _pairs;
    private readonly IComputeBackend _backend;
    private readonly int _firstBottleneck;
    private DecoderBuffers _buffers;

    internal DecoderPass(DecoderWeights weights, ModelConfig config, SiteCatalog sites, RopePairs pairs, IComputeBackend backend, int rows)
    {
        _firstBottleneck = sites.Sites.Count;
        _weights = weights;
        _config = config;
        _pairs = pairs;
        _backend = backend;
        _buffers = new(backend, config, rows);
    }

    /// <inheritdoc/>
    public int Layers => _weights.Layers.Length;

    /// <inheritdoc/>
    public DeviceTensor Hidden => _buffers.Hidden;

    /// <inheritdoc/>
    public DeviceTensor Output => _buffers.Normed;

    /// <inheritdoc/>
    public LinearSite Head => _weights.Head;

    /// <inheritdoc/>
    public void Reserve(int rows)
    {
        if (rows <= _buffers.Capacity)
            return;
        int grown = Math.Max(rows, Math.Min(256, _buffers.Capacity * 2));
        _buffers.Dispose();
        _buffers = new(_backend, _config, grown);
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch)
    {
        DecoderBuffers b = _buffers;
        _backend.Embed(batch, _weights.Tokens, b.Hidden);
        if (_weights.Positions is not null)
        {
            b.Positions.FillPositions(batch);
            _backend.Embed(b.Positions.Rows, _weights.Positions, b.Delta);
            _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        }
        if (_config.Rope is not null)
            b.WriteAngles(batch.Positions, _config.Rope);
    }

    /// <inheritdoc/>
    public void RunLayer(BatchLayout batch, int index)
    {
        RunAttention(batch, index, _weights.Layers[index]);
        RunFeedForward(batch, index, _weights.Layers[index]);
    }

    /// <inheritdoc/>
    public void Finish(BatchLayout batch) => FinalNorm(batch, _buffers.Hidden, _buffers.Normed);

    /// <summary>The norm before the head on rows of the caller's.</summary>
    public void FinalNorm(BatchLayout rows, DeviceTensor x, DeviceTensor y) => Norm(rows, _weights.FinalNorm, x, y);

    /// <inheritdoc/>
    public void Dispose() => _buffers.Dispose();

    private void RunAttention(BatchLayout batch, int index, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        int rows = batch.Rows, q = _config.Heads * _config.HeadSize, kv = _config.KvHeads * _config.HeadSize;
        Norm(batch, layer.AttentionNorm, b.Hidden, b.Normed);
        if (layer.Qkv is { } fused)
        {
            _backend.Linear(batch, fused, b.Normed, b.Qkv);
            _backend.CopyColumns(rows, b.Qkv, 0, b.Q, 0, q);
            _backend.CopyColumns(rows, b.Qkv, q, b.K, 0, kv);
            _backend.CopyColumns(rows, b.Qkv, q + kv, b.V, 0, kv);
        }
        else
        {
            _backend.Linears(batch, [layer.Q!, layer.K!, layer.V!], b.Normed, [b.Q, b.K, b.V]);
        }
        if (layer.QNorm is not null)
            _backend.RmsNorm(batch, layer.QNorm, b.Q, b.Q);
        if (layer.KNorm is not null)
            _backend.RmsNorm(batch, layer.KNorm, b.K, b.K);
        if (_config.Rotates[index])
        {
            _backend.Rope(rows, _config.HeadSize, _pairs, b.Cos, b.Sin, b.Q);
            _backend.Rope(rows, _config.HeadSize, _pairs, b.Cos, b.Sin, b.K);
        }
        _backend.StoreKeyValues(batch, index, b.K, b.V);
        AttentionShape shape = new(_config.Heads, _config.KvHeads, _config.HeadSize, _config.AttentionScales[index], _config.Windows[index]);
        _backend.Attention(batch, index, shape, b.Q, b.Mixed);
        _backend.Linear(batch, layer.O, b.Mixed, b.Delta);
        RunBottlenecks(batch, _firstBottleneck + 2 * index, b.Delta);
        _backend.Add(rows, b.Hidden, b.Delta, b.Hidden);
    }

    private void RunFeedForward(BatchLayout batch, int index, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        Norm(batch, layer.FeedForwardNorm, b.Hidden, b.Normed);
        if (layer.Gate is null)
        {
            _backend.Linear(batch, layer.Up, b.Normed, b.Up);
            _backend.Activate(batch.Rows, _weights.Activation, b.Up, b.Up);
        }
        else
        {
            _backend.Linears(batch, [layer.Up, layer.Gate], b.Normed, [b.Up, b.Gate]);
            _backend.SwiGlu(batch.Rows, b.Gate, b.Up, b.Up);
        }
        _backend.Linear(batch, layer.Down, b.Up, b.Delta);
        RunBottlenecks(batch, _firstBottleneck + 2 * index + 1, b.Delta);
        _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
    }

    // Rows of a path that has a bottleneck here go through it by themselves; a batch on one path needs no copies.
    private void RunBottlenecks(BatchLayout batch, int site, DeviceTensor x)
    {
        foreach (RowGroup group in batch.Groups)
            foreach (BottleneckStep step in group.Path[site]?.Bottlenecks ?? [])
            {
                bool whole = group.Count == batch.Rows;
                BatchLayout rows = whole ? batch : _buffers.Rows(group.Count);
                DeviceTensor input = whole ? x : _buffers.BottleneckInput, inner = _buffers.Inner(step.Down.Outputs), output = _buffers.BottleneckOutput;
                if (!whole)
                    _backend.Copy(x, group.Start, input, 0, group.Count);
                _backend.Linear(rows, step.Down, input, inner);
                _backend.Activate(group.Count, step.Activation, inner, inner);
                _backend.Linear(rows, step.Up, inner, output);
                _backend.Add(group.Count, input, output, input);
                if (!whole)
                    _backend.Copy(input, 0, x, group.Start, group.Count);
            }
    }

    private void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y)
    {
        if (_weights.LayerNorm)
            _backend.LayerNorm(batch, site, x, y);
        else
            _backend.RmsNorm(batch, site, x, y);
    }
}
