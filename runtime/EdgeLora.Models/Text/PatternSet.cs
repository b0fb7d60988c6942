using System.Globalization;

namespace EdgeLora.Models;

/// <summary>
/// A set of code points: one letter; or given by a test and, unless the test is cheap, remembered in bitmap pages of 256, which lie in blocks of 32: a file may bring thousands of sets, most of which meet few letters.
/// </summary>
internal sealed class PatternSet
{
    private const int Blocks = 0x110000 >> 13;

    // Letters make up most of a pattern, so those of ASCII are made once.
    private static readonly PatternSet[] s_letters = [.. Enumerable.Range(0, 128).Select(c => new PatternSet(c))];

    private readonly Func<int, bool>? _test;
    private readonly int _letter;
    private readonly bool _remembers;
    private ulong[]?[]?[]? _blocks;

    /// <summary>The set of what passes a test.</summary>
    public PatternSet(Func<int, bool> test, bool remember = true) => (_test, _remembers) = (test, remember);

    private PatternSet(int letter) => _letter = letter;

    /// <summary>The set of one letter.</summary>
    public static PatternSet Letter(int c) => c < s_letters.Length ? s_letters[c] : new(c);

    public bool Contains(int c)
    {
        if (_test is null)
            return c == _letter;
        if (!_remembers)
            return _test(c);
        ulong[] page = _blocks?[c >> 13]?[(c >> 8) & 31] ?? Fill(c >> 8);
        return (page[(c >> 6) & 3] >> (c & 63) & 1) != 0;
    }

    // On several threads at once one page may be lost and filled again.
    private ulong[] Fill(int index)
    {
        ulong[] page = new ulong[4];
        for (int i = 0; i < 256; i++)
            if (_test!(index << 8 | i))
                page[i >> 6] |= 1UL << (i & 63);
        ulong[]?[]?[] blocks = _blocks ??= new ulong[]?[]?[Blocks];
        ulong[]?[] block = blocks[index >> 5] ??= new ulong[]?[32];
        return block[index & 31] = page;
    }

    /// <summary>The test behind <c>\p{name}</c>, or null for a name that is none.</summary>
    public static Func<int, bool>? Property(string name)
    {
        string key = name.Replace("_", "").Replace(" ", "").Replace("-", "").ToLowerInvariant();
        switch (key)
        {
            case "any": return _ => true;
            case "assigned": return c => CodePoints.Category(c) != UnicodeCategory.OtherNotAssigned;
            case "ascii": return c => c < 0x80;
            case "alpha" or "alphabetic": return c => CodePoints.IsAlphabetic(c) || CodePoints.IsMark(c);
            case "alnum": return c => CodePoints.IsAlphabetic(c) || CodePoints.IsMark(c) || CodePoints.Category(c) == UnicodeCategory.DecimalDigitNumber;
            case "upper" or "uppercase": return c => CodePoints.Category(c) == UnicodeCategory.UppercaseLetter;
            case "lower" or "lowercase": return c => CodePoints.Category(c) == UnicodeCategory.LowercaseLetter;
            case "digit": return c => CodePoints.Category(c) == UnicodeCategory.DecimalDigitNumber;
            case "xdigit": return c => c < 0x80 && char.IsAsciiHexDigit((char)c);
            case "space" or "whitespace": return CodePoints.IsWhiteSpace;
            case "blank": return c => c == '\t' || CodePoints.Category(c) == UnicodeCategory.SpaceSeparator;
            case "cntrl": return c => CodePoints.Category(c) == UnicodeCategory.Control;
            case "punct": return CodePoints.IsPunctuation;
            case "graph": return c => !CodePoints.IsWhiteSpace(c) && CodePoints.Category(c) is not (UnicodeCategory.Control or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);
            case "print": return c => CodePoints.Category(c) is not (UnicodeCategory.Control or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);
            case "word": return CodePoints.IsWord;
        }
        if (Categories(key) is { } mask)
            return c => (mask >> (int)CodePoints.Category(c) & 1) != 0;
        if (UnicodeScripts.Ranges(key) is { } ranges)
            return c =>
            {
                foreach ((int first, int last) in ranges)
                    if (c >= first && c <= last)
                        return true;
                return false;
            };
        return null;
    }

    // Bits in the order of UnicodeCategory.
    private static uint? Categories(string key) => key switch
    {
        "l" or "letter" => 0x1F,
        "lc" or "l&" or "casedletter" => 0x7,
        "lu" or "uppercaseletter" => 1u << 0,
        "ll" or "lowercaseletter" => 1u << 1,
        "lt" or "titlecaseletter" => 1u << 2,
        "lm" or "modifierletter" => 1u << 3,
        "lo" or "otherletter" => 1u << 4,
        "m" or "mark" or "combiningmark" => 7u << 5,
        "mn" or "nonspacingmark" => 1u << 5,
        "mc" or "spacingmark" => 1u << 6,
        "me" or "enclosingmark" => 1u << 7,
        "n" or "number" => 7u << 8,
        "nd" or "decimalnumber" => 1u << 8,
        "nl" or "letternumber" => 1u << 9,
        "no" or "othernumber" => 1u << 10,
        "z" or "separator" => 7u << 11,
        "zs" or "spaceseparator" => 1u << 11,
        "zl" or "lineseparator" => 1u << 12,
        "zp" or "paragraphseparator" => 1u << 13,
        "c" or "other" => 0xFu << 14 | 1u << 29,
        "cc" or "control" => 1u << 14,
        "cf" or "format" => 1u << 15,
        "cs" or "surrogate" => 1u << 16,
        "co" or "privateuse" => 1u << 17,
        "cn" or "unassigned" => 1u << 29,
        "p" or "punctuation" => 0x7Fu << 18,
        "pc" or "connectorpunctuation" => 1u << 18,
        "pd" or "dashpunctuation" => 1u << 19,
        "ps" or "openpunctuation" => 1u << 20,
        "pe" or "closepunctuation" => 1u << 21,
        "pi" or "initialpunctuation" => 1u << 22,
        "pf" or "finalpunctuation" => 1u << 23,
        "po" or "otherpunctuation" => 1u << 24,
        "s" or "symbol" => 0xFu << 25,
        "sm" or "mathsymbol" => 1u << 25,
        "sc" or "currencysymbol" => 1u << 26,
        "sk" or "modifiersymbol" => 1u << 27,
        "so" or "othersymbol" => 1u << 28,
        _ => null,
    };
}
