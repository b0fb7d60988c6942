using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>Turns tokens into text, a list at a time; what is left is joined.</summary>
internal abstract class TokenDecoder
{
    public abstract List<string> Decode(List<string> tokens);
}

internal sealed class SequenceDecoder(IReadOnlyList<TokenDecoder> parts) : TokenDecoder
{
    public override List<string> Decode(List<string> tokens)
    {
        foreach (TokenDecoder part in parts)
            tokens = part.Decode(tokens);
        return tokens;
    }
}

/// <summary>Stand-ins back to bytes, all tokens as one text; broken UTF-8 reads as U+FFFD.</summary>
internal sealed class ByteLevelDecoder : TokenDecoder
{
    public override List<string> Decode(List<string> tokens)
    {
        List<byte> bytes = [];
        foreach (string token in tokens)
        {
            int before = bytes.Count;
            foreach (char c in token)
            {
                int b = ByteAlphabet.Byte(c);
                if (b >= 0)
                {
                    bytes.Add((byte)b);
                    continue;
                }
                // A token that is not in the alphabet stands for itself.
                bytes.RemoveRange(before, bytes.Count - before);
                bytes.AddRange(System.Text.Encoding.UTF8.GetBytes(token));
                break;
            }
        }
        return [System.Text.Encoding.UTF8.GetString([.. bytes])];
    }
}

/// <summary>Runs of <c>&lt;0xNN&gt;</c> to text; a run that is not UTF-8 gives one U+FFFD for each byte.</summary>
internal sealed class ByteFallbackDecoder : TokenDecoder
{
    private static readonly UTF8Encoding s_strict = new(false, true);

    public override List<string> Decode(List<string> tokens)
    {
        List<string> result = new(tokens.Count);
        List<byte> run = [];
        foreach (string token in tokens)
        {
            if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
                && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                run.Add(value);
                continue;
            }
            Flush(run, result);
            result.Add(token);
        }
        Flush(run, result);
        return result;
    }

    private static void Flush(List<byte> run, List<string> result)
    {
        if (run.Count == 0)
            return;
        try
        {
            result.Add(s_strict.GetString([.. run]));
        }
        catch (ArgumentException)
        {
            result.AddRange(Enumerable.Repeat("\uFFFD", run.Count));
        }
        run.Clear();
    }
}

internal sealed class FuseDecoder : TokenDecoder
{
    public override List<string> Decode(List<string> tokens) => [string.Concat(tokens)];
}

internal sealed class ReplaceDecoder(TextPattern pattern, string content) : TokenDecoder
{
    private readonly int[] _content = CodePoints.Of(content);

    public override List<string> Decode(List<string> tokens) => tokens.ConvertAll(token =>
    {
        NormalizedText text = new(token);
        text.Replace(pattern, _content);
        return text.ToString();
    });
}

internal sealed class MetaspaceDecoder(int replacement, PrependScheme scheme) : TokenDecoder
{
    private readonly string _mark = char.ConvertFromUtf32(replacement);

    public override List<string> Decode(List<string> tokens) =>
        [.. tokens.Select((t, i) => t.Replace(_mark, i == 0 && scheme != PrependScheme.Never ? "" : " ", StringComparison.Ordinal))];
}

internal sealed class WordPieceDecoder(string prefix, bool cleanUp) : TokenDecoder
{
    public override List<string> Decode(List<string> tokens) => [.. tokens.Select((token, i) =>
    {
        if (i > 0)
            token = prefix.Length > 0 && token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
        return cleanUp ? CleanUp(token) : token;
    })];

    public static string CleanUp(string text) => text.Replace(" .", ".").Replace(" ?", "?").Replace(" !", "!").Replace(" ,", ",").Replace(" ' ", "'")
        .Replace(" n't", "n't").Replace(" 'm", "'m").Replace(" do not", " don't").Replace(" 's", "'s").Replace(" 've", "'ve").Replace(" 're", "'re");
}

/// <summary>An end-of-word suffix becomes a space, and nothing at the end.</summary>
internal sealed class BpeDecoder(string suffix) : TokenDecoder
{
    public override List<string> Decode(List<string> tokens) =>
        suffix.Length == 0 ? tokens : [.. tokens.Select((t, i) => t.Replace(suffix, i == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal))];
}

