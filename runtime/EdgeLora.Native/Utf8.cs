using System.Runtime.InteropServices;
using System.Text;

namespace EdgeLora.Native;

/// <summary>Texts as C has them: UTF-8, ended by a zero.</summary>
internal static unsafe class Utf8
{
    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    public static int ByteCount(string text) => Encoding.UTF8.GetByteCount(text);

    public static int Write(string text, Span<byte> destination) => Encoding.UTF8.GetBytes(text, destination);

    /// <summary>A text that must be there. Throws <see cref="ArgumentException"/> naming it.</summary>
    public static string Read(byte* text, string name) => ReadOrNull(text, name) ?? throw new ArgumentException($"{name}: expected a text, found NULL");

    /// <summary>A text, or null for NULL.</summary>
    public static string? ReadOrNull(byte* text, string name)
    {
        if (text is null)
            return null;
        try
        {
            return s_strict.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
        }
        catch (DecoderFallbackException e)
        {
            throw new ArgumentException($"{name}: is not UTF-8", e);
        }
    }

    /// <summary>Bytes up to <paramref name="most"/> that end with a whole character.</summary>
    public static int Whole(ReadOnlySpan<byte> text, int most)
    {
        if (most >= text.Length)
            return text.Length;
        while (most > 0 && (text[most] & 0xC0) == 0x80)
            most--;
        return most;
    }

    /// <summary>Gives a whole text: its length always, its bytes and a zero where they fit. Throws where they do not, unless <paramref name="buffer"/> is null, which only asks for the length.</summary>
    public static void Give(string text, byte* buffer, nuint capacity, nuint* length)
    {
        int bytes = ByteCount(text);
        if (length is not null)
            *length = (nuint)bytes;
        if (buffer is null)
            return;
        if (capacity <= (nuint)bytes)
            throw new NativeException(Status.Buffer, $"buffer: expected {bytes + 1} bytes, found {capacity}");
        Write(text, new Span<byte>(buffer, bytes));
        buffer[bytes] = 0;
    }
}
