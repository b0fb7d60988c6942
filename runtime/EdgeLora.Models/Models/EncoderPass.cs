using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>An encoder's forward: every row sees its whole sequence. Padding is not computed: what is hidden from all others is left out, its neighbours keep their positions.</summary>
public sealed class EncoderPass : IForwardPass
{
    private readonly EncoderWeights _weights;
    private readonly ModelConfig _config;
    private readonly IComputeBackend _backend;
    private readonly List<int> _positions = [];
    private readonly List<int> _types = [];
    private readonly List<int> _firsts = [];
    private float[] _patches = [];
    private EncoderBuffers _buffers;

    internal EncoderPass(EncoderWeights weights, ModelConfig config, IComputeBackend backend, int rows)
    {
        (_weights, _config, _backend) = (weights, config, backend);
        _buffers = new(backend, config, weights.Patches, rows);
    }

    /// <inheritdoc/>
    public int Layers => _weights.Layers.Length;

    /// <inheritdoc/>
    public DeviceTensor Hidden => _buffers.Hidden;

    /// <inheritdoc/>
    public DeviceTensor Output => _buffers.Output;

    /// <inheritdoc/>
    public LinearSite Head => _weights.Classifier;

    /// <inheritdoc/>
    public void Reserve(int rows)
    {
        if (rows <= _buffers.Capacity)
            return;
        _buffers.Dispose();
        _buffers = new(_backend, _config, _weights.Patches, rows);
    }

    /// <summary>Forgets what <see cref="Add"/> was given.</summary>
    public void Clear()
    {
        _positions.Clear();
        _types.Clear();
        _firsts.Clear();
    }

