using System.Diagnostics;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

// Mixtures of experts.
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public bool IsImmediate => true;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        Debug.Assert(k > 0 && k <= logits.Columns && logits.Columns == weights.Columns, $"{k} of {logits} cannot be chosen into {weights}");
        lock (_gate)
        {
            ReserveScratch(_kernels.RouteScratch(logits.Columns));
            _op.X = Pointer.In(logits);
            _op.Y = Pointer.Out(weights);
            (_op.Rows, _op.Columns, _op.Count, _op.Width) = (rows, logits.Columns, k, renormalise ? 1 : 0);
            Run(_kernels.Route, 16L * rows * logits.Columns);
        }
        KeepAlive(logits, weights, logits, weights);
    }

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y)
    {
        fixed (int* numbers = rows)
            lock (_gate)
            {
                _op.Labels = numbers;
                _op.X = Pointer.In(x);
                _op.Y = Pointer.Out(y);
                (_op.Rows, _op.Columns) = (rows.Length, x.Columns);
                Run(_kernels.GatherRows, (long)rows.Length * x.Columns);
            }
        KeepAlive(x, y, x, y);
    }

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        fixed (int* numbers = rows)
            lock (_gate)
            {
                _op.Labels = numbers;
                _op.X = Pointer.In(x);
                _op.Y = Pointer.Out(y);
                _op.Z = Pointer.In(weights);
                (_op.Rows, _op.Columns, _op.Width, _op.Layer) = (count, x.Columns, weights.Columns, column);
                Run(_kernels.AddRows, (long)count * x.Columns);
            }
        KeepAlive(x, weights, y, y);
    }

    /// <inheritdoc/>
    public void RouteBackward(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor dweights, DeviceTensor dlogits)
    {
        lock (_gate)
        {
            ReserveScratch(_kernels.RouteScratch(logits.Columns));
            _op.X = Pointer.In(logits);
            _op.Dy = Pointer.In(dweights);
            _op.Dx = Pointer.Out(dlogits);
            (_op.Rows, _op.Columns, _op.Count, _op.Width) = (rows, logits.Columns, k, renormalise ? 1 : 0);
            Run(_kernels.Training.Route, 16L * rows * logits.Columns);
        }
        KeepAlive(logits, dweights, dlogits, dlogits);
    }

    /// <inheritdoc/>
    public void GatherRowsBackward(ReadOnlySpan<int> rows, DeviceTensor dy, DeviceTensor dx)
    {
        fixed (int* numbers = rows)
            lock (_gate)
            {
                _op.Labels = numbers;
                _op.Dy = Pointer.In(dy);
                _op.Dx = Pointer.Out(dx);
                (_op.Rows, _op.Columns) = (rows.Length, dx.Columns);
                Run(_kernels.Training.GatherRows, (long)rows.Length * dx.Columns);
            }
        KeepAlive(dy, dx, dy, dx);
    }

    /// <inheritdoc/>
    public void AddRowsBackward(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor dy, DeviceTensor dx, DeviceTensor dweights)
    {
        fixed (int* numbers = rows)
            lock (_gate)
            {
                _op.Labels = numbers;
                _op.X = Pointer.In(x);
                _op.Z = Pointer.In(weights);
                _op.Dy = Pointer.In(dy);
                _op.Dx = Pointer.Out(dx);
                _op.Dx2 = Pointer.Out(dweights);
                (_op.Rows, _op.Columns, _op.Width, _op.Layer) = (count, x.Columns, weights.Columns, column);
                Run(_kernels.Training.AddRows, 2L * count * x.Columns);
            }
        KeepAlive(x, weights, dy, dx);
        KeepAlive(dweights, dy, dx, dx);
    }
}
