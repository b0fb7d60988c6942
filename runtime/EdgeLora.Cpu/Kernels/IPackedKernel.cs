using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>A product of a <see cref="PackedWeight"/> that is written once for all types.</summary>
internal unsafe interface IPackedKernel
{
    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows.</summary>
    static abstract void Run<W>(in Product product, int start, int end, float* scratch) where W : struct, IPackedType;
}

/// <summary>Finds a kernel's copy for the type of a packed weight.</summary>
internal static unsafe class PackedKernel
{
    /// <summary>Runs <typeparamref name="K"/>. Throws <see cref="NotSupportedException"/> for a type that is never packed.</summary>
    public static void Run<K>(in Product product, int start, int end, float* scratch) where K : struct, IPackedKernel
    {
        switch (product.Type)
        {
            case DType.F16:
                K.Run<PackedF16>(product, start, end, scratch);
                break;
            case DType.BF16:
                K.Run<PackedBF16>(product, start, end, scratch);
                break;
            case DType.Q8_0:
                K.Run<PackedBytes>(product, start, end, scratch);
                break;
            case DType.Q4_0:
                K.Run<PackedSigned4>(product, start, end, scratch);
                break;
            case DType.Q4_1 or DType.Q4_K:
                K.Run<PackedUnsigned4>(product, start, end, scratch);
                break;
            case DType.Q5_0:
                K.Run<PackedSigned5>(product, start, end, scratch);
                break;
            case DType.Q5_1 or DType.Q5_K:
                K.Run<PackedUnsigned5>(product, start, end, scratch);
                break;
            case DType.Q6_K:
                K.Run<PackedSigned6>(product, start, end, scratch);
                break;
            case DType.Q3_K:
                K.Run<PackedSigned3>(product, start, end, scratch);
                break;
            case DType.Q2_K:
                K.Run<PackedUnsigned2>(product, start, end, scratch);
                break;
            case DType.IQ4_NL or DType.IQ4_XS or DType.MXFP4:
                K.Run<PackedIndices4>(product, start, end, scratch);
                break;
            case DType.NVFP4:
                K.Run<PackedIndices4Of16>(product, start, end, scratch);
                break;
            case DType.TQ1_0 or DType.TQ2_0:
                K.Run<PackedIndices2>(product, start, end, scratch);
                break;
            case DType.Q1_0:
                K.Run<PackedIndices1>(product, start, end, scratch);
                break;
            default:
                throw new NotSupportedException($"{product.Type} is never packed");
        }
    }
}
