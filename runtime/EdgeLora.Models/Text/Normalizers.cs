using System.Text;

namespace EdgeLora.Models;

/// <summary>Rewrites text before it is cut; alignments with the original are kept.</summary>
internal abstract class TextNormalizer
{
    public abstract void Apply(NormalizedText text);
}

internal sealed class SequenceNormalizer(IReadOnlyList<TextNormalizer> parts) : TextNormalizer
{
    public override void Apply(NormalizedText text)
    {
        foreach (TextNormalizer part in parts)
            part.Apply(text);
    }
}

/// <summary>NFC, NFD, NFKC, NFKD.</summary>
internal sealed class FormNormalizer(bool compatibility, bool compose) : TextNormalizer
{
    public override void Apply(NormalizedText text) => UnicodeNormalization.Apply(text, compatibility, compose);
}

/// <summary>Per code point, so that there is no final sigma; İ becomes i and a dot.</summary>
internal sealed class LowercaseNormalizer : TextNormalizer
{
    public override void Apply(NormalizedText text)
    {
        if (!text.Chars.Contains(0x130))
        {
            text.Map(CodePoints.ToLower);
            return;
        }
        List<int> chars = [], changes = [];
        foreach (int c in text.Chars)
        {
            chars.Add(c == 0x130 ? 'i' : CodePoints.ToLower(c));
            changes.Add(0);
            if (c != 0x130)
                continue;
            chars.Add(0x307);
            changes.Add(1);
        }
        text.Transform([.. chars], [.. changes]);
    }
}

/// <summary>Removes nonspacing marks, without decomposing first.</summary>
internal sealed class StripAccentsNormalizer : TextNormalizer
{
    public override void Apply(NormalizedText text) => text.Filter(c => CodePoints.Category(c) != System.Globalization.UnicodeCategory.NonSpacingMark);
}

internal sealed class StripNormalizer(bool left, bool right) : TextNormalizer
{
    public override void Apply(NormalizedText text) => text.Strip(left, right);
}

internal sealed class ReplaceNormalizer(TextPattern pattern, string content) : TextNormalizer
{
    private readonly int[] _content = CodePoints.Of(content);

    public override void Apply(NormalizedText text) => text.Replace(pattern, _content);
}

internal sealed class PrependNormalizer(string content) : TextNormalizer
{
    private readonly int[] _content = CodePoints.Of(content);

    public override void Apply(NormalizedText text) => text.Prepend(_content);
}

internal sealed class ByteLevelNormalizer : TextNormalizer
{
    public override void Apply(NormalizedText text) => ByteAlphabet.Apply(text);
}

/// <summary>Removes control characters other than tab, newline and carriage return, and combining marks of old encodings (Moses' NMT cleaning).</summary>
internal sealed class NmtNormalizer : TextNormalizer
{
    public override void Apply(NormalizedText text)
    {
        text.Filter(c => c is not ((>= 1 and <= 8) or 0xB or (>= 0xE and <= 0x1F) or 0x7F or 0x8F or 0x9F));
        text.Map(c => c is 9 or 0xA or 0xC or 0xD or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD ? ' ' : c);
    }
}

/// <summary>BERT: cleans, sets Chinese characters apart, strips accents, lowers.</summary>
internal sealed class BertNormalizer(bool cleanText, bool handleChinese, bool stripAccents, bool lowercase) : TextNormalizer
{
    private static readonly LowercaseNormalizer s_lowercase = new();
    private static readonly StripAccentsNormalizer s_stripAccents = new();

    public override void Apply(NormalizedText text)
    {
        if (cleanText)
        {
            text.Filter(c => !(c is 0 or 0xFFFD || IsControl(c)));
            text.Map(c => CodePoints.IsWhiteSpace(c) ? ' ' : c);
        }
        if (handleChinese)
            SetChineseApart(text);
        if (stripAccents)
        {
            UnicodeNormalization.Apply(text, compatibility: false, compose: false);
            s_stripAccents.Apply(text);
        }
        if (lowercase)
            s_lowercase.Apply(text);
    }

    private static bool IsControl(int c) => c is not ('\t' or '\n' or '\r')
        && CodePoints.Category(c) is System.Globalization.UnicodeCategory.Control or System.Globalization.UnicodeCategory.Format
            or System.Globalization.UnicodeCategory.PrivateUse or System.Globalization.UnicodeCategory.Surrogate;

    private static void SetChineseApart(NormalizedText text)
    {
        bool any = false;
        foreach (int c in text.Chars)
            any |= CodePoints.IsChinese(c);
        if (!any)
            return;
        List<int> chars = [], changes = [];
        foreach (int c in text.Chars)
        {
            if (!CodePoints.IsChinese(c))
            {
                chars.Add(c);
                changes.Add(0);
                continue;
            }
            chars.AddRange([' ', c, ' ']);
            changes.AddRange([0, 1, 1]);
        }
        text.Transform([.. chars], [.. changes]);
    }
}

/// <summary>A compiled character map over whole grapheme clusters shorter than six bytes, then over single code points.</summary>
internal sealed class PrecompiledNormalizer(CharacterMap map) : TextNormalizer
{
    public override void Apply(NormalizedText text)
    {
        if (map.IsEmpty)
            return;
        string whole = text.ToString();
        List<int> chars = new(text.Length), changes = new(text.Length);
        bool modified = false;
        Span<byte> bytes = stackalloc byte[8];
        int index = 0;
        int unit = 0;
        while (unit < whole.Length)
        {
            int unitLength = System.Globalization.StringInfo.GetNextTextElementLength(whole.AsSpan(unit));
            int count = 0;
            foreach (Rune _ in whole.AsSpan(unit, unitLength).EnumerateRunes())
                count++;
            unit += unitLength;
            ReadOnlySpan<int> cluster = text.Chars.Slice(index, count);
            index += count;
            int length = 0;
            foreach (int c in cluster)
                length += CodePoints.Utf8Length(c);
            if (length < 6)
            {
                int written = 0;
                foreach (int c in cluster)
                    written += ByteAlphabet.Encode(c, bytes[written..]);
                if (map.First(bytes[..written]) is { } norm)
                {
                    modified = true;
                    Put(chars, changes, count, norm);
                    continue;
                }
            }
            foreach (int c in cluster)
            {
                if (map.First(bytes[..ByteAlphabet.Encode(c, bytes)]) is { } norm)
                {
                    modified = true;
                    Put(chars, changes, 1, norm);
                    continue;
                }
                chars.Add(c);
                changes.Add(0);
            }
        }
        if (modified)
            text.Transform([.. chars], [.. changes]);
    }

    private static void Put(List<int> chars, List<int> changes, int oldCount, int[] replacement)
    {
        for (int i = 0; i < replacement.Length; i++)
        {
            chars.Add(replacement[i]);
            changes.Add(i < oldCount ? 0 : 1);
        }
        if (replacement.Length < oldCount && changes.Count > 0)
            changes[^1] += replacement.Length - oldCount;
    }
}
