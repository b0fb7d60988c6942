namespace EdgeLora.Models;

/// <summary>GPT-2's printable stand-ins for the 256 bytes: what prints stands for itself, the others move to U+0100 and up.</summary>
internal static class ByteAlphabet
{
    private static readonly int[] s_chars = Build();
    private static readonly short[] s_bytes = Invert(s_chars);

    public static int Char(byte value) => s_chars[value];

    /// <summary>The byte behind a stand-in, or -1.</summary>
    public static int Byte(int c) => (uint)c < (uint)s_bytes.Length ? s_bytes[c] : -1;

    /// <summary>Writes <paramref name="c"/> as UTF-8 and returns the length.</summary>
    public static int Encode(int c, Span<byte> bytes)
    {
        if (c < 0x80)
        {
            bytes[0] = (byte)c;
            return 1;
        }
        int length = CodePoints.Utf8Length(c);
        for (int i = length - 1; i > 0; i--, c >>= 6)
            bytes[i] = (byte)(0x80 | (c & 0x3F));
        bytes[0] = (byte)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | c);
        return length;
    }

    /// <summary>Replaces text by the stand-ins of its UTF-8 bytes.</summary>
    public static void Apply(NormalizedText text)
    {
        ReadOnlySpan<int> chars = text.Chars;
        List<int> result = new(chars.Length * 2), changes = new(chars.Length * 2);
        Span<byte> bytes = stackalloc byte[4];
        foreach (int c in chars)
        {
            int length = Encode(c, bytes);
            for (int i = 0; i < length; i++)
            {
                result.Add(s_chars[bytes[i]]);
                changes.Add(i == 0 ? 0 : 1);
            }
        }
        text.Transform([.. result], [.. changes]);
    }

    private static int[] Build()
    {
        int[] chars = new int[256];
        int next = 256;
        for (int b = 0; b < 256; b++)
            chars[b] = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? b : next++;
        return chars;
    }

    private static short[] Invert(int[] chars)
    {
        short[] bytes = new short[chars.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (int b = 0; b < 256; b++)
            bytes[chars[b]] = (short)b;
        return bytes;
    }
}
