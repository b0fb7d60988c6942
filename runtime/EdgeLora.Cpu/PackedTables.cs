using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>What the integers and codes of packed weights stand for, where that is a table: in memory that never moves.</summary>
internal static unsafe class PackedTables
{
    private static readonly sbyte[] Entries = GC.AllocateArray<sbyte>(16 * Enum.GetValues<DType>().Length, pinned: true);
    private static readonly float[] Mxfp4 = Codes(DType.MXFP4), Nvfp4 = Codes(DType.NVFP4);

    static PackedTables()
    {
        // Shorter tables are there several times, so that bits above an index do not matter.
        foreach (DType type in Enum.GetValues<DType>())
            if (QuantFields.Table(type) is { Length: > 0 } table)
                for (int i = 0; i < 16; i++)
                    Entries[16 * (int)type + i] = table[i % table.Length];
    }

    /// <summary>The 16 entries of a type that has a table, else zeros.</summary>
    public static sbyte* Of(DType type) => (sbyte*)Unsafe.AsPointer(ref Entries[16 * (int)type]);

    /// <summary>The 256 factors of a type that has codes.</summary>
    public static float* CodesOf(DType type) => (float*)Unsafe.AsPointer(ref (type == DType.MXFP4 ? Mxfp4 : Nvfp4)[0]);

    private static float[] Codes(DType type)
    {
        float[] values = GC.AllocateArray<float>(256, pinned: true);
        for (int i = 0; i < values.Length; i++)
            values[i] = QuantFields.CodeValue(type, (byte)i);
        return values;
    }
}