/// <summary>Strips up to so many of one character from both ends of every token.</summary>
internal sealed class StripDecoder(int content, int start, int stop) : TokenDecoder
{
    public override List<string> Decode(List<string> tokens) => tokens.ConvertAll(token =>
    {
        int[] chars = CodePoints.Of(token);
        int first = 0, end = chars.Length;
        while (first < Math.Min(start, chars.Length) && chars[first] == content)
            first++;
        while (chars.Length - end < stop && end > first && chars[end - 1] == content)
            end--;
        return CodePoints.ToString(chars.AsSpan(first, end - first));
    });
}

/// <summary>Repeated tokens once, padding dropped, word delimiters as spaces.</summary>
internal sealed class CtcDecoder(string pad, string wordDelimiter, bool cleanUp) : TokenDecoder
{
    public override List<string> Decode(List<string> tokens)
    {
        List<string> result = [];
        for (int i = 0; i < tokens.Count; i++)
        {
            if (i > 0 && tokens[i] == tokens[i - 1])
                continue;
            string text = pad.Length == 0 ? tokens[i] : tokens[i].Replace(pad, "", StringComparison.Ordinal);
            if (cleanUp)
                text = WordPieceDecoder.CleanUp(text);
            if (cleanUp && wordDelimiter.Length > 0)
                text = text.Replace(wordDelimiter, " ", StringComparison.Ordinal);
            if (text.Length > 0)
                result.Add(text);
        }
        return result;
    }
}

/// <summary>Joins by spaces: what a tokenizer without a decoder does.</summary>
internal sealed class SpaceDecoder : TokenDecoder
{
    public override List<string> Decode(List<string> tokens) => [string.Join(' ', tokens)];
}

/// <summary>SentencePiece's own decoding: spaces, bytes, the unknown surface, and no space where the dummy prefix put one.</summary>
internal sealed class SentencePieceDecoder(SentencePieceVocabulary pieces) : TokenDecoder
{
    private readonly Dictionary<string, PieceKind> _kinds = Kinds(pieces);

    public override List<string> Decode(List<string> tokens)
    {
        StringBuilder text = new();
        List<byte> run = [];
        bool atStart = true, ateSpace = false;
        foreach (string token in tokens)
        {
            PieceKind kind = _kinds.GetValueOrDefault(token, PieceKind.Control);
            if (kind == PieceKind.Byte && token.Length == 6 && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                run.Add(value);
                continue;
            }
            Flush(run, text);
            if (ateSpace || text.Length > 0)
                atStart = false;
            ateSpace = false;
            if (kind == PieceKind.Unknown)
            {
                text.Append(pieces.UnknownSurface);
                continue;
            }
            string surface = token;
            if (kind != PieceKind.Control && atStart && (pieces.AddDummyPrefix || pieces.RemoveExtraWhitespaces) && surface.StartsWith((char)SentencePieceVocabulary.Mark))
            {
                surface = surface[1..];
                ateSpace = !pieces.RemoveExtraWhitespaces;
            }
            text.Append(kind == PieceKind.Control ? surface : surface.Replace((char)SentencePieceVocabulary.Mark, ' '));
        }
        Flush(run, text);
        return [text.ToString()];
    }

    private static void Flush(List<byte> run, StringBuilder text)
    {
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(run);
        while (!bytes.IsEmpty)
        {
            // One U+FFFD for each byte that starts no character.
            bool valid = Rune.DecodeFromUtf8(bytes, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            text.Append(valid ? rune.ToString() : "\uFFFD");
            bytes = bytes[(valid ? length : 1)..];
        }
        run.Clear();
    }

    private static Dictionary<string, PieceKind> Kinds(SentencePieceVocabulary pieces)
    {
        Dictionary<string, PieceKind> kinds = new(pieces.Pieces.Count);
        foreach (SentencePiece piece in pieces.Pieces)
            kinds[piece.Text] = piece.Kind;
        return kinds;
    }
}
