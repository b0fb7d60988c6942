namespace EdgeLora.Training;

/// <summary>Rows of a permuted base (llama GGUF q and k) against a file's.</summary>
internal static class RowOrders
{
    /// <summary>The rows as a file has them: stored row i is file row order[i]. The same array where there is no order.</summary>
    public static float[] ToFile(float[] stored, int[]? order)
    {
        if (order is null)
            return stored;
        float[] result = new float[stored.Length];
        int width = stored.Length / order.Length;
        for (int i = 0; i < order.Length; i++)
            stored.AsSpan(i * width, width).CopyTo(result.AsSpan(order[i] * width));
        return result;
    }

    /// <summary>The other way.</summary>
    public static float[] ToDevice(float[] file, int[]? order)
    {
        if (order is null)
            return file;
        float[] result = new float[file.Length];
        int width = file.Length / order.Length;
        for (int i = 0; i < order.Length; i++)
            file.AsSpan(order[i] * width, width).CopyTo(result.AsSpan(i * width));
        return result;
    }
}
