using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 32 elements are one block, little-endian.
//   Q8_0: f16 d, int8 q[32];  x = d·q
//   Q4_0: f16 d, u8 q[16];    x[i] = d·((q[i] & 15) − 8), x[16 + i] = d·((q[i] >> 4) − 8)
// Writing follows ggml's quantize_row_*_ref, byte for byte.

/// <summary>The quantised block types Q8_0 and Q4_0: reading and writing, scalar.</summary>
public static class QuantBlocks
{
    /// <summary>Elements in a block.</summary>
    public const int BlockSize = 32;

    /// <summary>
    /// Stores <paramref name="source"/> as <paramref name="type"/>: F32, F16 and BF16 (nearest even; F16 overflows to infinity), Q8_0 and Q4_0 in whole blocks.
    /// Throws <see cref="OverflowException"/> when a block is not finite or its scale exceeds F16, <see cref="ArgumentException"/> when sizes do not fit, <see cref="NotSupportedException"/> for another type.
    /// </summary>
    public static void FromFloats(DType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        if (source.Length % type.BlockSize() != 0 || destination.Length != type.Bytes(source.Length))
            throw new ArgumentException($"{source.Length} elements are {type.Bytes(source.Length)} bytes of whole {type} blocks; the destination has {destination.Length}");
        int size = type.BlockBytes(), block = type.BlockSize();
        for (int i = 0; i < source.Length; i += block)
        {
            Span<byte> to = destination.Slice(i / block * size, size);
            switch (type)
            {
                case DType.F32:
                    BinaryPrimitives.WriteSingleLittleEndian(to, source[i]);
                    break;
                case DType.F16:
                    BinaryPrimitives.WriteHalfLittleEndian(to, (Half)source[i]);
                    break;
                case DType.BF16:
                    BinaryPrimitives.WriteUInt16LittleEndian(to, Dequantize.ToBFloat16(source[i]));
                    break;
                case DType.Q8_0:
                    WriteQ8_0(source.Slice(i, BlockSize), to, i);
                    break;
                case DType.Q4_0:
                    WriteQ4_0(source.Slice(i, BlockSize), to, i);
                    break;
                default:
                    throw new NotSupportedException($"{type} cannot be written from floats");
            }
        }
    }

    /// <summary><paramref name="source"/> as a tensor of its own, stored as <paramref name="type"/>. Throws as <see cref="FromFloats"/>, naming the tensor.</summary>
    public static Tensor ToTensor(string name, DType type, Shape shape, ReadOnlySpan<float> source)
    {
        if (source.Length != shape.Elements || shape.Columns % type.BlockSize() != 0)
            throw new ArgumentException($"{name}: {source.Length} elements cannot be stored as {type} {shape}");
        ArrayStorage storage = new(checked((int)type.Bytes(source.Length)));
        try
        {
            FromFloats(type, source, storage.Writable);
        }
        catch (OverflowException e)
        {
            throw new OverflowException($"{name}: {e.Message}", e);
        }
        return new(name, type, shape, storage);
    }

    /// <summary>One Q8_0 block (34 bytes) to 32 floats: d·q.</summary>
    public static void ReadQ8_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (int i = 0; i < BlockSize; i++)
            destination[i] = d * (sbyte)block[2 + i];
    }

    /// <summary>One Q4_0 block (18 bytes) to 32 floats: d·(q − 8); low nibbles are elements 0..15.</summary>
    public static void ReadQ4_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (int i = 0; i < 16; i++)
        {
            destination[i] = d * ((block[2 + i] & 15) - 8);
            destination[16 + i] = d * ((block[2 + i] >> 4) - 8);
        }
    }

    private static void WriteQ8_0(ReadOnlySpan<float> x, Span<byte> block, int first)
    {
        float largest = MathF.Abs(Largest(x, first));
        float d = largest / 127, inverse = Inverse(d);
        WriteScale(block, d, largest, first);
        for (int i = 0; i < BlockSize; i++)
            block[2 + i] = (byte)(sbyte)MathF.Round(x[i] * inverse, MidpointRounding.AwayFromZero);
    }

    private static void WriteQ4_0(ReadOnlySpan<float> x, Span<byte> block, int first)
    {
        float largest = Largest(x, first);
        float d = largest / -8, inverse = Inverse(d);
        WriteScale(block, d, largest, first);
        for (int i = 0; i < 16; i++)
            block[2 + i] = (byte)(Nibble(x[i], inverse) | Nibble(x[16 + i], inverse) << 4);
    }

    // ggml's product and sum are one fused operation: the product must not be rounded before 8.5 is added.
    private static int Nibble(float x, float inverse) => Math.Min(15, (int)(float)((double)x * inverse + 8.5));

    /// <summary>The element of the largest magnitude, with its sign; the first of equals.</summary>
    private static float Largest(ReadOnlySpan<float> x, int first)
    {
        float largest = 0;
        for (int i = 0; i < x.Length; i++)
        {
            if (!float.IsFinite(x[i]))
                throw new OverflowException($"element {first + i} is {x[i]}; only finite numbers can be quantised");
            if (MathF.Abs(x[i]) > MathF.Abs(largest))
                largest = x[i];
        }
        return largest;
    }

    // 1/d of the smallest subnormals overflows; such a block is stored as zeros.
    private static float Inverse(float d) => d == 0 || float.IsInfinity(1 / d) ? 0 : 1 / d;

    private static void WriteScale(Span<byte> block, float d, float largest, int first)
    {
        Half scale = (Half)d;
        if (Half.IsInfinity(scale))
            throw new OverflowException($"the block of element {first} holds {largest}; its scale {d} exceeds F16's largest, 65504");
        BinaryPrimitives.WriteHalfLittleEndian(block, scale);
    }
}
