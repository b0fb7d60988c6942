using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>Python's case methods: Unicode's full case mappings, where .NET maps one character to one.</summary>
internal static class PyCase
{
    // Characters whose upper case is longer, or that .NET's invariant mapping leaves alone (Unicode's SpecialCasing.txt; the two last are simple mappings).
    private const string UpperTable =
        "\u00DF\u0053\u0053 \u0149\u02BC\u004E \u01F0\u004A\u030C \u0390\u0399\u0308\u0301 \u03B0\u03A5\u0308\u0301 \u0587\u0535\u0552 \u1E96\u0048\u0331 \u1E97\u0054\u0308 " +
        "\u1E98\u0057\u030A \u1E99\u0059\u030A \u1E9A\u0041\u02BE \u1F50\u03A5\u0313 \u1F52\u03A5\u0313\u0300 \u1F54\u03A5\u0313\u0301 \u1F56\u03A5\u0313\u0342 \u1F80\u1F08\u0399 " +
        "\u1F81\u1F09\u0399 \u1F82\u1F0A\u0399 \u1F83\u1F0B\u0399 \u1F84\u1F0C\u0399 \u1F85\u1F0D\u0399 \u1F86\u1F0E\u0399 \u1F87\u1F0F\u0399 \u1F88\u1F08\u0399 " +
        "\u1F89\u1F09\u0399 \u1F8A\u1F0A\u0399 \u1F8B\u1F0B\u0399 \u1F8C\u1F0C\u0399 \u1F8D\u1F0D\u0399 \u1F8E\u1F0E\u0399 \u1F8F\u1F0F\u0399 \u1F90\u1F28\u0399 " +
        "\u1F91\u1F29\u0399 \u1F92\u1F2A\u0399 \u1F93\u1F2B\u0399 \u1F94\u1F2C\u0399 \u1F95\u1F2D\u0399 \u1F96\u1F2E\u0399 \u1F97\u1F2F\u0399 \u1F98\u1F28\u0399 " +
        "\u1F99\u1F29\u0399 \u1F9A\u1F2A\u0399 \u1F9B\u1F2B\u0399 \u1F9C\u1F2C\u0399 \u1F9D\u1F2D\u0399 \u1F9E\u1F2E\u0399 \u1F9F\u1F2F\u0399 \u1FA0\u1F68\u0399 " +
        "\u1FA1\u1F69\u0399 \u1FA2\u1F6A\u0399 \u1FA3\u1F6B\u0399 \u1FA4\u1F6C\u0399 \u1FA5\u1F6D\u0399 \u1FA6\u1F6E\u0399 \u1FA7\u1F6F\u0399 \u1FA8\u1F68\u0399 " +
        "\u1FA9\u1F69\u0399 \u1FAA\u1F6A\u0399 \u1FAB\u1F6B\u0399 \u1FAC\u1F6C\u0399 \u1FAD\u1F6D\u0399 \u1FAE\u1F6E\u0399 \u1FAF\u1F6F\u0399 \u1FB2\u1FBA\u0399 " +
        "\u1FB3\u0391\u0399 \u1FB4\u0386\u0399 \u1FB6\u0391\u0342 \u1FB7\u0391\u0342\u0399 \u1FBC\u0391\u0399 \u1FC2\u1FCA\u0399 \u1FC3\u0397\u0399 \u1FC4\u0389\u0399 " +
        "\u1FC6\u0397\u0342 \u1FC7\u0397\u0342\u0399 \u1FCC\u0397\u0399 \u1FD2\u0399\u0308\u0300 \u1FD3\u0399\u0308\u0301 \u1FD6\u0399\u0342 \u1FD7\u0399\u0308\u0342 \u1FE2\u03A5\u0308\u0300 " +
        "\u1FE3\u03A5\u0308\u0301 \u1FE4\u03A1\u0313 \u1FE6\u03A5\u0342 \u1FE7\u03A5\u0308\u0342 \u1FF2\u1FFA\u0399 \u1FF3\u03A9\u0399 \u1FF4\u038F\u0399 \u1FF6\u03A9\u0342 " +
        "\u1FF7\u03A9\u0342\u0399 \u1FFC\u03A9\u0399 \uFB00\u0046\u0046 \uFB01\u0046\u0049 \uFB02\u0046\u004C \uFB03\u0046\u0046\u0049 \uFB04\u0046\u0046\u004C \uFB05\u0053\u0054 " +
        "\uFB06\u0053\u0054 \uFB13\u0544\u0546 \uFB14\u0544\u0535 \uFB15\u0544\u053B \uFB16\u054E\u0546 \uFB17\u0544\u053D \u0131\u0049 \u017F\u0053";

