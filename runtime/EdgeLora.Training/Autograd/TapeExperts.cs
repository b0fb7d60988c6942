using EdgeLora.Core;

namespace EdgeLora.Training;

// Mixtures of experts: the choice has no derivative, the chosen weights have.
public sealed partial class Tape
{
    /// <inheritdoc/>
    public bool IsImmediate => _backend.IsImmediate;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        bool needs = Needs(logits);
        _backend.Route(rows, k, renormalise, logits, weights);
        Written(weights, needs);
        if (!Recording || !needs)
            return;
        SharedBuffer saved = Save(logits);
        _entries.Add(() =>
        {
            if (TakeGradient(weights) is { } dy)
            {
                _backend.RouteBackward(rows, k, renormalise, saved.Tensor, dy.Tensor, GradientOf(logits));
                dy.Release();
            }
            saved.Release();
        });
    }

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y)
    {
        bool needs = Needs(x);
        _backend.GatherRows(rows, x, y);
        Written(y, needs);
        if (!Recording || !needs)
            return;
        int[] numbers = rows.ToArray();
        _entries.Add(() =>
        {
            if (TakeGradient(y) is not { } dy)
                return;
            _backend.GatherRowsBackward(numbers, dy.Tensor, GradientOf(x));
            dy.Release();
        });
    }

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        bool needWeights = Needs(weights), needX = Needs(x), needY = Needs(y);
        _backend.AddRows(count, rows, weights, column, x, y);
        Written(y, needWeights || needX || needY);
        if (!Recording || !(needWeights || needX))
            return;
        int[] numbers = rows.ToArray();
        SharedBuffer savedWeights = Save(weights), savedX = Save(x);
        _entries.Add(() =>
        {
            // y's gradient is its older value's too: the sum passes it on.
            if (ValueOf(y).Gradient is { } dy)
            {
                _backend.AddRowsBackward(count, numbers, savedWeights.Tensor, column, savedX.Tensor, dy.Tensor, GradientOf(x), GradientOf(weights));
                if (!needX)
                    Drop(x);
                if (!needWeights)
                    Drop(weights);
                if (!needY)
                    Drop(y);
            }
            savedWeights.Release();
            savedX.Release();
        });
    }
}
