using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>
/// Reverse-mode differentiation over the op seam: a backend that runs every op on the one beneath and remembers how to go back. A model's forward needs not know that it is
/// recorded, and its buffers may be overwritten: a value is (buffer, version), what a backward op needs of an overwritten one is saved. Below the first trainable tensor nothing
/// is saved and nothing goes back. Caches must start empty in each recorded batch.
/// </summary>
public sealed partial class Tape : IComputeBackend
{
    private readonly ITrainingBackend _backend;
    private readonly BufferPool _pool;
    private readonly Dictionary<DeviceTensor, Value> _values = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<int, (DeviceTensor Keys, DeviceTensor Values)> _cached = [];
    private readonly List<Action> _entries = [];
    private int _rows;

    /// <summary>A tape over <paramref name="backend"/>, which stays the caller's.</summary>
    public Tape(ITrainingBackend backend, Gradients gradients)
    {
        _backend = backend;
        Gradients = gradients;
        _pool = new(backend);
    }

    /// <summary>What trains.</summary>
    public Gradients Gradients { get; }

    /// <summary>Whether ops are remembered. Without, the tape still knows which values depend on what trains.</summary>
    public bool Recording { get; set; }

    /// <summary>Bytes of saved activations and gradients of activations.</summary>
    public long ByteLength => _pool.ByteLength;

    /// <inheritdoc/>
    public string Name => _backend.Name;

    /// <inheritdoc/>
    public string Description => _backend.Description;

    /// <summary>Begins a micro-batch of <paramref name="rows"/> rows: forgets all values.</summary>
    public void Begin(int rows)
    {
        foreach (Value value in _values.Values)
            value.Forget();
        _values.Clear();
        _cached.Clear();
        _entries.Clear();
        _rows = rows;
    }

    /// <summary>Whether the current value of <paramref name="x"/> depends on anything that trains.</summary>
    public bool Needs(DeviceTensor x) => _values.TryGetValue(x, out Value? value) && value.Needs;

    /// <summary>Declares that the current value of <paramref name="x"/> depends on what trains: a value restored from a copy.</summary>
    public void SetNeeds(DeviceTensor x, bool needs) => Written(x, needs);

    /// <summary>The gradient of the current value of <paramref name="x"/> to add to, [rows of x, columns]; zero at first.</summary>
    public DeviceTensor GradientOf(DeviceTensor x)
    {
        Value value = ValueOf(x);
        if (value.Gradient is null)
        {
            value.Gradient = new(_pool, _pool.Take((int)x.Shape[0], x.Columns));
            _backend.Clear(_rows, value.Gradient.Tensor);
        }
        else if (value.Gradient.IsShared)
        {
            SharedBuffer own = new(_pool, _pool.Take((int)x.Shape[0], x.Columns));
            _backend.Copy(value.Gradient.Tensor, 0, own.Tensor, 0, _rows);
            value.Gradient.Release();
            value.Gradient = own;
        }
        return value.Gradient.Tensor;
    }

    /// <summary>Goes back over all that was recorded, newest first, and forgets it. Gradients of values that entered the recording stay.</summary>
    public void Backward()
    {
        for (int i = _entries.Count - 1; i >= 0; i--)
            _entries[i]();
        _entries.Clear();
    }

    /// <summary>A copy of the current value that survives its buffer; give it back with <see cref="Release"/>.</summary>
    public DeviceTensor Keep(DeviceTensor x)
    {
        DeviceTensor copy = _pool.Take((int)x.Shape[0], x.Columns);
        _backend.Copy(x, 0, copy, 0, _rows);
        return copy;
    }

    /// <summary>Gives a kept copy back.</summary>
    public void Release(DeviceTensor kept) => _pool.Return(kept);

    /// <summary>Frees the tape's own buffers.</summary>
    public void Dispose() => _pool.Dispose();

    private Value ValueOf(DeviceTensor x)
    {
        if (!_values.TryGetValue(x, out Value? value))
            _values[x] = value = new();
        return value;
    }

    // The buffer has a new value: a copy saved of the old one is nobody's any more but its entries'.
    private void Written(DeviceTensor x, bool needs)
    {
        Value value = ValueOf(x);
        value.Needs = needs;
        value.Saved?.Release();
        value.Saved = null;
    }

    // One copy a value, however many ops need it.
    private SharedBuffer Save(DeviceTensor x)
    {
        Value value = ValueOf(x);
        value.Saved ??= new(_pool, Keep(x));
        return value.Saved.Hold();
    }

    // The gradient of a value that the entry made; the buffer's older value has none yet. Null: nothing came back.
    private SharedBuffer? TakeGradient(DeviceTensor y)
    {
        Value value = ValueOf(y);
        SharedBuffer? gradient = value.Gradient;
        value.Gradient = null;
        return gradient;
    }

    // Adds to a gradient, or hands the buffer over where there is none yet.
    private void Give(DeviceTensor x, SharedBuffer gradient)
    {
        Value value = ValueOf(x);
        if (value.Gradient is null)
        {
            value.Gradient = gradient.Hold();
            return;
        }
        DeviceTensor own = GradientOf(x);
        _backend.Add(_rows, own, gradient.Tensor, own);
    }

    private void Drop(DeviceTensor x) => TakeGradient(x)?.Release();

    private sealed class Value
    {
        public bool Needs;
        public SharedBuffer? Saved;
        public SharedBuffer? Gradient;

        public void Forget()
        {
            Saved?.Release();
            Gradient?.Release();
            Saved = Gradient = null;
        }
    }
}
