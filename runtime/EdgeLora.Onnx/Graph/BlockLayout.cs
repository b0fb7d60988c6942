using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Onnx;

// MatMulNBits (onnxruntime/docs/ContribOperators.md): B [N, blocks, block·bits/8] unsigned, element i of a block in bits i·bits.. of its bytes, low first;
// x = scale·(q − zero), zero 8 for 4 bits and 128 for 8 where none is given. Values are those of GGUF's blocks; only their order and bias differ.

/// <summary>Q8_0 and Q4_0 weights in the layout of MatMulNBits: blocks in one tensor, scales in another. In memory; nothing is rounded.</summary>
/// <param name="Bits">8 or 4.</param>
/// <param name="Blocks">[N, K/32, bytes of a block].</param>
/// <param name="Scales">[N·K/32] F32, or F16 as stored.</param>
internal sealed record BlockLayout(int Bits, GraphTensor Blocks, GraphTensor Scales)
{
    /// <summary>The blocks as a table [N, K·bits/8].</summary>
    public GraphTensor Table { get; } = Blocks.View(Blocks.Shape[0], Blocks.Shape[1] * Blocks.Shape[2]);

    /// <summary>The scales as a table [N, K/32].</summary>
    public GraphTensor TableScales { get; } = Scales.View(Blocks.Shape[0], Blocks.Shape[1]);

    /// <summary>Whether weights of <paramref name="type"/> are laid out so: others are widened.</summary>
    public static bool Takes(DType type) => type is DType.Q8_0 or DType.Q4_0;

    /// <summary>Lays out a weight [N, K].</summary>
    public static BlockLayout Of(HostTensor weight, OnnxType scaleType)
    {
        int bits = weight.Type == DType.Q8_0 ? 8 : 4, bytes = QuantBlocks.BlockSize * bits / 8, stored = weight.Type.BlockBytes();
        long rows = weight.Shape[0], blocksOfRow = weight.Columns / QuantBlocks.BlockSize;
        ReadOnlySpan<byte> from = weight.Bytes;
        int count = from.Length / stored;
        ArrayStorage storage = new(checked(count * bytes)), scales = new(checked(count * (scaleType == OnnxType.Float ? 4 : 2)));
        Span<byte> to = storage.Writable, scaleBytes = scales.Writable;
        for (int b = 0; b < count; b++)
        {
            ReadOnlySpan<byte> block = from.Slice(b * stored, stored);
            if (scaleType == OnnxType.Float)
                MemoryMarshal.Cast<byte, float>(scaleBytes)[b] = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
            else
                block[..2].CopyTo(scaleBytes[(b * 2)..]);
            if (bits == 8)
                Bytes(block[2..], to.Slice(b * bytes, bytes));
            else
                Nibbles(block[2..], to.Slice(b * bytes, bytes));
        }
        return new(bits, GraphTensor.Of(storage, OnnxType.UInt8, rows, blocksOfRow, bytes), GraphTensor.Of(scales, scaleType, rows * blocksOfRow));
    }

    private static void Bytes(ReadOnlySpan<byte> signed, Span<byte> to)
    {
        for (int i = 0; i < to.Length; i++)
            to[i] = (byte)(signed[i] ^ 0x80);
    }

    // GGUF's byte i holds elements i and i + 16; here it holds 2i and 2i + 1.
    private static void Nibbles(ReadOnlySpan<byte> halves, Span<byte> to)
    {
        for (int i = 0; i < 8; i++)
        {
            to[i] = (byte)(halves[2 * i] & 15 | (halves[2 * i + 1] & 15) << 4);
            to[8 + i] = (byte)(halves[2 * i] >> 4 | halves[2 * i + 1] & 0xF0);
        }
    }
}