    // Characters whose title case is not their upper case.
    private const string TitleTable =
        "\u00DF\u0053\u0073 \u01C4\u01C5 \u01C5\u01C5 \u01C6\u01C5 \u01C7\u01C8 \u01C8\u01C8 \u01C9\u01C8 \u01CA\u01CB " +
        "\u01CB\u01CB \u01CC\u01CB \u01F1\u01F2 \u01F2\u01F2 \u01F3\u01F2 \u0587\u0535\u0582 \u1F80\u1F88 \u1F81\u1F89 " +
        "\u1F82\u1F8A \u1F83\u1F8B \u1F84\u1F8C \u1F85\u1F8D \u1F86\u1F8E \u1F87\u1F8F \u1F88\u1F88 \u1F89\u1F89 " +
        "\u1F8A\u1F8A \u1F8B\u1F8B \u1F8C\u1F8C \u1F8D\u1F8D \u1F8E\u1F8E \u1F8F\u1F8F \u1F90\u1F98 \u1F91\u1F99 " +
        "\u1F92\u1F9A \u1F93\u1F9B \u1F94\u1F9C \u1F95\u1F9D \u1F96\u1F9E \u1F97\u1F9F \u1F98\u1F98 \u1F99\u1F99 " +
        "\u1F9A\u1F9A \u1F9B\u1F9B \u1F9C\u1F9C \u1F9D\u1F9D \u1F9E\u1F9E \u1F9F\u1F9F \u1FA0\u1FA8 \u1FA1\u1FA9 " +
        "\u1FA2\u1FAA \u1FA3\u1FAB \u1FA4\u1FAC \u1FA5\u1FAD \u1FA6\u1FAE \u1FA7\u1FAF \u1FA8\u1FA8 \u1FA9\u1FA9 " +
        "\u1FAA\u1FAA \u1FAB\u1FAB \u1FAC\u1FAC \u1FAD\u1FAD \u1FAE\u1FAE \u1FAF\u1FAF \u1FB2\u1FBA\u0345 \u1FB3\u1FBC " +
        "\u1FB4\u0386\u0345 \u1FB7\u0391\u0342\u0345 \u1FBC\u1FBC \u1FC2\u1FCA\u0345 \u1FC3\u1FCC \u1FC4\u0389\u0345 \u1FC7\u0397\u0342\u0345 \u1FCC\u1FCC " +
        "\u1FF2\u1FFA\u0345 \u1FF3\u1FFC \u1FF4\u038F\u0345 \u1FF7\u03A9\u0342\u0345 \u1FFC\u1FFC \uFB00\u0046\u0066 \uFB01\u0046\u0069 \uFB02\u0046\u006C " +
        "\uFB03\u0046\u0066\u0069 \uFB04\u0046\u0066\u006C \uFB05\u0053\u0074 \uFB06\u0053\u0074 \uFB13\u0544\u0576 \uFB14\u0544\u0565 \uFB15\u0544\u056B \uFB16\u054E\u0576 " +
        "\uFB17\u0544\u056D";

    private static readonly Dictionary<int, string> LongUpper = Read(UpperTable), Titles = Read(TitleTable);

    public static string Upper(string text) => Map(text, (_, rune) => Upper(rune));

    public static string Lower(string text) => Map(text, Lower);

