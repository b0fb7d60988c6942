using System.Buffers.Binary;
using System.Numerics;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 256 elements are one block, little-endian, 8 groups of 32; points p of a grid (LatticeGrids) are 8 elements, of IQ3 4.
//   IQ2_XXS: f16 d, u32 w[8][2];                                      w[0]: four 8-bit points; w[1]: four times 7 signs, then s of 4 bits
//   IQ2_XS:  f16 d, u16 q[32], u8 s[8];                               q: a point of 9 bits, 7 signs; s: 4 bits for each half of a group
//   IQ2_S:   f16 d, u8 q[32], u8 signs[32], u8 h[8], u8 s[8];         points of 10 bits: 8 of q, 2 of h
//   IQ3_XXS: f16 d, u8 q[64], u32 w[8];                               w as IQ2_XXS's w[1]
//   IQ3_S:   f16 d, u8 q[64], u8 h[8], u8 signs[32], u8 s[4];         points of 9 bits: 8 of q, 1 of h; s: 4 bits a group
//   IQ1_S:   f16 d, u8 q[32], u16 h[8];                               points of 11 bits: 8 of q, 3 of h; h also has s of 3 bits and the sign of the shift
//   IQ1_M:   u8 q[32], u8 h[16], u16 s[4];                            points as IQ1_S's; two points share 4 + 4 bits of h; s has four scales of 3 bits, and d's nibbles on top
// IQ2: x = ±d·(s + 1/2)/4·p; IQ3_XXS: ±d·(s + 1/2)/2·p; IQ3_S: ±d·(2s + 1)·p; IQ1: d·(2s + 1)·(p ± 1/8). Products in ggml's order.
// Of eight signs, seven are stored: their number is even.

/// <summary>The GGUF block types of points of a lattice, the IQ family of one to three bits: reading, scalar.</summary>
internal static class LatticeBlocks
{
    private const float Shift = 0.125f;

    /// <summary>One IQ2_XXS block (66 bytes) to 256 floats.</summary>
    public static void ReadIQ2_XXS(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 32; p++)
        {
            ReadOnlySpan<byte> group = block.Slice(2 + p / 4 * 8, 8);
            uint word = BinaryPrimitives.ReadUInt32LittleEndian(group[4..]);
            Signed(LatticeGrids.IQ2_XXS, group[p % 4], Even(word >> p % 4 * 7), d * (0.5f + (word >> 28)) * 0.25f, destination.Slice(p * 8, 8));
        }
    }

    /// <summary>One IQ2_XS block (74 bytes) to 256 floats.</summary>
    public static void ReadIQ2_XS(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 32; p++)
        {
            int q = BinaryPrimitives.ReadUInt16LittleEndian(block[(2 + p * 2)..]), s = block[66 + p / 4] >> p % 4 / 2 * 4 & 15;
            Signed(LatticeGrids.IQ2_XS, q & 511, Even((uint)q >> 9), d * (0.5f + s) * 0.25f, destination.Slice(p * 8, 8));
        }
    }

    /// <summary>One IQ2_S block (82 bytes) to 256 floats.</summary>
    public static void ReadIQ2_S(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 32; p++)
        {
            int point = block[2 + p] | (block[66 + p / 4] >> p % 4 * 2 & 3) << 8, s = block[74 + p / 4] >> p % 4 / 2 * 4 & 15;
            Signed(LatticeGrids.IQ2_S, point, block[34 + p], d * (0.5f + s) * 0.25f, destination.Slice(p * 8, 8));
        }
    }

    /// <summary>One IQ3_XXS block (98 bytes) to 256 floats.</summary>
    public static void ReadIQ3_XXS(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 64; p++)
        {
            uint word = BinaryPrimitives.ReadUInt32LittleEndian(block[(66 + p / 8 * 4)..]);
            Signed(LatticeGrids.IQ3_XXS, block[2 + p], Even(word >> p % 8 / 2 * 7) >> p % 2 * 4, d * (0.5f + (word >> 28)) * 0.5f, destination.Slice(p * 4, 4));
        }
    }

    /// <summary>One IQ3_S block (110 bytes) to 256 floats.</summary>
    public static void ReadIQ3_S(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 64; p++)
        {
            int group = p / 8, point = block[2 + p] | (block[66 + group] >> p % 8 & 1) << 8, s = block[106 + group / 2] >> group % 2 * 4 & 15;
            Signed(LatticeGrids.IQ3_S, point, block[74 + p / 2] >> p % 2 * 4, d * (1 + 2 * s), destination.Slice(p * 4, 4));
        }
    }

    /// <summary>One IQ1_S block (50 bytes) to 256 floats.</summary>
    public static void ReadIQ1_S(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = Half(block);
        for (int p = 0; p < 32; p++)
        {
            int h = BinaryPrimitives.ReadUInt16LittleEndian(block[(34 + p / 4 * 2)..]);
            Shifted(block[2 + p] | (h >> p % 4 * 3 & 7) << 8, (h & 0x8000) != 0 ? -Shift : Shift, d * (2 * (h >> 12 & 7) + 1), destination.Slice(p * 8, 8));
        }
    }

    /// <summary>One IQ1_M block (56 bytes) to 256 floats.</summary>
    public static void ReadIQ1_M(ReadOnlySpan<byte> block, Span<float> destination)
    {
        ushort bits = (ushort)(block[49] >> 4 | block[51] & 0xF0 | (block[53] & 0xF0) << 4 | (block[55] & 0xF0) << 8);
        float d = (float)BitConverter.UInt16BitsToHalf(bits);
        for (int p = 0; p < 32; p++)
        {
            int h = block[32 + p / 2] >> p % 2 * 4, s = BinaryPrimitives.ReadUInt16LittleEndian(block[(48 + p / 8 * 2)..]) >> p % 8 / 2 * 3 & 7;
            Shifted(block[p] | (h & 7) << 8, (h & 8) != 0 ? -Shift : Shift, d * (2 * s + 1), destination.Slice(p * 8, 8));
        }
    }

    private static void Signed(sbyte[] grid, int point, int signs, float scale, Span<float> destination)
    {
        ReadOnlySpan<sbyte> values = grid.AsSpan(point * destination.Length, destination.Length);
        for (int i = 0; i < values.Length; i++)
            destination[i] = scale * values[i] * ((signs >> i & 1) != 0 ? -1f : 1f);
    }

    private static void Shifted(int point, float shift, float scale, Span<float> destination)
    {
        ReadOnlySpan<sbyte> values = LatticeGrids.IQ1.AsSpan(point * 8, 8);
        for (int i = 0; i < values.Length; i++)
            destination[i] = scale * (values[i] + shift);
    }

    private static int Even(uint word)
    {
        int seven = (int)(word & 127);
        return seven | (BitOperations.PopCount((uint)seven) & 1) << 7;
    }

    private static float Half(ReadOnlySpan<byte> block) => (float)BinaryPrimitives.ReadHalfLittleEndian(block);
}
