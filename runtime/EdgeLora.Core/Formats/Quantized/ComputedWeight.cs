namespace EdgeLora.Core;

/// <summary>Weights that are computed, row by row on several threads, when they are taken.</summary>
internal static class ComputedWeight
{
    /// <summary>Fills one row of numbers.</summary>
    public delegate void RowReader(int row, Span<float> destination);

    /// <summary>An F32 tensor whose last axis is a row.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="read">Gives a row; called from several threads.</param>
    public static Tensor Of(string name, Shape shape, RowReader read) => Of(name, DType.F32, shape, storage =>
    {
        int width = shape.Columns;
        Parallel.For(0, checked((int)(shape.Elements / Math.Max(1, width))), row =>
            read(row, System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(storage.Writable).Slice(row * width, width)));
    });

    /// <summary>A tensor whose bytes <paramref name="fill"/> writes.</summary>
    public static Tensor Of(string name, DType type, Shape shape, Action<ArrayStorage> fill)
    {
        long bytes = type.Bytes(shape.Elements);
        return new(name, type, shape, new ComputedStorage(bytes, () =>
        {
            ArrayStorage storage = new(checked((int)bytes));
            fill(storage);
            return new(name, type, shape, storage);
        }));
    }
}
