namespace EdgeLora.Models;

/// <summary>Adds special tokens around encoded texts and corrects offsets. The results are merged in order.</summary>
internal abstract class PostProcessor
{
    public abstract List<Encoding> Process(List<Encoding> encodings, bool addSpecialTokens);

    /// <summary>How many tokens it adds.</summary>
    public abstract int AddedCount(bool isPair);

    protected static Encoding Trim(Encoding encoding, bool addPrefixSpace)
    {
        (int Start, int End)[] offsets = [.. encoding.Offsets];
        for (int i = 0; i < offsets.Length; i++)
        {
            int[] chars = CodePoints.Of(encoding.Tokens[i]);
            int leading = 0, trailing = 0;
            while (leading < chars.Length && IsSpace(chars[leading]))
                leading++;
            while (trailing < chars.Length && IsSpace(chars[chars.Length - 1 - trailing]))
                trailing++;
            (int start, int end) = offsets[i];
            if (leading > 0)
            {
                // A single one may have been put in front, and is not in the text then.
                if ((i == 0 || start == 0) && addPrefixSpace && leading == 1)
                    leading = 0;
                start = Math.Min(start + leading, end);
            }
            if (trailing > 0 && end >= trailing)
                end = Math.Max(end - trailing, start);
            offsets[i] = (start, end);
        }
        return encoding with { Offsets = offsets, Overflowing = [.. encoding.Overflowing.Select(o => Trim(o, addPrefixSpace))] };
    }

    private static bool IsSpace(int c) => c == ByteAlphabet.Char((byte)' ') || CodePoints.IsWhiteSpace(c);
}

internal sealed class SequencePostProcessor(IReadOnlyList<PostProcessor> parts) : PostProcessor
{
    public override List<Encoding> Process(List<Encoding> encodings, bool addSpecialTokens)
    {
        foreach (PostProcessor part in parts)
            encodings = part.Process(encodings, addSpecialTokens);
        return encodings;
    }

    public override int AddedCount(bool isPair) => parts.Sum(p => p.AddedCount(isPair));

    /// <summary>The same without its templates.</summary>
    public SequencePostProcessor WithoutTemplates() => new([.. parts.Where(p => p is not TemplatePostProcessor)]);
}

internal sealed class ByteLevelPostProcessor(bool trimOffsets, bool addPrefixSpace) : PostProcessor
{
    public override List<Encoding> Process(List<Encoding> encodings, bool addSpecialTokens) =>
        trimOffsets ? encodings.ConvertAll(e => Trim(e, addPrefixSpace)) : encodings;

    public override int AddedCount(bool isPair) => 0;
}

/// <summary>A place of a template: special tokens, or (Sequence 0 or 1) a text.</summary>
internal sealed record TemplatePiece(int TypeId, int Sequence, int[] Ids, string[] Tokens);

internal sealed class TemplatePostProcessor(IReadOnlyList<TemplatePiece> single, IReadOnlyList<TemplatePiece> pair) : PostProcessor
{
    public override List<Encoding> Process(List<Encoding> encodings, bool addSpecialTokens)
    {
        List<Encoding> result = [];
        foreach (TemplatePiece piece in encodings.Count == 1 ? single : pair)
        {
            if (piece.Sequence >= 0)
                result.Add(encodings[piece.Sequence].WithType(piece.TypeId));
            else if (addSpecialTokens)
                result.Add(Encoding.Added(piece.Ids, piece.Tokens, piece.TypeId));
        }
        return result;
    }

    public override int AddedCount(bool isPair) => (isPair ? pair : single).Sum(p => p.Sequence >= 0 ? 0 : p.Ids.Length);

    /// <summary>Beginning and end tokens around each text, as the flags add_bos_token and add_eos_token of tokenizer_config.json ask.</summary>
    public static TemplatePostProcessor Around((int Id, string Token)? begin, (int Id, string Token)? end)
    {
        List<TemplatePiece> Text(int sequence)
        {
            List<TemplatePiece> pieces = [];
            if (begin is { } b)
                pieces.Add(new(sequence, -1, [b.Id], [b.Token]));
            pieces.Add(new(sequence, sequence, [], []));
            if (end is { } e)
                pieces.Add(new(sequence, -1, [e.Id], [e.Token]));
            return pieces;
        }
        return new(Text(0), [.. Text(0), .. Text(1)]);
    }
}

/// <summary>BERT: [CLS] A [SEP] B [SEP]. RoBERTa: &lt;s&gt; A &lt;/s&gt; &lt;/s&gt; B &lt;/s&gt;, all of type 0.</summary>
internal sealed class PairPostProcessor(bool isRoberta, (int Id, string Token) begin, (int Id, string Token) separator, bool trimOffsets, bool addPrefixSpace) : PostProcessor
{
    public override List<Encoding> Process(List<Encoding> encodings, bool addSpecialTokens)
    {
        if (isRoberta && trimOffsets)
            encodings = encodings.ConvertAll(e => Trim(e, addPrefixSpace));
        if (isRoberta)
            encodings = encodings.ConvertAll(e => e.WithType(0));
        if (!addSpecialTokens)
            return encodings;
        Encoding Special((int Id, string Token) token, int type) => Encoding.Added([token.Id], [token.Token], isRoberta ? 0 : type);
        List<Encoding> result = [Special(begin, 0), encodings[0], Special(separator, 0)];
        if (encodings.Count > 1)
        {
            if (isRoberta)
                result.Add(Special(separator, 1));
            result.AddRange([encodings[1], Special(separator, 1)]);
        }
        return result;
    }

    public override int AddedCount(bool isPair) => !isPair ? 2 : isRoberta ? 4 : 3;
}
