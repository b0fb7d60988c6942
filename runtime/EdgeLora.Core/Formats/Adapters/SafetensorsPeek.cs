using System.Buffers.Binary;

namespace EdgeLora.Core;

/// <summary>A look at the first bytes of a .safetensors file: which names its header holds, whether or not the file is sound.</summary>
internal static class SafetensorsPeek
{
    private const int Most = 1 << 22;

    /// <summary>Whether <paramref name="path"/> is a file with such an extension whose header (its first 4 MiB) satisfies <paramref name="holds"/>.</summary>
    public static bool Header(string path, Func<byte[], bool> holds)
    {
        if (!path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) || !File.Exists(path))
            return false;
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            byte[] length = new byte[8];
            if (stream.ReadAtLeast(length, 8, throwOnEndOfStream: false) < 8)
                return false;
            byte[] header = new byte[(int)Math.Min(Most, Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(length), (ulong)Math.Max(0, stream.Length - 8)))];
            return stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) == header.Length && holds(header);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Whether a header holds this text.</summary>
    public static bool Has(byte[] header, ReadOnlySpan<byte> text) => header.AsSpan().IndexOf(text) >= 0;
}
