using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace EdgeLora.Core;

/// <summary>
/// A matrix [outputs, inputs] of whole numbers in groups along the inputs: W[o, i] = scale(o, group(i)) · level[o, i]. Where groups are whole runs of 32 inputs and every scale is a half exactly, it is presented in
/// blocks that mean the same numbers bit for bit and that kernels read: Q4_0 for levels from −8 to 7, Q8_0 for levels from −128 to 127. Else it is F32.
/// </summary>
/// <param name="Name">Name of the tensor.</param>
/// <param name="Outputs">Rows.</param>
/// <param name="Inputs">Columns.</param>
/// <param name="GroupOf">Group of each input.</param>
internal sealed record IntegerWeight(string Name, int Outputs, int Inputs, int[] GroupOf)
{
    // Rows that are read together: neighbours lie together where a format packs along the inputs.
    private const int Tile = 16;

    /// <summary>Writes levels of rows [first, first + count), [count, Inputs].</summary>
    public delegate void LevelReader(int first, int count, Span<short> levels);

    /// <summary>The levels, zero points taken off.</summary>
    public required LevelReader ReadLevels { get; init; }

    /// <summary>The scale of an output's group.</summary>
    public required Func<int, int, float> Scale { get; init; }

    /// <summary>Least and greatest level that can occur.</summary>
    public required (int Low, int High) Range { get; init; }

    /// <summary>Number of groups.</summary>
    public int Groups => GroupOf.Length == 0 ? 0 : GroupOf.Max() + 1;

    /// <summary>The weight as a tensor that is computed when it is taken.</summary>
    public Tensor ToTensor()
    {
        DType type = ChooseType();
        return ComputedWeight.Of(Name, type, new Shape(Outputs, Inputs), storage => Parallel.For(0, (Outputs + Tile - 1) / Tile, () => new short[Tile * Inputs], (tile, _, levels) =>
        {
            int first = tile * Tile, count = Math.Min(Tile, Outputs - first);
            ReadLevels(first, count, levels);
            int row = (int)type.Bytes(Inputs);
            for (int o = 0; o < count; o++)
                WriteRow(type, first + o, levels.AsSpan(o * Inputs, Inputs), storage.Writable.Slice((first + o) * row, row));
            return levels;
        }, _ => { }));
    }

    private DType ChooseType()
    {
        if (Inputs % 32 != 0 || Range.Low < -128 || Range.High > 127)
            return DType.F32;
        for (int i = 0; i < Inputs; i++)
            if (GroupOf[i] != GroupOf[i & ~31])
                return DType.F32;
        int groups = Groups;
        for (int o = 0; o < Outputs; o++)
            for (int g = 0; g < groups; g++)
                if (Scale(o, g) is float scale && (float)(Half)scale != scale)
                    return DType.F32;
        return Range is { Low: >= -8, High: <= 7 } ? DType.Q4_0 : DType.Q8_0;
    }

    private void WriteRow(DType type, int output, ReadOnlySpan<short> levels, Span<byte> row)
    {
        if (type == DType.F32)
        {
            Span<float> values = MemoryMarshal.Cast<byte, float>(row);
            for (int i = 0; i < values.Length; i++)
                values[i] = Scale(output, GroupOf[i]) * levels[i];
            return;
        }
        int size = type.BlockBytes();
        for (int i = 0; i < levels.Length; i += 32)
        {
            Span<byte> block = row.Slice(i / 32 * size, size);
            BinaryPrimitives.WriteHalfLittleEndian(block, (Half)Scale(output, GroupOf[i]));
            if (type == DType.Q8_0)
                for (int j = 0; j < 32; j++)
                    block[2 + j] = (byte)(sbyte)levels[i + j];
            else
                for (int j = 0; j < 16; j++)
                    block[2 + j] = (byte)(levels[i + j] + 8 | levels[i + 16 + j] + 8 << 4);
        }
    }
}
