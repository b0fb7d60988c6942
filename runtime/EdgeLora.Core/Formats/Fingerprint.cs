using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// Identity of a set of tensors: XxHash128 over, for each tensor in ordinal order of names, the name (UTF-8, its length first), the type's name, the
/// rank, the dimensions and the bytes; numbers are int64 little-endian. The container, the order and the metadata do not count, so one base has one
/// fingerprint in safetensors with or without shards. It tells bases apart; it is no proof against forgery.
/// </summary>
public static class Fingerprint
{
    /// <summary>32 lower-case hexadecimal digits. Reads every byte once, in constant memory: cache the result.</summary>
    public static string Of(TensorFile file) => Of(file.Tensors.Values);

    /// <summary>32 lower-case hexadecimal digits of <paramref name="tensors"/>, in any order.</summary>
    public static string Of(IEnumerable<Tensor> tensors)
    {
        XxHash128 hash = new();
        Span<byte> number = stackalloc byte[8];
        foreach (Tensor tensor in tensors.OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            Append(hash, number, tensor.Name);
            Append(hash, number, tensor.Type.ToString());
            Append(hash, number, tensor.Shape.Rank);
            foreach (long d in tensor.Shape.Dimensions)
                Append(hash, number, d);
            hash.Append(tensor.Bytes);
        }
        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }

    /// <summary>True for 32 lower-case hexadecimal digits.</summary>
    public static bool IsValid(string text) => text.Length == 32 && !text.AsSpan().ContainsAnyExcept("0123456789abcdef");

    private static void Append(XxHash128 hash, Span<byte> number, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Append(hash, number, bytes.Length);
        hash.Append(bytes);
    }

    private static void Append(XxHash128 hash, Span<byte> number, long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(number, value);
        hash.Append(number);
    }
}
