namespace EdgeLora.Cpu;

/// <summary>Arrays that are refilled for every call and allocate only while they grow.</summary>
internal static class Growing
{
    /// <summary>The next element, to be written; what it held before is undefined.</summary>
    public static ref T Append<T>(ref T[] array, ref int count)
    {
        if (count == array.Length)
            Array.Resize(ref array, count * 2);
        return ref array[count++];
    }
}
