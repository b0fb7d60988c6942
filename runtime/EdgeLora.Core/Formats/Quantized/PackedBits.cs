using System.Runtime.InteropServices;

namespace EdgeLora.Core;

/// <summary>Numbers of a few bits in 32-bit words, lowest first: a stream of bits whose numbers may cross from one word into the next.</summary>
internal static class PackedBits
{
    /// <summary>A tensor's words.</summary>
    public static ReadOnlySpan<uint> Words(Tensor tensor) => MemoryMarshal.Cast<byte, uint>(tensor.Bytes);

    /// <summary>Number <paramref name="index"/> of the stream whose words lie <paramref name="stride"/> apart from <paramref name="first"/> on.</summary>
    public static int At(ReadOnlySpan<uint> words, int first, int stride, int index, int bits)
    {
        long bit = (long)index * bits;
        int at = first + (int)(bit >> 5) * stride, shift = (int)(bit & 31);
        uint value = words[at] >> shift;
        if (shift + bits > 32)
            value |= words[at + stride] << 32 - shift;
        return (int)(value & (1u << bits) - 1);
    }

    /// <summary>Words that <paramref name="count"/> numbers take.</summary>
    public static long WordCount(long count, int bits) => (count * bits + 31) / 32;
}
