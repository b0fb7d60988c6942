using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 32 elements are one block, little-endian.
//   Q8_0: f16 d, int8 q[32];  x = d·q
//   Q8_1: f16 d, f16 sum, int8 q[32];  x = d·q
//   Q4_0: f16 d, u8 q[16];    x[i] = d·((q[i] & 15) − 8), x[16 + i] = d·((q[i] >> 4) − 8)
// Writing follows ggml's quantize_row_*_ref, byte for byte.

/// <summary>Writing floats as any type that is written; reading and writing the block types Q8_0 and Q4_0, and reading Q8_1, scalar.</summary>
public static class QuantBlocks
{
    /// <summary>Elements in a block.</summary>
    public const int BlockSize = 32;

    private delegate void BlockWriter(ReadOnlySpan<float> x, Span<byte> block);

    /// <summary>True for types that <see cref="FromFloats"/> writes: F32, F16, BF16 and the quantised types of GGUF without IQ1, IQ2, IQ3, Q8_1 and Q8_K.</summary>
    public static bool CanWrite(DType type) => type is DType.F32 or DType.F16 or DType.BF16 || WriterOf(type) is not null;

    /// <summary>
    /// Stores <paramref name="source"/> as <paramref name="type"/>: F32, F16 and BF16 (nearest even; F16 overflows to infinity), the quantised types in whole blocks: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q1_0,
    /// TQ1_0, TQ2_0, MXFP4 and NVFP4 are ggml's bytes, Q2_K to Q6_K, IQ4_NL and IQ4_XS its search with an importance of 1. The same on every processor.
    /// Throws <see cref="OverflowException"/> when a block is not finite or its scale exceeds F16, <see cref="ArgumentException"/> when sizes do not fit, <see cref="NotSupportedException"/> for another type.
    /// </summary>
    public static void FromFloats(DType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        if (source.Length % type.BlockSize() != 0 || destination.Length != type.Bytes(source.Length))
            throw new ArgumentException($"{source.Length} elements are {type.Bytes(source.Length)} bytes of whole {type} blocks; the destination has {destination.Length}");
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                return;
            case DType.F16:
                HalfPrecision.ToHalf(source, destination);
                return;
            case DType.BF16:
                HalfPrecision.ToBFloat16(source, destination);
                return;
        }
        BlockWriter write = WriterOf(type) ?? throw new NotSupportedException($"{type} cannot be written from floats");
        int size = type.BlockBytes(), block = type.BlockSize();
        for (int i = 0; i < source.Length; i += block)
        {
            ReadOnlySpan<float> x = source.Slice(i, block);
            for (int k = 0; k < x.Length; k++)
                if (!float.IsFinite(x[k]))
                    throw new OverflowException($"element {i + k} is {x[k]}; only finite numbers can be quantised");
            try
            {
                write(x, destination.Slice(i / block * size, size));
            }
            catch (OverflowException e)
            {
                throw new OverflowException($"the block of element {i} holds {ScaleSearch.Extreme(x)}; {e.Message}", e);
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

    /// <summary>One Q8_1 block (36 bytes) to 32 floats: d·q; the sum that follows d is not used.</summary>
    public static void ReadQ8_1(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (int i = 0; i < BlockSize; i++)
            destination[i] = d * (sbyte)block[4 + i];
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

    /// <summary>Writes a block's factor as F16 and gives what was stored. Throws <see cref="OverflowException"/> when it is past F16's largest.</summary>
    internal static float WriteScale(Span<byte> to, float d)
    {
        Half scale = (Half)d;
        if (!Half.IsFinite(scale))
            throw new OverflowException($"its scale {d} exceeds F16's largest, 65504");
        BinaryPrimitives.WriteHalfLittleEndian(to, scale);
        return (float)scale;
    }

    /// <summary>1/d, or 0 for 0 and for the smallest subnormals, whose 1/d overflows: such a block is stored as zeros.</summary>
    internal static float Inverse(float d) => d == 0 || float.IsInfinity(1 / d) ? 0 : 1 / d;

    // The reference rounds the product, then adds the half: a build that fuses the two gives the other level of a tie.
    internal static int LevelOf(float x, float inverse, float half) => (int)(x * inverse + half);

    private static BlockWriter? WriterOf(DType type) => type switch
    {
        DType.Q8_0 => WriteQ8_0,
        DType.Q4_0 => WriteQ4_0,
        DType.Q4_1 => NibbleBlocks.WriteQ4_1,
        DType.Q5_0 => NibbleBlocks.WriteQ5_0,
        DType.Q5_1 => NibbleBlocks.WriteQ5_1,
        DType.Q2_K => KBlockWriter.WriteQ2,
        DType.Q3_K => KBlockWriter.WriteQ3,
        DType.Q4_K => KBlockWriter.WriteQ4,
        DType.Q5_K => KBlockWriter.WriteQ5,
        DType.Q6_K => KBlockWriter.WriteQ6,
        DType.IQ4_NL => TableBlockWriter.WriteIQ4_NL,
        DType.IQ4_XS => TableBlockWriter.WriteIQ4_XS,
        DType.MXFP4 => TableBlockWriter.WriteMxfp4,
        DType.NVFP4 => TableBlockWriter.WriteNvfp4,
        DType.Q1_0 => TernaryBlocks.WriteQ1_0,
        DType.TQ1_0 => TernaryBlocks.WriteTQ1_0,
        DType.TQ2_0 => TernaryBlocks.WriteTQ2_0,
        _ => null,
    };

    private static void WriteQ8_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float d = MathF.Abs(ScaleSearch.Extreme(x)) / 127, inverse = Inverse(d);
        WriteScale(block, d);
        for (int i = 0; i < BlockSize; i++)
            block[2 + i] = (byte)(sbyte)MathF.Round(x[i] * inverse, MidpointRounding.AwayFromZero);
    }

    private static void WriteQ4_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float d = ScaleSearch.Extreme(x) / -8, inverse = Inverse(d);
        WriteScale(block, d);
        for (int i = 0; i < 16; i++)
            block[2 + i] = (byte)(Math.Min(15, LevelOf(x[i], inverse, 8.5f)) | Math.Min(15, LevelOf(x[16 + i], inverse, 8.5f)) << 4);
    }
}
