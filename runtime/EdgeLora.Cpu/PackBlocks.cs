using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Sixteen stored rows of a type that <see cref="QuantFields"/> takes apart to one panel of a <see cref="PackedWeight"/>.</summary>
internal static unsafe class PackBlocks
{
    /// <summary>A row that is null is zeros; where <paramref name="planes"/>, groups of five bits are their low bits, then a word of the high ones. Returns whether a factor was infinite or no number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Run(DType type, PackedLayout layout, byte** rows, int inputs, byte* records, byte* data, int turns, bool planes)
    {
        int block = type.BlockSize(), bytes = type.BlockBytes(), spans = block / layout.Span, groups = layout.Span / layout.Group;
        sbyte* q = stackalloc sbyte[QuantFields.LargestBlock], scales = stackalloc sbyte[QuantFields.MostScales], minimums = stackalloc sbyte[QuantFields.MostScales];
        bool special = false;
        for (int b = 0; b < inputs / block; b++)
        {
            for (int r = 0; r < PackedWeight.Panel; r++)
            {
                byte* stored = rows[r] is null ? null : rows[r] + (long)b * bytes;
                new Span<sbyte>(q, block).Clear();
                new Span<sbyte>(scales, QuantFields.MostScales).Clear();
                new Span<sbyte>(minimums, QuantFields.MostScales).Clear();
                if (stored is not null)
                    QuantFields.Read(type, new(stored, bytes), new(q, block), new(scales, QuantFields.MostScales), new(minimums, QuantFields.MostScales));
                for (int s = 0; s < spans; s++)
                    special |= Record(type, layout, stored, scales + s * groups, minimums + s * groups, records + (long)s * turns * layout.RecordBytes, r);
                for (int g = 0; planes && g < spans * groups; g++)
                    Planes(layout.HasMinimums ? 0u : 1, q + g * layout.Group, data + (long)g * turns * layout.GroupBytes + r * layout.UnitBytes, turns * layout.StepBytes);
                for (int g = 0; !planes && g < spans * groups; g++)
                    Words(layout, q + g * layout.Group, data + (long)g * turns * layout.GroupBytes + r * layout.UnitBytes, turns * layout.StepBytes);
            }
            records += (long)spans * turns * layout.RecordBytes;
            data += (long)spans * groups * turns * layout.GroupBytes;
        }
        return special;
    }

    private static bool Record(DType type, PackedLayout layout, byte* stored, sbyte* scales, sbyte* minimums, byte* record, int lane)
    {
        const int panel = PackedWeight.Panel;
        bool special = false;
        for (int h = 0; h < layout.Halves; h++)
        {
            // m, or min, lies behind d in every type that has one.
            ushort half = stored is null ? (ushort)0 : *(ushort*)(stored + QuantFields.ScaleAt(type) + 2 * h);
            special |= PackPanel.Special(half);
            ((ushort*)record)[h * panel + lane] = half;
        }
        sbyte* codes = (sbyte*)record + 2 * panel * layout.Halves + lane;
        int groups = layout.Span / layout.Group;
        for (int g = 0; g < groups; g++)
            switch (layout.Factors)
            {
                case PackedFactors.Scales or PackedFactors.Codes:
                    codes[g * panel] = scales[g];
                    break;
                case PackedFactors.ScalesAndMinimums:
                    codes[g * panel] = scales[g];
                    codes[(groups + g) * panel] = minimums[g];
                    break;
                case PackedFactors.NibblesAndMinimums:
                    codes[g * panel] = (sbyte)((byte)scales[g] | (byte)minimums[g] << 4);
                    break;
            }
        return special;
    }

    // Four words of the low bits of 8 inputs each, and one of the high bits where IIntegerType.Plane and Next want them; those are turned over by flip.
    private static void Planes(uint flip, sbyte* q, byte* to, int step)
    {
        uint plane = 0;
        for (int s = 0; s < 4; s++, to += step)
        {
            *(uint*)to = PackPanel.Fields(*(ulong*)(q + 8 * s));
            for (int f = 0; f < 8; f++)
                plane |= (((uint)q[8 * s + f] >> 4 & 1) ^ flip) << (8 * (f / 2) + 4 + f % 2 + 2 * s) % 32;
        }
        *(uint*)to = plane;
    }

    // A group of one output: words with as many fields as fit, and the bits of the last inputs in what they have left.
    private static void Words(PackedLayout layout, sbyte* q, byte* to, int step)
    {
        int bits = layout.Bits, size = 8 * layout.UnitBytes, fields = size / bits, units = layout.Group * bits / size, spare = size - fields * bits;
        uint* words = stackalloc uint[8];
        uint mask = (1u << bits) - 1;
        for (int u = 0; u < units; u++, q += fields)
        {
            uint word = 0;
            if (bits == 4)
                word = PackPanel.Fields(*(ulong*)q);
            else
                for (int f = 0; f < fields; f++)
                    word |= ((uint)q[f] & mask) << f * bits;
            words[u] = word;
        }
        for (int n = 0; n < spare * units; n++)
            words[n / spare] |= ((uint)q[n / bits] >> n % bits & 1) << (fields * bits + n % spare);
        for (int u = 0; u < units; u++, to += step)
            if (size == 32)
                *(uint*)to = words[u];
            else if (size == 16)
                *(ushort*)to = (ushort)words[u];
            else
                *to = (byte)words[u];
    }
}
