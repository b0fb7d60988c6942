using EdgeLora.Core;

namespace EdgeLora.Models;

// The feed-forward: plain or gated.
public sealed partial class DecoderPass
{
    private void RunFeedForward(BatchLayout batch, int index, DecoderLayer layer)
    {
        DecoderBuffers b = _buffers;
        DeviceTensor input = layer.Parallel ? b.Normed : Normed(batch, layer.FeedForwardNorm);
        if (layer.Experts is { } mixture)
            RunExperts(batch, index, mixture, input);
        else
            FeedForward(batch, layer, input);
        RunBottlenecks(batch, _firstBottleneck + 2 * index + 1, b.Delta);
        AddBranch(batch, layer.AfterFeedForward, layer.FeedForwardSumNorm);
    }

    // From input to b.Delta.
    private void FeedForward(BatchLayout batch, DecoderLayer layer, DeviceTensor input)
    {
        DecoderBuffers b = _buffers;
        int rows = batch.Rows, f = _config.FeedForward;
        if (layer.GateUp is { } fused)
        {
            _backend.Linear(batch, fused, input, b.GateUp);
            _backend.CopyColumns(rows, b.GateUp, 0, b.Gate, 0, f);
            _backend.CopyColumns(rows, b.GateUp, f, b.Up, 0, f);
            _backend.GatedActivation(rows, _weights.Activation, b.Gate, b.Up, b.Up);
        }
        else if (layer.Gate is { } gate)
        {
            _backend.Linears(batch, [layer.Up!, gate], input, [b.Up, b.Gate]);
            _backend.GatedActivation(rows, _weights.Activation, b.Gate, b.Up, b.Up);
        }
        else
        {
            _backend.Linear(batch, layer.Up!, input, b.Up);
            _backend.Activate(rows, _weights.Activation, b.Up, b.Up);
        }
        _backend.Linear(batch, layer.Down!, b.Up, b.Delta);
    }
}
