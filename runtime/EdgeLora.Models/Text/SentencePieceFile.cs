using System.Buffers.Binary;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>tokenizer.model: the protobuf ModelProto of sentencepiece_model.proto. pieces = 1, trainer_spec = 2, normalizer_spec = 3.</summary>
internal static class SentencePieceFile
{
    public static TokenizerParts Read(string path, TokenizerConfig config)
    {
        byte[] bytes = File.ReadAllBytes(path);
        List<SentencePiece> pieces = [];
        Settings settings = new();
        try
        {
            ProtobufReader reader = new(bytes);
            while (reader.Next(out int field, out ReadOnlySpan<byte> value, out _))
                switch (field)
                {
                    case 1: pieces.Add(Piece(value)); break;
                    case 2: settings.ReadTrainer(value); break;
                    case 3: settings.ReadNormalizer(value); break;
                }
        }
        catch (FormatException e)
        {
            throw new ModelFileException(path, $"not a tokenizer.model: {e.Message}", e);
        }
        if (pieces.Count == 0)
            throw new ModelFileException(path, "not a tokenizer.model: no pieces");
        return Parts(path, settings.Build(pieces), config);
    }

    /// <summary>The pipeline over a SentencePiece vocabulary, from whatever file it came.</summary>
    public static TokenizerParts Parts(string path, SentencePieceVocabulary vocabulary, TokenizerConfig config)
    {
        Dictionary<string, int> ids = new(vocabulary.Pieces.Count);
        // An id that means another piece here was counted for another file.
        List<AddedToken> added = [.. config.AddedTokens.Where(t => t.Id >= vocabulary.Pieces.Count || vocabulary.Pieces[t.Id].Text == t.Content)];
        HashSet<string> known = [.. added.Select(t => t.Content)];
        for (int id = 0; id < vocabulary.Pieces.Count; id++)
        {
            SentencePiece piece = vocabulary.Pieces[id];
            ids.TryAdd(piece.Text, id);
            if (piece.Kind == PieceKind.Control && known.Add(piece.Text))
                added.Add(new(id, piece.Text, Special: true));
        }
        // The unknown piece is text: it decodes to its own surface.
        string? unknown = vocabulary.UnknownId is { } u ? vocabulary.Pieces[u].Text : null;
        added.RemoveAll(t => t.Content == unknown || (ids.TryGetValue(t.Content, out int id) && vocabulary.Pieces[id].Kind is PieceKind.UserDefined));
        return new(path, new SentencePieceModel(new(ids), vocabulary))
        {
            Normalizer = new SentencePieceNormalizer(vocabulary, prefixFirstOnly: config.Legacy == false),
            Decoder = new SentencePieceDecoder(vocabulary),
            AddedTokens = added,
            UnknownToken = unknown,
        };
    }

    /// <summary>Writes a tokenizer.model: the pieces, the ids of <paramref name="tokenizer"/> and the settings of the normalizer.</summary>
    public static void Write(Stream stream, SentencePieceVocabulary vocabulary, Tokenizer tokenizer)
    {
        ProtobufWriter file = new();
        foreach (SentencePiece piece in vocabulary.Pieces)
        {
            ProtobufWriter one = new();
            one.Bytes(1, System.Text.Encoding.UTF8.GetBytes(piece.Text));
            one.Fixed(2, BitConverter.SingleToUInt32Bits(piece.Score));
            one.Number(3, (ulong)piece.Kind);
            file.Bytes(1, one.Written);
        }
        ProtobufWriter trainer = new();
        trainer.Number(3, (ulong)vocabulary.Kind);
        trainer.Number(4, (ulong)vocabulary.Pieces.Count);
        trainer.Number(24, vocabulary.WhitespaceAsSuffix ? 1u : 0u);
        trainer.Number(35, vocabulary.ByteFallback ? 1u : 0u);
        // -1: there is none.
        foreach ((int field, int? id) in (ReadOnlySpan<(int, int?)>)[(40, vocabulary.UnknownId), (41, tokenizer.BosId), (42, tokenizer.EosId), (43, tokenizer.PadId)])
            trainer.Number(field, unchecked((ulong)(id ?? -1)));
        trainer.Bytes(44, System.Text.Encoding.UTF8.GetBytes(vocabulary.UnknownSurface));
        file.Bytes(2, trainer.Written);
        ProtobufWriter normalizer = new();
        normalizer.Bytes(2, vocabulary.Map.ToBytes());
        normalizer.Number(3, vocabulary.AddDummyPrefix ? 1u : 0u);
        normalizer.Number(4, vocabulary.RemoveExtraWhitespaces ? 1u : 0u);
        normalizer.Number(5, vocabulary.EscapeWhitespaces ? 1u : 0u);
        file.Bytes(3, normalizer.Written);
        stream.Write(file.Written);
    }

