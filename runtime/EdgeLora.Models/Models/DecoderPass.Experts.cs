using EdgeLora.Core;

namespace EdgeLora.Models;

// The mixture of experts. Where results are in host memory at once, an expert runs the rows that take it; elsewhere reading the routing would stall the device, and each expert runs every row.
// Either way a row adds up its experts in their order, so its bits do not depend on its batch mates.
public sealed partial class DecoderPass
{
    // From input to b.Delta.
    private void RunExperts(BatchLayout batch, int index, ExpertWeights mixture, DeviceTensor input)
    {
        ExpertBuffers e = _buffers.Experts(mixture.Experts.Length);
        DeviceTensor sum = _buffers.Delta;
        int rows = batch.Rows;
        _backend.Linear(batch, mixture.Router, input, e.Logits);
        _backend.Route(rows, mixture.Chosen, mixture.Renormalises, e.Logits, e.Weights);
        _backend.Scale(rows, 0, input, sum);
        bool gathers = _backend.IsImmediate;
        if (gathers)
            e.ReadWeights(_backend, rows);
        for (int i = 0; i < mixture.Experts.Length; i++)
        {
            if (!gathers)
            {
                RunExpert(batch, mixture.Experts[i], input, e);
                _backend.AddRows(rows, [], e.Weights, i, e.Output, sum);
                continue;
            }
            ReadOnlySpan<int> chosen = e.Choose(batch, index, i, out BatchLayout layout);
            if (chosen.IsEmpty)
                continue;
            _backend.GatherRows(chosen, input, e.Input);
            RunExpert(layout, mixture.Experts[i], e.Input, e);
            _backend.AddRows(chosen.Length, chosen, e.Weights, i, e.Output, sum);
        }
        if (mixture.Shared is { } shared)
            AddShared(batch, shared, mixture.SharedGate, input, e, sum);
    }

    private void RunExpert(BatchLayout rows, ExpertSites expert, DeviceTensor input, ExpertBuffers e)
    {
        (DeviceTensor gate, DeviceTensor up) = e.Inner(expert.Up.Outputs);
        _backend.Linears(rows, [expert.Up, expert.Gate], input, [up, gate]);
        _backend.GatedActivation(rows.Rows, _weights.Activation, gate, up, up);
        _backend.Linear(rows, expert.Down, up, e.Output);
    }

    private void AddShared(BatchLayout batch, ExpertSites shared, LinearSite? gate, DeviceTensor input, ExpertBuffers e, DeviceTensor sum)
    {
        int rows = batch.Rows;
        RunExpert(batch, shared, input, e);
        if (gate is not null)
        {
            // sigmoid(z) = 1/2 + tanh(z/2)/2, so that no nonlinearity of its own is needed.
            _backend.Linear(batch, gate, input, e.Share);
            _backend.Scale(rows, 0.5f, e.Share, e.Share);
            _backend.Activate(rows, Activation.Tanh, e.Share, e.Share);
            _backend.Scale(rows, 0.5f, e.Share, e.Share);
            _backend.AddRows(rows, [], e.Share, 0, e.Output, sum);
            _backend.Scale(rows, 0.5f, e.Output, e.Output);
        }
        _backend.Add(rows, sum, e.Output, sum);
    }
}
