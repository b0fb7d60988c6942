using System.Globalization;

namespace EdgeLora.Models;

/// <summary>What a piece is for; the numbers of sentencepiece_model.proto and of GGUF's token types.</summary>
internal enum PieceKind
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

internal readonly record struct SentencePiece(string Text, float Score, PieceKind Kind);

/// <summary>How SentencePiece segments.</summary>
internal enum SentencePieceKind
{
    Unigram = 1,
    Bpe = 2,
    Word = 3,
    Char = 4,
}

/// <summary>The pieces of a SentencePiece model and the settings of its normalizer (sentencepiece_model.proto).</summary>
internal sealed class SentencePieceVocabulary
{
    public const int Mark = 0x2581;

    private readonly Dictionary<string, int> _segmentable = [];
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly int[] _byteIds = new int[256];

    public SentencePieceVocabulary(IReadOnlyList<SentencePiece> pieces)
    {
        Pieces = pieces;
        Array.Fill(_byteIds, -1);
        List<(string, int)> userDefined = [];
        for (int id = 0; id < pieces.Count; id++)
        {
            SentencePiece piece = pieces[id];
            switch (piece.Kind)
            {
                case PieceKind.Unknown:
                    UnknownId ??= id;
                    break;
                case PieceKind.Byte:
                    if (piece.Text.Length == 6 && byte.TryParse(piece.Text.AsSpan(3, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out byte value))
                        _byteIds[value] = id;
                    break;
                case PieceKind.Normal or PieceKind.UserDefined or PieceKind.Unused:
                    _segmentable[piece.Text] = id;
                    if (piece.Kind == PieceKind.UserDefined)
                        userDefined.Add((piece.Text, id));
                    break;
            }
        }
        _lookup = _segmentable.GetAlternateLookup<ReadOnlySpan<char>>();
        UserDefined = userDefined.Count == 0 ? null : new(userDefined);
    }

    public IReadOnlyList<SentencePiece> Pieces { get; }

    public int? UnknownId { get; }

    /// <summary>Texts that always stand alone, or null where there are none.</summary>
    public PieceTrie? UserDefined { get; }

    /// <summary>Normal, user-defined and unused pieces, by text.</summary>
    public IReadOnlyDictionary<string, int> Segmentable => _segmentable;

    public SentencePieceKind Kind { get; init; } = SentencePieceKind.Unigram;

    public bool ByteFallback { get; init; }

    /// <summary>A text that is a piece as a whole is not built from merges.</summary>
    public bool WholeFirst { get; init; }

    public bool AddDummyPrefix { get; init; } = true;

    public bool RemoveExtraWhitespaces { get; init; } = true;

    public bool EscapeWhitespaces { get; init; } = true;

    public bool WhitespaceAsSuffix { get; init; }

    public CharacterMap Map { get; init; } = new([]);

    /// <summary>What an unknown piece reads as.</summary>
    public string UnknownSurface { get; init; } = " \u2047 ";

    public bool TryGetId(ReadOnlySpan<char> text, out int id) => _lookup.TryGetValue(text, out id);

    public int ByteId(byte value) => _byteIds[value];

    public int UnknownOrThrow => UnknownId ?? throw new InvalidDataException("a character is not in the vocabulary, which has no unknown piece");
}