    /// <summary>Adds a sequence to a batch that this pass will run; all of the batch's must be added so. Throws <see cref="ArgumentException"/> naming what does not fit.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="input">What is read.</param>
    /// <param name="path">The sequence's path.</param>
    /// <param name="cache">Room for the sequence's keys and values; it grows.</param>
    /// <returns>The batch's row of the first token, from which the class is read; -1 where that is padding.</returns>
    public int Add(BatchLayout batch, EncoderInput input, SiteTable path, KvBuffer cache)
    {
        Check(input);
        int first = -1, start = batch.Rows, count = input.Pixels is null ? input.Ids.Length : _weights.Patches!.Rows;
        cache.Reserve(count);
        batch.BeginSequence(cache, 0);
        for (int i = 0, seen = 0; i < count; i++)
        {
            bool padding = input.Pixels is null && input.Ids[i] == _weights.PaddingId;
            seen += padding ? 0 : 1;
            if (input.Mask is not null && input.Mask[i] == 0)
                continue;
            if (i == 0)
                first = batch.Rows;
            _positions.Add(_weights.PaddingId is not { } id ? i : padding ? id : id + seen);
            _types.Add(input.Types?[i] ?? 0);
            batch.Add(input.Pixels is null ? input.Ids[i] : 0, path);
        }
        if (input.Pixels is not null)
        {
            _firsts.Add(start);
            Unfold(input.Pixels, start);
        }
        return first;
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch)
    {
        EncoderBuffers b = _buffers;
        if (_weights.Patches is { } patches)
            EmbedPatches(batch, patches);
        else
            _backend.Embed(batch, _weights.Tokens!, b.Hidden);
        b.Positions.Fill(batch, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_positions));
        _backend.Embed(b.Positions.Rows, _weights.Positions, b.Delta);
        _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        if (_weights.Types is not null)
        {
            b.Types.Fill(batch, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_types));
            _backend.Embed(b.Types.Rows, _weights.Types, b.Delta);
            _backend.Add(batch.Rows, b.Hidden, b.Delta, b.Hidden);
        }
        if (_weights.EmbeddingNorm is not null)
            _backend.LayerNorm(batch, _weights.EmbeddingNorm, b.Hidden, b.Hidden);
    }

    /// <inheritdoc/>
    public void RunLayer(BatchLayout batch, int index)
    {
        EncoderBuffers b = _buffers;
        EncoderLayer layer = _weights.Layers[index];
        DeviceTensor x = Before(batch, layer.AttentionNorm);
        _backend.Linears(batch, [layer.Q, layer.K, layer.V], x, [b.Q, b.K, b.V]);
        _backend.StoreKeyValues(batch, index, b.K, b.V);
        AttentionShape shape = new(_config.Heads, _config.KvHeads, _config.HeadSize, _config.AttentionScales[index], 0, Causal: false);
        _backend.Attention(batch, index, shape, b.Q, b.Mixed);
        _backend.Linear(batch, layer.O, b.Mixed, b.Delta);
        After(batch, layer.AttentionNorm);
        x = Before(batch, layer.FeedForwardNorm);
        _backend.Linear(batch, layer.Up, x, b.Up);
        _backend.Activate(batch.Rows, _weights.Activation, b.Up, b.Up);
        _backend.Linear(batch, layer.Down, b.Up, b.Delta);
        After(batch, layer.FeedForwardNorm);
    }

    /// <inheritdoc/>
    public void Finish(BatchLayout batch) => Finish(batch, Hidden, _buffers.Normed, Output);

    /// <summary>What stands between the last layer and the classifier, on rows of the caller's.</summary>
    /// <param name="rows">The rows and their paths.</param>
    /// <param name="x">[rows, D]: what left the last layer.</param>
    /// <param name="scratch">[rows, D].</param>
    /// <param name="y">[rows, D]: what enters the classifier.</param>
    internal void Finish(BatchLayout rows, DeviceTensor x, DeviceTensor scratch, DeviceTensor y)
    {
        DeviceTensor pooled = x;
        if (_weights.FinalNorm is not null)
            _backend.LayerNorm(rows, _weights.FinalNorm, x, pooled = _weights.Pooler is null ? y : scratch);
        if (_weights.Pooler is null)
            return;
        _backend.Linear(rows, _weights.Pooler, pooled, y);
        _backend.Activate(rows.Rows, _weights.PoolerActivation, y, y);
    }

    /// <summary>What the base model returns: the rows after the final norm, or as they left the last layer.</summary>
    internal DeviceTensor LastHidden(BatchLayout batch)
    {
        if (_weights.FinalNorm is null)
            return Hidden;
        _backend.LayerNorm(batch, _weights.FinalNorm, Hidden, _buffers.Normed);
        return _buffers.Normed;
    }

    /// <inheritdoc/>
    public void FinishLogits(int rows, DeviceTensor logits) { }

    /// <inheritdoc/>
    public void Dispose() => _buffers.Dispose();

    private DeviceTensor Before(BatchLayout batch, NormSite norm)
    {
        if (!_weights.NormsFirst)
            return _buffers.Hidden;
        _backend.LayerNorm(batch, norm, _buffers.Hidden, _buffers.Normed);
        return _buffers.Normed;
    }

    private void After(BatchLayout batch, NormSite norm)
    {
        _backend.Add(batch.Rows, _buffers.Hidden, _buffers.Delta, _buffers.Hidden);
        if (!_weights.NormsFirst)
            _backend.LayerNorm(batch, norm, _buffers.Hidden, _buffers.Hidden);
    }

    // The class token has a row of zeros among the patches, so that one op makes all rows; its own value is put over what came of them.
    private void EmbedPatches(BatchLayout batch, PatchWeights patches)
    {
        EncoderBuffers b = _buffers;
        _backend.Write(_patches.AsSpan(0, batch.Rows * patches.Projection.Inputs), b.Patches!, 0);
        _backend.Linear(batch, patches.Projection, b.Patches!, b.Hidden);
        foreach (int row in _firsts)
            _backend.Copy(b.ClassToken!, 0, b.Hidden, row, 1);
    }

    // [C, H, W] to patches in row order, each [C, p, p]: what a convolution's weight of that shape is multiplied with.
    private void Unfold(float[] pixels, int start)
    {
        PatchWeights patches = _weights.Patches!;
        int size = patches.ImageSize, p = patches.PatchSize, across = patches.PatchesAcross, width = patches.Projection.Inputs;
        if (_patches.Length < (start + patches.Rows) * width)
            Array.Resize(ref _patches, Math.Max((start + patches.Rows) * width, 2 * _patches.Length));
        Array.Clear(_patches, start * width, width);
        int to = (start + 1) * width;
        for (int patch = 0; patch < across * across; patch++)
            for (int c = 0; c < patches.Channels; c++)
                for (int y = 0; y < p; y++, to += p)
                    pixels.AsSpan((c * size + patch / across * p + y) * size + patch % across * p, p).CopyTo(_patches.AsSpan(to));
    }

    private void Check(EncoderInput input)
    {
        if (_weights.Patches is { } patches)
        {
            if (input.Pixels is null)
                throw new ArgumentException($"{_config.ModelType} reads images: expected pixels, found tokens");
            if (input.Pixels.Length != patches.Pixels)
                throw new ArgumentException($"pixels: expected {patches.Channels} x {patches.ImageSize} x {patches.ImageSize} values, found {input.Pixels.Length}");
            int wrong = Array.FindIndex(input.Pixels, v => !float.IsFinite(v));
            if (wrong >= 0)
                throw new ArgumentException($"pixels: value {wrong} is NaN or infinite");
            return;
        }
        if (input.Pixels is not null)
            throw new ArgumentException($"{_config.ModelType} reads tokens, found an image");
        CheckTokens(input);
    }

    private void CheckTokens(EncoderInput input)
    {
        int count = input.Ids.Length;
        if (count == 0)
            throw new ArgumentException("no tokens: give at least one");
        if (count > _config.ContextLength)
            throw new ArgumentException($"{count} tokens do not fit the context of {_config.ContextLength}");
        CheckIds("token id", input.Ids, _config.Vocabulary, count);
        CheckIds("attention mask", input.Mask, 2, count);
        CheckIds("token type", input.Types, _weights.Types is { } types ? (int)types.Table.Shape[0] : 1, count);
        if (input.Mask is not null && !input.Mask.Contains(1))
            throw new ArgumentException("attention mask: hides every token");
    }

    private static void CheckIds(string what, int[]? ids, int limit, int count)
    {
        if (ids is null)
            return;
        if (ids.Length != count)
            throw new ArgumentException($"{what}: expected {count} entries, one a token, found {ids.Length}");
        foreach (int id in ids)
            if ((uint)id >= (uint)limit)
                throw new ArgumentException($"{what} {id}: expected 0..{limit - 1}");
    }
}
