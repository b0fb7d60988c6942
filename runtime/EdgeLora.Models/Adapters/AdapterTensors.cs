using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Checks an adapter's tensors one by one (type, shape, finite values) and brings them into the base's row order.</summary>
/// <param name="faults">Told what is wrong.</param>
/// <param name="trusted">Whether numbers are taken as they are, unread.</param>
internal sealed class AdapterTensors(FaultList faults, bool trusted = false)
{
    /// <summary>The tensor ready for a backend, or null after a fault (or where it is absent, which the caller has named).</summary>
    public Tensor? Take(Tensor? tensor, string label, Shape expected, int[]? rowOrder = null)
    {
        if (tensor is null || !CheckShape(tensor, label, expected))
            return null;
        if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64))
        {
            faults.Add($"{label}: expected F32, F16, BF16 or F64, found {tensor.Type}");
            return null;
        }
        if (tensor.Type == DType.F64)
            tensor = Tensor.FromFloats(tensor.Name, tensor.Shape, tensor.ToFloats());
        if (!trusted && FirstNotFinite(tensor) is long at && at >= 0)
        {
            faults.Add($"{label}: element {at} is NaN or infinite");
            return null;
        }
        return rowOrder is null ? tensor : tensor.Reordered(rowOrder);
    }

    public bool CheckShape(Tensor tensor, string label, Shape expected)
    {
        if (tensor.Shape == expected)
            return true;
        faults.Add($"{label}: expected {expected}, found {tensor.Shape}");
        return false;
    }

    // An exponent of all ones is NaN or infinity in every IEEE type.
    private static long FirstNotFinite(Tensor tensor) => tensor.Type switch
    {
        DType.F32 => FirstWithAllOf(MemoryMarshal.Cast<byte, uint>(tensor.Bytes), 0x7F800000u),
        DType.F16 => FirstWithAllOf(MemoryMarshal.Cast<byte, ushort>(tensor.Bytes), (ushort)0x7C00),
        _ => FirstWithAllOf(MemoryMarshal.Cast<byte, ushort>(tensor.Bytes), (ushort)0x7F80),
    };

    // By runs of four vectors: nearly every tensor is clean, and where one is not its run is looked through again.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long FirstWithAllOf<T>(ReadOnlySpan<T> values, T bits)
        where T : unmanaged, IBinaryInteger<T>
    {
        Vector<T> mask = new(bits);
        int run = 4 * Vector<T>.Count, at = 0;
        for (; at <= values.Length - run; at += run)
        {
            ReadOnlySpan<Vector<T>> vectors = MemoryMarshal.Cast<T, Vector<T>>(values.Slice(at, run));
            Vector<T> found = Vector.Equals(vectors[0] & mask, mask) | Vector.Equals(vectors[1] & mask, mask) | Vector.Equals(vectors[2] & mask, mask) | Vector.Equals(vectors[3] & mask, mask);
            if (found != Vector<T>.Zero)
                break;
        }
        for (; at < values.Length; at++)
            if ((values[at] & bits) == bits)
                return at;
        return -1;
    }
}
