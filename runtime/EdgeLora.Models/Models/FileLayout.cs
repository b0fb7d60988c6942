using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>How a tensor on the device lies against the same tensor in a checkpoint or an adapter's file; they differ where a GGUF base has q and k permuted or GPT-2's Conv1D turned.</summary>
/// <param name="RowOrder">Row i on the device is row RowOrder[i] of the file; null: the same.</param>
/// <param name="Turned">[O, I] on the device, [I, O] in the file.</param>
public sealed record FileLayout(int[]? RowOrder = null, bool Turned = false)
{
    /// <summary>No difference.</summary>
    public static FileLayout Same { get; } = new();

    /// <summary>The shape in the file of a tensor of <paramref name="stored"/> on the device.</summary>
    public Shape ToFile(Shape stored) => Turned ? new(stored[1], stored[0]) : stored;

    /// <summary>The values as a file has them. The same array where nothing differs.</summary>
    /// <param name="values">On the device.</param>
    /// <param name="stored">Their shape there.</param>
    public float[] ToFile(float[] values, Shape stored)
    {
        if (Turned)
            return Turn(values, (int)stored[0], (int)stored[1]);
        return RowOrder is null ? values : Reorder(values, i => i, i => RowOrder[i]);
    }

    /// <summary>The values as the device has them. The same array where nothing differs.</summary>
    /// <param name="values">In the file.</param>
    /// <param name="stored">Their shape on the device.</param>
    public float[] ToDevice(float[] values, Shape stored)
    {
        if (Turned)
            return Turn(values, (int)stored[1], (int)stored[0]);
        return RowOrder is null ? values : Reorder(values, i => RowOrder[i], i => i);
    }

    private float[] Reorder(float[] values, Func<int, int> from, Func<int, int> to)
    {
        float[] result = new float[values.Length];
        int width = values.Length / RowOrder!.Length;
        for (int i = 0; i < RowOrder.Length; i++)
            values.AsSpan(from(i) * width, width).CopyTo(result.AsSpan(to(i) * width));
        return result;
    }

    private static float[] Turn(float[] values, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                result[c * rows + r] = values[r * columns + c];
        return result;
    }
}
