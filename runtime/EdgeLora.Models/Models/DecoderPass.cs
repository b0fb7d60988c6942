using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The decoder's forward: embeddings, layers of attention and feed-forward, the norm before the head.</summary>
public sealed partial class DecoderPass : IForwardPass
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
    public DeviceTensor Output => _weights.ProjectOut is null ? _buffers.Normed : _buffers.Embedded;

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
        DeviceTensor embedded = _weights.ProjectIn is null ? b.Hidden : b.Embedded;
        _backend.Embed(batch, _weights.Tokens, embedded);
        if (_weights.ProjectIn is { } project)
            _backend.Linear(batch, project, embedded, b.Hidden);
        if (_weights.Positions is not null)
        {
            b.Positions.FillPositions(batch, _weights.FirstPosition);
            _backend.Embed(b.Positions.Rows, _weights.Positions, b.Delta);
            _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        }
        if (_config.EmbeddingScale != 1)
            _backend.Scale(batch.Rows, _config.EmbeddingScale, b.Hidden, b.Hidden);
        b.WriteAngles(batch);
    }

    /// <inheritdoc/>
    public void RunLayer(BatchLayout batch, int index)
    {
        RunAttention(batch, index, _weights.Layers[index]);
        RunFeedForward(batch, index, _weights.Layers[index]);
    }

    /// <inheritdoc/>
    public void Finish(BatchLayout batch) => Finish(batch, _buffers.Hidden, _buffers.Normed, Output);

    /// <inheritdoc/>
    public void FinishLogits(int rows, DeviceTensor logits) => LogitRule.Apply(_backend, _config, rows, logits);

    /// <summary>What stands before the head, on rows of the caller's.</summary>
    /// <param name="rows">The rows and their paths.</param>
    /// <param name="x">[rows, D].</param>
    /// <param name="normed">[rows, D], may be x: taken for the norm.</param>
    /// <param name="y">[rows, E]: what enters the head; <paramref name="normed"/> itself where E is D.</param>
    public void Finish(BatchLayout rows, DeviceTensor x, DeviceTensor normed, DeviceTensor y)
    {
        if (_weights.FinalNorm is { } norm)
            Norm(rows, norm, x, normed);
        else if (!ReferenceEquals(x, normed))
            _backend.CopyColumns(rows.Rows, x, 0, normed, 0, x.Columns);
        if (_weights.ProjectOut is { } project)
            _backend.Linear(rows, project, normed, y);
    }

    /// <inheritdoc/>
    public void Dispose() => _buffers.Dispose();

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

    // The stream through a norm, or as it is.
    private DeviceTensor Normed(BatchLayout batch, NormSite? norm)
    {
        if (norm is null)
            return _buffers.Hidden;
        Norm(batch, norm, _buffers.Hidden, _buffers.Normed);
        return _buffers.Normed;
    }

    // Adds a branch's result to the stream.
    private void AddBranch(BatchLayout batch, NormSite? after, NormSite? ofSum)
    {
        DecoderBuffers b = _buffers;
        if (after is not null)
            Norm(batch, after, b.Delta, b.Delta);
        if (_config.ResidualScale != 1)
            _backend.Scale(batch.Rows, _config.ResidualScale, b.Delta, b.Delta);
        _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        if (ofSum is not null)
            Norm(batch, ofSum, b.Hidden, b.Hidden);
    }
}
