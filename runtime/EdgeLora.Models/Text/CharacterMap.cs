using System.Buffers.Binary;
using System.Text;

namespace EdgeLora.Models;

/// <summary>
/// SentencePiece's precompiled character map: the byte length of a double-array trie (uint32), the trie, then replacement texts
/// that end in a zero byte (sentencepiece/src/normalizer.cc).
/// </summary>
internal sealed class CharacterMap
{
    private readonly uint[] _units;
    private readonly byte[] _texts;

    /// <summary>Reads the map; a broken one is a <see cref="FormatException"/>.</summary>
    public CharacterMap(ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
        {
            (_units, _texts) = ([], []);
            return;
        }
        if (data.Length < 4)
            throw new FormatException($"precompiled_charsmap: expected at least 4 bytes, found {data.Length}");
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(data);
        if (size % 4 != 0 || size > data.Length - 4)
            throw new FormatException($"precompiled_charsmap: its trie takes {size} bytes, {data.Length - 4} are there");
        _units = new uint[size / 4];
        for (int i = 0; i < _units.Length; i++)
            _units[i] = BinaryPrimitives.ReadUInt32LittleEndian(data[(4 + 4 * i)..]);
        _texts = data[(4 + (int)size)..].ToArray();
    }

    public bool IsEmpty => _units.Length == 0;

    /// <summary>The map as a file holds it; empty where there is none.</summary>
    public byte[] ToBytes()
    {
        if (IsEmpty)
            return [];
        byte[] data = new byte[4 + 4 * _units.Length + _texts.Length];
        BinaryPrimitives.WriteInt32LittleEndian(data, 4 * _units.Length);
        for (int i = 0; i < _units.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(data.AsSpan(4 + 4 * i), _units[i]);
        _texts.CopyTo(data, 4 + 4 * _units.Length);
        return data;
    }

    /// <summary>The replacement for the shortest key that <paramref name="text"/> starts with, or null.</summary>
    public int[]? First(ReadOnlySpan<byte> text) => Search(text, longest: false, out _);

    /// <summary>The replacement for the longest key that <paramref name="text"/> starts with, or null.</summary>
    public int[]? Longest(ReadOnlySpan<byte> text, out int length) => Search(text, longest: true, out length);

    private int[]? Search(ReadOnlySpan<byte> text, bool longest, out int length)
    {
        length = 0;
        if (IsEmpty)
            return null;
        uint node = Offset(_units[0]);
        int value = -1;
        for (int i = 0; i < text.Length && text[i] != 0; i++)
        {
            node ^= text[i];
            if (node >= _units.Length || (_units[node] & 0x800000FF) != text[i])
                break;
            uint unit = _units[node];
            node ^= Offset(unit);
            if ((unit >> 8 & 1) == 0)
                continue;
            if (node >= _units.Length)
                break;
            value = (int)(_units[node] & 0x7FFFFFFF);
            length = i + 1;
            if (!longest)
                break;
        }
        if (value < 0 || value >= _texts.Length)
            return null;
        ReadOnlySpan<byte> rest = _texts.AsSpan(value);
        int end = rest.IndexOf((byte)0);
        return CodePoints.Of(System.Text.Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]));
    }

    private static uint Offset(uint unit) => unit >> 10 << (int)((unit & 0x200) >> 6);
}
