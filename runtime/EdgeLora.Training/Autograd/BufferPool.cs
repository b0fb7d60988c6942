using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>F32 buffers of activations and gradients by width, used again from micro-batch to micro-batch. Counts what it holds.</summary>
internal sealed class BufferPool(IComputeBackend backend) : IDisposable
{
    private readonly Dictionary<int, Stack<DeviceTensor>> _free = [];
    private readonly List<DeviceTensor> _all = [];

    /// <summary>Bytes of all buffers, lent or free.</summary>
    public long ByteLength { get; private set; }

    /// <summary>A buffer of <paramref name="columns"/> columns and at least <paramref name="rows"/> rows; its content is undefined.</summary>
    public DeviceTensor Take(int rows, int columns)
    {
        if (_free.TryGetValue(columns, out Stack<DeviceTensor>? stack))
            while (stack.TryPop(out DeviceTensor? known))
            {
                if (known.Shape[0] >= rows)
                    return known;
                // A longer batch came: what is too short is not needed any more.
                _all.Remove(known);
                ByteLength -= known.ByteLength;
                known.Dispose();
            }
        DeviceTensor buffer = backend.Allocate("activation", DType.F32, new Shape(rows, columns));
        _all.Add(buffer);
        ByteLength += buffer.ByteLength;
        return buffer;
    }

    /// <summary>Gives a buffer back.</summary>
    public void Return(DeviceTensor buffer)
    {
        if (!_free.TryGetValue(buffer.Columns, out Stack<DeviceTensor>? stack))
            _free[buffer.Columns] = stack = new();
        stack.Push(buffer);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceTensor buffer in _all)
            buffer.Dispose();
        _all.Clear();
        _free.Clear();
    }
}

/// <summary>A pool's buffer that several hold: the last to let go returns it.</summary>
internal sealed class SharedBuffer(BufferPool pool, DeviceTensor tensor)
{
    private int _holders = 1;

    /// <summary>The buffer.</summary>
    public DeviceTensor Tensor { get; } = tensor;

    /// <summary>Whether somebody else holds it too.</summary>
    public bool IsShared => _holders > 1;

    /// <summary>One holder more.</summary>
    public SharedBuffer Hold()
    {
        _holders++;
        return this;
    }

    /// <summary>One holder less.</summary>
    public void Release()
    {
        if (--_holders == 0)
            pool.Return(Tensor);
    }
}
