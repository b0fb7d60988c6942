using System.Globalization;

namespace EdgeLora.Core;

/// <summary>The file name of one piece of a split model: <c>&lt;stem&gt;-00002-of-00003.gguf</c>.</summary>
public sealed record GgufPieceName(string Stem, int Number, int Count)
{
    private const string Extension = ".gguf";

    /// <summary>Takes a path apart, or returns null when it does not name a piece.</summary>
    public static GgufPieceName? Parse(string path)
    {
        // -00001-of-00003
        const int length = 15;
        if (!path.EndsWith(Extension, StringComparison.OrdinalIgnoreCase) || path.Length < length + Extension.Length)
            return null;
        ReadOnlySpan<char> tail = path.AsSpan(path.Length - length - Extension.Length, length);
        return tail[0] == '-' && tail.Slice(6, 4) is "-of-"
            && int.TryParse(tail.Slice(1, 5), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && int.TryParse(tail.Slice(10, 5), NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            && number >= 1 && number <= count
            ? new(path[..^(length + Extension.Length)], number, count) : null;
    }

    /// <summary>The path of piece <paramref name="number"/>, 1 the first.</summary>
    public string PathOf(int number) => string.Create(CultureInfo.InvariantCulture, $"{Stem}-{number:D5}-of-{Count:D5}{Extension}");
}
