using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace EdgeLora.Onnx;

/// <summary>An input or output of a step in pinned memory: rewritten in place from step to step, another <see cref="OrtValue"/> only when its dimensions change.</summary>
internal abstract class StepBuffer(string name) : IDisposable
{
    private long[] _shape = [-1];
    private OrtValue? _value;

    /// <summary>The graph's name of it.</summary>
    public string Name => name;

    /// <summary>Another number whenever <see cref="Value"/> is another object.</summary>
    public int Version { get; private set; }

    /// <summary>What is bound.</summary>
    public OrtValue Value => _value!;

    /// <summary>Gives it these dimensions.</summary>
    public void Resize(params ReadOnlySpan<long> shape)
    {
        if (shape.SequenceEqual(_shape))
            return;
        _shape = shape.ToArray();
        long count = 1;
        foreach (long d in shape)
            count *= d;
        _value?.Dispose();
        _value = Create(checked((int)count), _shape);
        Version++;
    }

    /// <inheritdoc/>
    public void Dispose() => _value?.Dispose();

    protected abstract OrtValue Create(int count, long[] shape);
}

/// <summary>One of a given element type.</summary>
/// <param name="name">The graph's name of it.</param>
/// <param name="type">ONNX's name of T.</param>
internal sealed class StepBuffer<T>(string name, OnnxType type) : StepBuffer(name) where T : unmanaged
{
    private T[] _array = [];

    /// <summary>The elements, room beyond its dimensions included.</summary>
    public Span<T> Span => _array;

    protected override OrtValue Create(int count, long[] shape)
    {
        if (_array.Length < count || _array.Length == 0)
            _array = GC.AllocateArray<T>(Math.Max(count, _array.Length * 2), pinned: true);
        return OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, (TensorElementType)type, shape,
            Marshal.UnsafeAddrOfPinnedArrayElement(_array, 0), (long)count * System.Runtime.CompilerServices.Unsafe.SizeOf<T>());
    }
}
