using System.Buffers.Binary;

namespace EdgeLora.Core;

/// <summary>The scalar meaning of every stored type: bytes to F32. The specification that kernels are compared with.</summary>
public static class Dequantize
{
    /// <summary>Converts <paramref name="bytes"/> of <paramref name="type"/> to <paramref name="destination"/>, whole blocks.</summary>
    public static void ToFloats(DType type, ReadOnlySpan<byte> bytes, Span<float> destination)
    {
        switch (type)
        {
            case DType.F32:
                System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes[..(destination.Length * 4)]).CopyTo(destination);
                return;
            case DType.F16:
                HalfPrecision.FromHalf(bytes[..(destination.Length * 2)], destination);
                return;
            case DType.BF16:
                HalfPrecision.FromBFloat16(bytes[..(destination.Length * 2)], destination);
                return;
        }
        int size = type.BlockBytes(), block = type.BlockSize();
        for (int i = 0; i < destination.Length; i += block)
        {
            ReadOnlySpan<byte> b = bytes.Slice(i / block * size, size);
            switch (type)
            {
                case DType.Q8_0:
                    QuantBlocks.ReadQ8_0(b, destination.Slice(i, 32));
                    break;
                case DType.Q4_0:
                    QuantBlocks.ReadQ4_0(b, destination.Slice(i, 32));
                    break;
                case DType.Q4_1:
                    NibbleBlocks.ReadQ4_1(b, destination.Slice(i, 32));
                    break;
                case DType.Q5_0:
                    NibbleBlocks.ReadQ5_0(b, destination.Slice(i, 32));
                    break;
                case DType.Q5_1:
                    NibbleBlocks.ReadQ5_1(b, destination.Slice(i, 32));
                    break;
                case DType.Q2_K:
                    KBlocks.ReadQ2(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.Q3_K:
                    KBlocks.ReadQ3(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.Q4_K:
                    KBlocks.ReadQ4(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.Q5_K:
                    KBlocks.ReadQ5(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.Q6_K:
                    KBlocks.ReadQ6(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ4_NL:
                    TableBlocks.ReadIQ4_NL(b, destination.Slice(i, 32));
                    break;
                case DType.IQ4_XS:
                    TableBlocks.ReadIQ4_XS(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.MXFP4:
                    TableBlocks.ReadMxfp4(b, destination.Slice(i, 32));
                    break;
                case DType.NVFP4:
                    TableBlocks.ReadNvfp4(b, destination.Slice(i, 64));
                    break;
                case DType.Q1_0:
                    TernaryBlocks.ReadQ1_0(b, destination.Slice(i, 128));
                    break;
                case DType.TQ1_0:
                    TernaryBlocks.ReadTQ1_0(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.TQ2_0:
                    TernaryBlocks.ReadTQ2_0(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ2_XXS:
                    LatticeBlocks.ReadIQ2_XXS(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ2_XS:
                    LatticeBlocks.ReadIQ2_XS(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ2_S:
                    LatticeBlocks.ReadIQ2_S(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ3_XXS:
                    LatticeBlocks.ReadIQ3_XXS(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ3_S:
                    LatticeBlocks.ReadIQ3_S(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ1_S:
                    LatticeBlocks.ReadIQ1_S(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.IQ1_M:
                    LatticeBlocks.ReadIQ1_M(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                case DType.Q8_1:
                    QuantBlocks.ReadQ8_1(b, destination.Slice(i, 32));
                    break;
                case DType.Q8_K:
                    KBlocks.ReadQ8(b, destination.Slice(i, KBlocks.BlockSize));
                    break;
                default:
                    destination[i] = Element(type, b);
                    break;
            }
        }
    }

    /// <summary>One element of an unblocked type.</summary>
    public static float Element(DType type, ReadOnlySpan<byte> b) => type switch
    {
        DType.F32 => BinaryPrimitives.ReadSingleLittleEndian(b),
        DType.F16 => (float)BinaryPrimitives.ReadHalfLittleEndian(b),
        DType.BF16 => BFloat16(BinaryPrimitives.ReadUInt16LittleEndian(b)),
        DType.F64 => (float)BinaryPrimitives.ReadDoubleLittleEndian(b),
        DType.I64 => BinaryPrimitives.ReadInt64LittleEndian(b),
        DType.U64 => BinaryPrimitives.ReadUInt64LittleEndian(b),
        DType.I32 => BinaryPrimitives.ReadInt32LittleEndian(b),
        DType.U32 => BinaryPrimitives.ReadUInt32LittleEndian(b),
        DType.I16 => BinaryPrimitives.ReadInt16LittleEndian(b),
        DType.U16 => BinaryPrimitives.ReadUInt16LittleEndian(b),
        DType.I8 => (sbyte)b[0],
        DType.U8 or DType.Bool => b[0],
        DType.F8E4M3 or DType.F8E5M2 or DType.F8E4M3Fnuz or DType.F8E5M2Fnuz or DType.F8E8M0 => Float8.Values(type)[b[0]],
        _ => throw new NotSupportedException($"{type} cannot be read as numbers yet"),
    };

    /// <summary>A bfloat16's bits as F32: exact.</summary>
    public static float BFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>F32 to bfloat16 bits, round to nearest even; NaN stays NaN.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
