namespace EdgeLora.Native;

/// <summary>Where C wants results.</summary>
internal static unsafe class Out
{
    /// <summary>Throws <see cref="ArgumentException"/> for NULL.</summary>
    public static void Check(void* result, string name)
    {
        if (result is null)
            throw new ArgumentException($"{name}: expected where to write, found NULL");
    }
}
