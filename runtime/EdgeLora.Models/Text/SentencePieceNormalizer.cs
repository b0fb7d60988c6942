namespace EdgeLora.Models;

/// <summary>SentencePiece's own normalizer (sentencepiece/src/normalizer.cc): its character map by longest key, its rules for spaces.</summary>
internal sealed class SentencePieceNormalizer(SentencePieceVocabulary vocabulary, bool prefixFirstOnly) : TextNormalizer
{
    private const int LongestKey = 64;

    public override void Apply(NormalizedText text)
    {
        List<(int Char, int Start, int End)> output = new(text.Length + 8);
        ReadOnlySpan<int> input = text.Chars;
        int at = 0, space = vocabulary.EscapeWhitespaces ? SentencePieceVocabulary.Mark : ' ';
        if (vocabulary.RemoveExtraWhitespaces)
            while (at < input.Length && Next(input[at..], out int length) is [' '])
                at += length;
        bool prefix = vocabulary.AddDummyPrefix && (!prefixFirstOnly || text.OriginalStart == 0);
        if (at < input.Length && prefix && !vocabulary.WhitespaceAsSuffix)
            output.Add((space, at, at + 1));
        bool afterSpace = vocabulary.RemoveExtraWhitespaces;
        bool any = at < input.Length;
        while (at < input.Length)
        {
            ReadOnlySpan<int> next = Next(input[at..], out int length);
            while (afterSpace && next.Length > 0 && next[0] == ' ')
                next = next[1..];
            if (next.Length > 0)
            {
                foreach (int c in next)
                    output.Add((c == ' ' ? space : c, at, at + length));
                afterSpace = next[^1] == ' ';
            }
            at += length;
            if (!vocabulary.RemoveExtraWhitespaces)
                afterSpace = false;
        }
        if (vocabulary.RemoveExtraWhitespaces)
            while (output.Count > 0 && output[^1].Char == space)
                output.RemoveAt(output.Count - 1);
        if (any && prefix && vocabulary.WhitespaceAsSuffix)
            output.Add((space, input.Length - 1, input.Length));
        NormalizedText.TextBuilder builder = new(output.Count);
        foreach ((int c, int start, int end) in output)
        {
            (int originalStart, int originalEnd) = text.Original(start, end);
            builder.Add(c, originalStart, originalEnd);
        }
        builder.MoveTo(text);
    }

    /// <summary>What the next stretch of <paramref name="input"/> becomes; <paramref name="length"/> code points are consumed.</summary>
    private ReadOnlySpan<int> Next(ReadOnlySpan<int> input, out int length)
    {
        if (vocabulary.UserDefined is not null)
        {
            (int value, length) = vocabulary.UserDefined.Longest(input);
            if (value >= 0)
                return input[..length];
        }
        if (!vocabulary.Map.IsEmpty)
        {
            Span<byte> bytes = stackalloc byte[LongestKey + 4];
            int written = 0;
            for (int i = 0; i < input.Length && written < LongestKey; i++)
                written += ByteAlphabet.Encode(input[i], bytes[written..]);
            if (vocabulary.Map.Longest(bytes[..written], out int keyBytes) is { } replacement)
            {
                length = 0;
                for (int b = 0; b < keyBytes; length++)
                    b += CodePoints.Utf8Length(input[length]);
                return replacement;
            }
        }
        length = 1;
        return input[..1];
    }
}
