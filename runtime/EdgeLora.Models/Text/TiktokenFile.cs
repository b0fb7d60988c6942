using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>tiktoken's rank files: a line for each token, its bytes in base64 and its rank. The file's name says how text is cut.</summary>
internal static class TiktokenFile
{
    public static TokenizerParts Read(string path)
    {
        List<SentencePiece> pieces = [];
        Dictionary<string, int> ids = [];
        int line = 0;
        foreach (string text in File.ReadLines(path))
        {
            line++;
            if (text.Length == 0)
                continue;
            int space = text.IndexOf(' ');
            byte[] bytes = new byte[text.Length];
            if (space <= 0 || !Convert.TryFromBase64Chars(text.AsSpan(0, space), bytes, out int length) || length == 0
                || !int.TryParse(text.AsSpan(space + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int rank))
                throw new ModelFileException(path, $"line {line}: expected base64 and a rank");
            if (rank != pieces.Count)
                throw new ModelFileException(path, $"line {line}: expected rank {pieces.Count}, found {rank}");
            string token = string.Concat(bytes.AsSpan(0, length).ToArray().Select(b => (char)ByteAlphabet.Char(b)));
            // A lower rank merges first: scores fall.
            pieces.Add(new(token, -rank, PieceKind.Normal));
            ids[token] = rank;
        }
        string name = Path.GetFileNameWithoutExtension(path);
        PreTokenizer preTokenizer = PreTokenizerNames.Find(name) ?? throw new ModelFileException(path, $"unknown encoding \"{name}\"");
        SentencePieceVocabulary vocabulary = new(pieces) { Kind = SentencePieceKind.Bpe, WholeFirst = true };
        return new(path, new SentencePieceModel(new(ids), vocabulary)) { PreTokenizer = preTokenizer, Decoder = new ByteLevelDecoder() };
    }
}
