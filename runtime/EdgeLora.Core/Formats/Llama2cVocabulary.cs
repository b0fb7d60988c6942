using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (github.com/karpathy/llama2.c, tokenizer.py), little-endian: i32 longest piece in bytes, then for every piece f32 score, i32 length, bytes.
// Pieces are SentencePiece's with ▁ as a space; 0 <unk>, 1 \n<s>\n, 2 \n</s>\n, 3..258 the bytes <0x00>..<0xFF>.

/// <summary>The vocabulary of a llama2.c tokenizer.bin.</summary>
/// <param name="FilePath">The path that was read.</param>
/// <param name="Pieces">UTF-8 bytes of every piece, by id.</param>
/// <param name="Scores">Score of every piece: of two merges the higher goes first.</param>
public sealed record Llama2cVocabulary(string FilePath, IReadOnlyList<byte[]> Pieces, IReadOnlyList<float> Scores)
{
    private const int LargestFile = 256 << 20;

    /// <summary>Reads <paramref name="path"/>. Throws <see cref="ModelFileException"/> naming the piece where the file does not fit.</summary>
    public static Llama2cVocabulary Read(string path)
    {
        byte[] bytes;
        try
        {
            long length = new FileInfo(path).Length;
            if (length > LargestFile)
                throw new ModelFileException(path, $"a vocabulary has at most {LargestFile} bytes, found {length}");
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or (IOException and not ModelFileException))
        {
            throw new ModelFileException(path, "the file cannot be opened: " + e.Message, e);
        }
        if (bytes.Length < 4)
            throw new ModelFileException(path, $"the file ends at byte {bytes.Length}, inside the header");
        int longest = BinaryPrimitives.ReadInt32LittleEndian(bytes);
        List<byte[]> pieces = [];
        List<float> scores = [];
        for (int at = 4; at < bytes.Length;)
        {
            if (bytes.Length - at < 8)
                throw new ModelFileException(path, $"piece {pieces.Count}: the file ends at byte {bytes.Length}; expected a score and a length from byte {at}");
            float score = BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 4));
            at += 8;
            if (!float.IsFinite(score))
                throw new ModelFileException(path, $"piece {pieces.Count}: expected a finite score, found {score}");
            if (length < 0 || length > longest)
                throw new ModelFileException(path, $"piece {pieces.Count}: expected a length up to {longest}, the longest, found {length}");
            if (length > bytes.Length - at)
                throw new ModelFileException(path, $"piece {pieces.Count}: {length} bytes, but the file ends {bytes.Length - at} bytes later");
            pieces.Add(bytes[at..(at + length)]);
            scores.Add(score);
            at += length;
        }
        return new(path, pieces, scores);
    }
}
