using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Checks an adapter's tensors one by one (type, shape, finite values) and brings them into the base's row order.</summary>
internal sealed class AdapterTensors(FaultList faults)
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
        if (FirstNotFinite(tensor) is long at && at >= 0)
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
    private static long FirstNotFinite(Tensor tensor)
    {
        ReadOnlySpan<byte> bytes = tensor.Bytes;
        if (tensor.Type == DType.F32)
        {
            ReadOnlySpan<uint> values = MemoryMarshal.Cast<byte, uint>(bytes);
            for (int i = 0; i < values.Length; i++)
                if ((values[i] & 0x7F800000) == 0x7F800000)
                    return i;
            return -1;
        }
        uint mask = tensor.Type == DType.F16 ? 0x7C00u : 0x7F80u;
        ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(bytes);
        for (int i = 0; i < halves.Length; i++)
            if ((halves[i] & mask) == mask)
                return i;
        return -1;
    }
}
