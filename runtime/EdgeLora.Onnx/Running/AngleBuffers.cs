using System.Numerics.Tensors;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>Cosines and sines of a step's positions, as a graph takes them.</summary>
internal sealed class AngleBuffers
{
    private readonly RopeFrequencies _rope;
    private readonly StepBuffer<float>? _cos, _sin;
    private readonly StepBuffer<Half>? _halfCos, _halfSin;
    private float[] _angles = [];

    /// <summary>Buffers of these names.</summary>
    public AngleBuffers(RopeFrequencies rope, string cos, string sin, OnnxType activations)
    {
        _rope = rope;
        if (activations == OnnxType.Float16)
            Inputs = [_halfCos = new(cos, activations), _halfSin = new(sin, activations)];
        else
            Inputs = [_cos = new(cos, activations), _sin = new(sin, activations)];
    }

    /// <summary>Both.</summary>
    public StepBuffer[] Inputs { get; }

    /// <summary>Writes the angles of <paramref name="positions"/>; a row's sequence has <paramref name="lengths"/> tokens, one number for each or for all.</summary>
    public void Write(ReadOnlySpan<int> positions, ReadOnlySpan<int> lengths)
    {
        int rows = positions.Length, count = rows * _rope.Pairs;
        if (_angles.Length < 2 * count)
            _angles = new float[2 * count];
        Span<float> cos = _angles.AsSpan(0, count), sin = _angles.AsSpan(count, count);
        if (lengths.Length == 1)
            _rope.WriteAngles(positions, lengths[0], cos, sin);
        else
            for (int t = 0; t < rows; t++)
                _rope.WriteAngles(positions.Slice(t, 1), lengths[t], cos[(t * _rope.Pairs)..], sin[(t * _rope.Pairs)..]);
        foreach (StepBuffer buffer in Inputs)
            buffer.Resize(rows, _rope.Pairs);
        if (_cos is null)
        {
            TensorPrimitives.ConvertToHalf(cos, _halfCos!.Span);
            TensorPrimitives.ConvertToHalf(sin, _halfSin!.Span);
            return;
        }
        cos.CopyTo(_cos.Span);
        sin.CopyTo(_sin!.Span);
    }
}
