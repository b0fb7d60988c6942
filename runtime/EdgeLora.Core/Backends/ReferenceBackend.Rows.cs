using System.Runtime.InteropServices;

namespace EdgeLora.Core;

// Rows in and out: whatever a tensor is stored as, an op sees F64.
public sealed partial class ReferenceBackend
{
    /// <summary>Rows [row, row + count), widened.</summary>
    private static double[] Load(DeviceTensor tensor, long row, int count)
    {
        double[] values = new double[checked(count * tensor.Columns)];
        Load(tensor, row, values);
        return values;
    }

    /// <summary>Elements from <paramref name="row"/> on, as many as <paramref name="destination"/> has, widened.</summary>
    private static void Load(DeviceTensor tensor, long row, Span<double> destination)
    {
        int start = checked((int)tensor.Type.Bytes(row * tensor.Columns)), length = (int)tensor.Type.Bytes(destination.Length);
        ReadOnlySpan<byte> bytes = ((HostTensor)tensor).Bytes.Slice(start, length);
        if (tensor.Type == DType.F64)
        {
            MemoryMarshal.Cast<byte, double>(bytes).CopyTo(destination);
            return;
        }
        ReadOnlySpan<float> floats = tensor.Type == DType.F32 ? MemoryMarshal.Cast<byte, float>(bytes) : Dequantized(tensor.Type, bytes, destination.Length);
        for (int i = 0; i < floats.Length; i++)
            destination[i] = floats[i];
    }

    /// <summary>One element of an unblocked type, widened.</summary>
    private static double Element(DeviceTensor tensor, long index)
    {
        int size = tensor.Type.BlockBytes();
        ReadOnlySpan<byte> bytes = ((HostTensor)tensor).Bytes.Slice(checked((int)(index * size)), size);
        return tensor.Type == DType.F64 ? MemoryMarshal.Read<double>(bytes) : Dequantize.Element(tensor.Type, bytes);
    }

    /// <summary>Writes <paramref name="values"/> from <paramref name="row"/> on, rounded once to the buffer's type.</summary>
    private static void Store(ReadOnlySpan<double> values, DeviceTensor tensor, long row)
    {
        int start = checked((int)(row * tensor.Columns));
        if (tensor.Type == DType.F64)
        {
            values.CopyTo(((HostTensor)tensor).Doubles[start..]);
            return;
        }
        Span<float> floats = ((HostTensor)tensor).Floats.Slice(start, values.Length);
        for (int i = 0; i < values.Length; i++)
            floats[i] = (float)values[i];
    }

    /// <summary>Adds <paramref name="values"/> to what stands from <paramref name="row"/> on.</summary>
    private static void Accumulate(double[] values, DeviceTensor tensor, long row)
    {
        double[] sum = new double[values.Length];
        Load(tensor, row, sum);
        for (int i = 0; i < sum.Length; i++)
            sum[i] += values[i];
        Store(sum, tensor, row);
    }

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    private static float[] Dequantized(DType type, ReadOnlySpan<byte> bytes, int count)
    {
        float[] floats = new float[count];
        Dequantize.ToFloats(type, bytes, floats);
        return floats;
    }

    /// <summary>F64 sums of one op for every gradient it adds to: rounded once, however the rows are grouped.</summary>
    private sealed class Sums(Gradients gradients)
    {
        private readonly Dictionary<DeviceTensor, double[]> _of = new(ReferenceEqualityComparer.Instance);

        /// <summary>The sum for <paramref name="parameter"/>'s gradient; null where it is frozen or absent.</summary>
        public double[]? Of(DeviceTensor? parameter)
        {
            if (gradients.Of(parameter) is not { } gradient)
                return null;
            if (!_of.TryGetValue(gradient, out double[]? sum))
                _of.Add(gradient, sum = new double[gradient.Shape.Elements]);
            return sum;
        }

        /// <summary>Adds every sum to its gradient.</summary>
        public void Add()
        {
            foreach ((DeviceTensor gradient, double[] sum) in _of)
                Accumulate(sum, gradient, 0);
        }
    }
}
