using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The weights of one encoder layer, post-norm.</summary>
/// <param name="Q">q [D, D].</param>
/// <param name="K">k [D, D].</param>
/// <param name="V">v [D, D].</param>
/// <param name="O">Attention output [D, D].</param>
/// <param name="AttentionNorm">LayerNorm after attention.</param>
/// <param name="Up">[F, D].</param>
/// <param name="Down">[D, F].</param>
/// <param name="OutputNorm">LayerNorm after the feed-forward.</param>
public sealed record EncoderLayer(LinearSite Q, LinearSite K, LinearSite V, LinearSite O, NormSite AttentionNorm, LinearSite Up, LinearSite Down, NormSite OutputNorm);

/// <summary>All weights of an encoder that classifies.</summary>
/// <param name="Tokens">[V, D].</param>
/// <param name="Positions">[C, D].</param>
/// <param name="Types">[2, D]: every token is of type 0.</param>
/// <param name="EmbeddingNorm">LayerNorm of their sum.</param>
/// <param name="Layers">The layers in order.</param>
/// <param name="Pooler">[D, D], then tanh.</param>
/// <param name="Classifier">[classes, D].</param>
/// <param name="Activation">The feed-forward's nonlinearity.</param>
public sealed record EncoderWeights(
    EmbeddingSite Tokens, EmbeddingSite Positions, EmbeddingSite Types, NormSite EmbeddingNorm, EncoderLayer[] Layers, LinearSite Pooler, LinearSite Classifier, Activation Activation);

/// <summary>An encoder's forward: every position sees its whole sequence. The pooler runs on every row; a classifier looks at each sequence's first.</summary>
public sealed class EncoderPass : IForwardPass
{
    private readonly EncoderWeights _weights;
    private readonly ModelConfig _config;
    private readonly IComputeBackend _backend;
    private DecoderBuffers _buffers;

    internal EncoderPass(EncoderWeights weights, ModelConfig config, IComputeBackend backend, int rows)
    {
        (_weights, _config, _backend) = (weights, config, backend);
        _buffers = new(backend, config, rows);
    }

    /// <inheritdoc/>
    public int Layers => _weights.Layers.Length;

    /// <inheritdoc/>
    public DeviceTensor Hidden => _buffers.Hidden;

    /// <inheritdoc/>
    public DeviceTensor Output => _buffers.Normed;

    /// <inheritdoc/>
    public LinearSite Head => _weights.Classifier;

    /// <inheritdoc/>
    public void Reserve(int rows)
    {
        if (rows <= _buffers.Capacity)
            return;
        _buffers.Dispose();
        _buffers = new(_backend, _config, rows);
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch)
    {
        DecoderBuffers b = _buffers;
        _backend.Embed(batch, _weights.Tokens, b.Hidden);
        b.Positions.FillPositions(batch);
        _backend.Embed(b.Positions.Rows, _weights.Positions, b.Delta);
        _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        b.Types.FillZeros(batch);
        _backend.Embed(b.Types.Rows, _weights.Types, b.Delta);
        _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        _backend.LayerNorm(batch, _weights.EmbeddingNorm, b.Hidden, b.Hidden);
    }

    /// <inheritdoc/>
    public void RunLayer(BatchLayout batch, int index)
    {
        DecoderBuffers b = _buffers;
        EncoderLayer layer = _weights.Layers[index];
        int rows = batch.Rows;
        _backend.Linears(batch, [layer.Q, layer.K, layer.V], b.Hidden, [b.Q, b.K, b.V]);
        _backend.StoreKeyValues(batch, index, b.K, b.V);
        AttentionShape shape = new(_config.Heads, _config.KvHeads, _config.HeadSize, _config.AttentionScales[index], 0, Causal: false);
        _backend.Attention(batch, index, shape, b.Q, b.Mixed);
        _backend.Linear(batch, layer.O, b.Mixed, b.Delta);
        _backend.Add(rows, b.Hidden, b.Delta, b.Hidden);
        _backend.LayerNorm(batch, layer.AttentionNorm, b.Hidden, b.Hidden);
        _backend.Linear(batch, layer.Up, b.Hidden, b.Up);
        _backend.Activate(rows, _weights.Activation, b.Up, b.Up);
        _backend.Linear(batch, layer.Down, b.Up, b.Delta);
        _backend.Add(rows, b.Hidden, b.Delta, b.Hidden);
        _backend.LayerNorm(batch, layer.OutputNorm, b.Hidden, b.Hidden);
    }

    /// <inheritdoc/>
    public void Finish(BatchLayout batch)
    {
        _backend.Linear(batch, _weights.Pooler, _buffers.Hidden, _buffers.Normed);
        _backend.Activate(batch.Rows, Activation.Tanh, _buffers.Normed, _buffers.Normed);
    }

    /// <inheritdoc/>
    public void Dispose() => _buffers.Dispose();
}
