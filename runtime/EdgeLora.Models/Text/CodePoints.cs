using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>Code points and their classes. Everything here works on whole code points, never on UTF-16 units.</summary>
internal static class CodePoints
{
    public static int[] Of(string text)
    {
        int count = 0;
        foreach (Rune _ in text.EnumerateRunes())
            count++;
        int[] chars = new int[count];
        int i = 0;
        foreach (Rune rune in text.EnumerateRunes())
            chars[i++] = rune.Value;
        return chars;
    }

    public static string ToString(ReadOnlySpan<int> chars)
    {
        char[]? rented = null;
        Span<char> units = chars.Length <= 128 ? stackalloc char[256] : (rented = new char[chars.Length * 2]);
        return new string(units[..Write(chars, units)]);
    }

    /// <summary>Writes UTF-16 and returns the number of units.</summary>
    public static int Write(ReadOnlySpan<int> chars, Span<char> units)
    {
        int n = 0;
        foreach (int c in chars)
        {
            if (c < 0x10000)
            {
                units[n++] = (char)c;
                continue;
            }
            units[n++] = (char)(0xD800 + ((c - 0x10000) >> 10));
            units[n++] = (char)(0xDC00 + ((c - 0x10000) & 0x3FF));
        }
        return n;
    }

    public static int Utf8Length(int c) => c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    public static UnicodeCategory Category(int c) => CharUnicodeInfo.GetUnicodeCategory(c);

    /// <summary>The Unicode property White_Space.</summary>
    public static bool IsWhiteSpace(int c) =>
        c < 0x80 ? c == ' ' || (uint)(c - 9) <= 4 : c is 0x85 or 0xA0 or 0x1680 or 0x2028 or 0x2029 or 0x202F or 0x205F or 0x3000 || (uint)(c - 0x2000) <= 10;

    /// <summary>General category P*, or ASCII punctuation (which includes symbols such as <c>$</c> and <c>+</c>).</summary>
    public static bool IsPunctuation(int c) =>
        c < 0x80 ? c > 32 && c < 127 && !char.IsAsciiLetterOrDigit((char)c) : Category(c) is >= UnicodeCategory.ConnectorPunctuation and <= UnicodeCategory.OtherPunctuation;

    /// <summary>General category N*.</summary>
    public static bool IsNumeric(int c) => Category(c) is >= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber;

    /// <summary>Alphabetic, marks, decimal digits and connectors: <c>\w</c> of Oniguruma.</summary>
    public static bool IsWord(int c)
    {
        if (c < 0x80)
            return char.IsAsciiLetterOrDigit((char)c) || c == '_';
        UnicodeCategory category = Category(c);
        return category <= UnicodeCategory.LetterNumber || category == UnicodeCategory.ConnectorPunctuation || IsCircledLetter(c);
    }

    /// <summary>The property Alphabetic, but for the marks among Other_Alphabetic.</summary>
    public static bool IsAlphabetic(int c) => Category(c) is <= UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber || IsCircledLetter(c);

    /// <summary><c>\w</c> as Rust's regular expressions take it: joiners belong to words as well.</summary>
    public static bool IsWordOrJoiner(int c) => IsWord(c) || c is 0x200C or 0x200D;

    public static bool IsMark(int c) => Category(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    public static int ToLower(int c) => c < 0x80 ? ((uint)(c - 'A') <= 25 ? c + 32 : c) : !Rune.IsValid(c) ? c : Rune.ToLowerInvariant(new Rune(c)).Value;

    public static int ToUpper(int c) => c < 0x80 ? ((uint)(c - 'a') <= 25 ? c - 32 : c) : !Rune.IsValid(c) ? c : Rune.ToUpperInvariant(new Rune(c)).Value;

    /// <summary>Simple case folding.</summary>
    public static int Fold(int c) => ToLower(ToUpper(ToLower(c)));

    /// <summary>Chinese characters as BERT means them: CJK ideographs, neither kana nor Hangul.</summary>
    public static bool IsChinese(int c) =>
        c is >= 0x4E00 and <= 0x9FFF or >= 0x3400 and <= 0x4DBF or >= 0x20000 and <= 0x2A6DF or >= 0x2A700 and <= 0x2B73F
            or >= 0x2B740 and <= 0x2B81F or >= 0x2B920 and <= 0x2CEAF or >= 0xF900 and <= 0xFAFF or >= 0x2F800 and <= 0x2FA1F;

    // Other_Alphabetic outside of the marks.
    private static bool IsCircledLetter(int c) => c is >= 0x24B6 and <= 0x24E9 or >= 0x1F130 and <= 0x1F149 or >= 0x1F150 and <= 0x1F169 or >= 0x1F170 and <= 0x1F189;
}
