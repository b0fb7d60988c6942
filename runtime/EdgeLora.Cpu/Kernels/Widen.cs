using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Stored elements to F32, exactly as <see cref="Dequantize"/> means them.</summary>
internal static unsafe class Widen<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Widens <paramref name="count"/> elements (whole blocks for quantised types) to <paramref name="destination"/>.</summary>
    public static void Run(DType type, byte* source, float* destination, int count)
    {
        switch (type)
        {
            case DType.F32:
                Unsafe.CopyBlockUnaligned(destination, source, (uint)count * sizeof(float));
                break;
            case DType.F16:
                Run<WeightF16>(source, destination, count);
                break;
            case DType.BF16:
                Run<WeightBF16>(source, destination, count);
                break;
            case DType.Q8_0:
                Run<WeightQ8_0>(source, destination, count);
                break;
            case DType.Q4_0:
                Run<WeightQ4_0>(source, destination, count);
                break;
            case DType when type.IsWeight():
                WidenBlocks.Run(type, source, 0, count, destination);
                break;
            default:
                throw new NotSupportedException($"{type} is no weight type");
        }
    }

    /// <summary>The same for a type known when compiling.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W>(byte* source, float* destination, int count) where W : struct, IWeightType
    {
        int k = 0;
        for (; k + 32 <= count; k += 32, source += W.BlockBytes)
        {
            V factor = W.Factor<O, V>(source);
            for (int i = 0; i < 16; i += O.Count)
                O.Store(W.Load<O, V>(source, 0, i, factor), destination + k + i);
            for (int i = 0; i < 16; i += O.Count)
                O.Store(W.Load<O, V>(source, 16, i, factor), destination + k + 16 + i);
        }
        for (int i = 0; k < count; i += O.Count, k += O.Count)
        {
            byte* rest = source + i * W.ElementBytes;
            if (count - k >= O.Count)
                O.Store(W.Load<O, V>(rest, 0, 0, default), destination + k);
            else
                Partial<O, V>.Store(Partial<O, V>.Load<W>(rest, count - k), destination + k, count - k);
        }
    }
}
