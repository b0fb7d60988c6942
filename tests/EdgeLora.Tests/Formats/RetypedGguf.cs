using System.Buffers.Binary;

namespace EdgeLora.Tests.Formats;

/// <summary>GGUF files that say of a tensor that it is of another type than it was written as.</summary>
internal static class RetypedGguf
{
    /// <summary>Copies <paramref name="source"/> to <paramref name="path"/> with other type numbers (ggml's) for some tensors. Their places stay.</summary>
    public static void Write(string source, string path, params (string Tensor, uint Type)[] changes)
    {
        byte[] bytes = File.ReadAllBytes(source);
        // The version's low byte comes first in a little-endian file.
        bool bigEndian = bytes[4] == 0;
        foreach ((string tensor, uint type) in changes)
        {
            byte[] name = System.Text.Encoding.UTF8.GetBytes(tensor);
            int at = bytes.AsSpan().IndexOf(name) + name.Length;
            uint rank = bigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));
            Span<byte> number = bytes.AsSpan(at + 4 + (int)rank * 8, 4);
            if (bigEndian)
                BinaryPrimitives.WriteUInt32BigEndian(number, type);
            else
                BinaryPrimitives.WriteUInt32LittleEndian(number, type);
        }
        File.WriteAllBytes(path, bytes);
    }
}
