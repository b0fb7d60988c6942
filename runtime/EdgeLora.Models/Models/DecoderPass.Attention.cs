using EdgeLora.Core;

namespace EdgeLora.Models;

// Attention: projections together or fused, norms of heads, positions, output.
public sealed partial class DecoderPass
{
    private void RunAttention(BatchLayout batch, int index, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        int rows = batch.Rows, q = _config.Heads * _config.HeadSize, kv = _config.KvHeads * _config.HeadSize;
        DeviceTensor input = Normed(batch, layer.AttentionNorm);
        if (layer.Qkv is { } fused)
        {
            int pieces = layer.QkvPieces;
            (q, kv) = (q / pieces, kv / pieces);
            _backend.Linear(batch, fused, input, b.Qkv);
            _backend.CopyColumns(rows, b.Qkv, 0, b.Q, 0, q, pieces);
            _backend.CopyColumns(rows, b.Qkv, q, b.K, 0, kv, pieces);
            _backend.CopyColumns(rows, b.Qkv, q + kv, b.V, 0, kv, pieces);
        }
        else
        {
            _backend.Linears(batch, [layer.Q!, layer.K!, layer.V!], input, [b.Q, b.K, b.V]);
        }
        if (layer.QNorm is not null)
            Norm(batch, layer.QNorm, b.Q, b.Q);
        if (layer.KNorm is not null)
            Norm(batch, layer.KNorm, b.K, b.K);
        if (_config.Rotates[index])
        {
            (DeviceTensor cos, DeviceTensor sin) = _config.WindowRope is not null && _config.Windows[index] > 0 ? (b.WindowCos, b.WindowSin) : (b.Cos, b.Sin);
            _backend.Rope(rows, _config.HeadSize, _pairs, cos, sin, b.Q);
            _backend.Rope(rows, _config.HeadSize, _pairs, cos, sin, b.K);
        }
        _backend.StoreKeyValues(batch, index, b.K, b.V);
        AttentionShape shape = new(_config.Heads, _config.KvHeads, _config.HeadSize, _config.AttentionScales[index], _config.Windows[index], Causal: true, _config.ScoreCap, _weights.Slopes);
        _backend.Attention(batch, index, shape, b.Q, b.Mixed);
        _backend.Linear(batch, layer.O, b.Mixed, b.Delta);
        RunBottlenecks(batch, _firstBottleneck + 2 * index, b.Delta);
        // A parallel layer's feed-forward reads the stream before the sum; without a norm of its own what attention read, which still stands.
        if (layer is { Parallel: true, FeedForwardNorm: { } beside })
            Norm(batch, beside, b.Hidden, b.Normed);
        AddBranch(batch, layer.AfterAttention, layer.AttentionSumNorm);
    }
}