    private static SentencePiece Piece(ReadOnlySpan<byte> bytes)
    {
        string text = "";
        float score = 0;
        PieceKind kind = PieceKind.Normal;
        ProtobufReader reader = new(bytes);
        while (reader.Next(out int field, out ReadOnlySpan<byte> value, out ulong number))
            switch (field)
            {
                case 1: text = System.Text.Encoding.UTF8.GetString(value); break;
                case 2: score = BitConverter.UInt32BitsToSingle((uint)number); break;
                case 3: kind = number is >= 1 and <= 6 ? (PieceKind)number : throw new FormatException($"piece \"{text}\" has the unknown type {number}"); break;
            }
        return float.IsFinite(score) ? new(text, score, kind) : throw new FormatException($"the score of piece \"{text}\" is not finite");
    }

    private sealed class Settings
    {
        private SentencePieceKind _kind = SentencePieceKind.Unigram;
        private bool _byteFallback, _asSuffix, _dummyPrefix = true, _removeExtra = true, _escape = true;
        private string _surface = " \u2047 ";
        private CharacterMap _map = new([]);

        public void ReadTrainer(ReadOnlySpan<byte> bytes)
        {
            ProtobufReader reader = new(bytes);
            while (reader.Next(out int field, out ReadOnlySpan<byte> value, out ulong number))
                switch (field)
                {
                    case 3: _kind = number is >= 1 and <= 4 ? (SentencePieceKind)number : throw new FormatException($"unknown model type {number}"); break;
                    case 24: _asSuffix = number != 0; break;
                    case 35: _byteFallback = number != 0; break;
                    case 44: _surface = System.Text.Encoding.UTF8.GetString(value); break;
                }
        }

        public void ReadNormalizer(ReadOnlySpan<byte> bytes)
        {
            ProtobufReader reader = new(bytes);
            while (reader.Next(out int field, out ReadOnlySpan<byte> value, out ulong number))
                switch (field)
                {
                    case 2: _map = new(value); break;
                    case 3: _dummyPrefix = number != 0; break;
                    case 4: _removeExtra = number != 0; break;
                    case 5: _escape = number != 0; break;
                }
        }

        public SentencePieceVocabulary Build(List<SentencePiece> pieces) => new(pieces)
        {
            Kind = _kind,
            ByteFallback = _byteFallback,
            AddDummyPrefix = _dummyPrefix,
            RemoveExtraWhitespaces = _removeExtra,
            EscapeWhitespaces = _escape,
            WhitespaceAsSuffix = _asSuffix,
            UnknownSurface = _surface,
            Map = _map,
        };
    }
}

/// <summary>Reads the fields of one protobuf message.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>The next field: its bytes (wire type 2) or its number (0, 1, 5). False at the end; a broken field is a <see cref="FormatException"/>.</summary>
    public bool Next(out int field, out ReadOnlySpan<byte> value, out ulong number)
    {
        field = 0;
        value = default;
        number = 0;
        if (_rest.IsEmpty)
            return false;
        ulong tag = Varint();
        field = tag >> 3 is > 0 and <= int.MaxValue ? (int)(tag >> 3) : throw new FormatException($"a field has the number {tag >> 3}");
        switch (tag & 7)
        {
            case 0: number = Varint(); break;
            case 1: number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8)); break;
            case 2: value = Take(Varint()); break;
            case 5: number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4)); break;
            default: throw new FormatException($"field {field} has the unknown wire type {tag & 7}");
        }
        return true;
    }

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)_rest.Length)
            throw new FormatException($"{count} bytes are announced, {_rest.Length} are left at the end");
        ReadOnlySpan<byte> taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte b = Take(1)[0];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
                return value;
        }
        throw new FormatException("a number of more than ten bytes");
    }
}