    public static string Swap(string text) => Map(text, (at, rune) => IsUpper(rune) ? Lower(at, rune) : IsLower(rune) ? Upper(rune) : rune.ToString());

    /// <summary>str.capitalize: the first character in title case, the rest lower.</summary>
    public static string Capitalize(string text) => Map(text, (at, rune) => at.Index == 0 ? Title(rune) : Lower(at, rune));

    /// <summary>str.title: a letter after a letter is lower, any other is in title case.</summary>
    public static string Title(string text)
    {
        bool inside = false;
        return Map(text, (at, rune) =>
        {
            string mapped = inside ? Lower(at, rune) : Title(rune);
            inside = IsCased(rune);
            return mapped;
        });
    }

    /// <summary>str.isupper.</summary>
    public static bool IsAllUpper(string text) => text.EnumerateRunes().Any(IsCased) && !text.EnumerateRunes().Any(r => IsCased(r) && !IsUpper(r));

    /// <summary>str.islower.</summary>
    public static bool IsAllLower(string text) => text.EnumerateRunes().Any(IsCased) && !text.EnumerateRunes().Any(r => IsCased(r) && !IsLower(r));

    /// <summary>str.istitle.</summary>
    public static bool IsTitle(string text)
    {
        bool inside = false, any = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool lower = IsLower(rune), cased = IsCased(rune);
            if (cased && lower != inside)
                return false;
            inside = cased;
            any |= cased;
        }
        return any;
    }

    private static string Upper(Rune rune) => LongUpper.TryGetValue(rune.Value, out string? longer) ? longer : Rune.ToUpperInvariant(rune).ToString();

    private static string Title(Rune rune) =>
        Titles.TryGetValue(rune.Value, out string? title) ? title : rune.Value is >= 0x10D0 and <= 0x10FF ? rune.ToString() : Upper(rune);

    private static string Lower((string Text, int Index) at, Rune rune) => rune.Value switch
    {
        0x130 => "i\u0307",
        0x3A3 => IsFinalSigma(at.Text, at.Index) ? "\u03C2" : "\u03C3",
        _ => Rune.ToLowerInvariant(rune).ToString(),
    };

    // A sigma that ends a word: a letter before it and none after, what has no case of its own skipped.
    private static bool IsFinalSigma(string text, int index)
    {
        Rune[] before = [.. text[..index].EnumerateRunes()];
        int i = before.Length - 1;
        while (i >= 0 && IsIgnorable(before[i]))
            i--;
        if (i < 0 || !IsCased(before[i]))
            return false;
        foreach (Rune rune in text[(index + 1)..].EnumerateRunes())
            if (!IsIgnorable(rune))
                return !IsCased(rune);
        return true;
    }

    private static bool IsUpper(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.UppercaseLetter || rune.Value is >= 0x2160 and <= 0x216F or >= 0x24B6 and <= 0x24CF or >= 0x1F130 and <= 0x1F189;

    private static bool IsLower(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.LowercaseLetter || rune.Value is 0xAA or 0xBA or >= 0x2B0 and <= 0x2B8 or 0x2C0 or 0x2C1 or >= 0x2E0 and <= 0x2E4 or >= 0x2170 and <= 0x217F or >= 0x24D0 and <= 0x24E9;

    private static bool IsCased(Rune rune) => IsUpper(rune) || IsLower(rune) || Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter;

    private static bool IsIgnorable(Rune rune) =>
        rune.Value is '\'' or '.' or ':' or 0xB7 or 0x2018 or 0x2019 or 0x2024 or 0x2027
        || Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol;

    private static string Map(string text, Func<(string Text, int Index), Rune, string> map)
    {
        StringBuilder mapped = new(text.Length);
        int index = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            mapped.Append(map((text, index), rune));
            index += rune.Utf16SequenceLength;
        }
        return mapped.ToString();
    }

    private static Dictionary<int, string> Read(string table)
    {
        Dictionary<int, string> map = [];
        foreach (string pair in table.Split(' '))
            map[pair[0]] = pair[1..];
        return map;
    }
}
