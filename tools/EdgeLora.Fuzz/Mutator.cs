using System.Buffers.Binary;

namespace EdgeLora.Fuzz;

/// <summary>
/// Changes bytes the way AFL's havoc stage does (a few of: flip, set, add, interesting numbers, cut, copy, insert, a word of the format, a piece of another input), and in text also whole numbers, strings and members.
/// The same seed gives the same bytes.
/// </summary>
internal sealed class Mutator
{
    /// <summary>No input grows beyond it.</summary>
    public const int LargestInput = 64 << 10;

    private static readonly long[] s_numbers = [0, 1, -1, 2, 16, 32, 64, 100, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 1 << 20, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, 1L << 40, long.MaxValue, long.MinValue];

    private static readonly string[] s_literals =
    [
        "0", "-1", "1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "-9223372036854775808", "18446744073709551616", "1e308", "1e999", "-0.0", "0.5", "1E-400", "null", "true", "false", "[]", "{}", "\"\"", "[[[[]]]]", "\"\\u0000\"",
        "\"\\ud800\"", "\"a/../b\"", "NaN", "Infinity", "[1,2,3]", "{\"a\":1}", "1048576", "65536", "1000000",
    ];

    private readonly Random _random;
    private readonly byte[][] _tokens;
    private readonly bool _text;

    public Mutator(FuzzFormat format, int seed)
    {
        _random = new(seed);
        _text = format.IsText;
        // In a binary format a word's characters are bytes; in a text they are UTF-8.
        _tokens = [.. format.Tokens.Select(t => t.All(c => c < 256) && !_text ? Encoding.Latin1.GetBytes(t) : Encoding.UTF8.GetBytes(t))];
    }

    /// <summary>A choice of one of so many.</summary>
    public int Next(int count) => _random.Next(count);

    /// <summary>A changed copy.</summary>
    public byte[] Mutate(byte[] input, byte[] other)
    {
        List<byte> bytes = [.. input];
        for (int changes = 1 << Math.Max(0, _random.Next(6) - 2); changes > 0; changes--)
            Change(bytes, other);
        if (bytes.Count > LargestInput)
            bytes.RemoveRange(LargestInput, bytes.Count - LargestInput);
        return [.. bytes];
    }

    private void Change(List<byte> bytes, byte[] other)
    {
        if (bytes.Count == 0)
        {
            bytes.Add((byte)_random.Next(256));
            return;
        }
        int kind = _random.Next(_text ? 18 : 13), at = _random.Next(bytes.Count), length = Math.Min(bytes.Count - at, 1 << _random.Next(8));
        switch (kind)
        {
            case 0: bytes[at] ^= (byte)(1 << _random.Next(8)); break;
            case 1: bytes[at] = (byte)_random.Next(256); break;
            case 2: bytes[at] += (byte)(_random.Next(2) == 0 ? 1 + _random.Next(16) : -1 - _random.Next(16)); break;
            case 3: case 4: Number(bytes, at); break;
            case 5: bytes.RemoveRange(at, length); break;
            case 6: bytes.InsertRange(_random.Next(bytes.Count), bytes.GetRange(at, length)); break;
            case 7: bytes.InsertRange(at, Enumerable.Repeat((byte)_random.Next(256), length)); break;
            case 8: Overwrite(bytes, _random.Next(bytes.Count), [.. bytes.GetRange(at, length)]); break;
            case 9: Token(bytes, at, insert: true); break;
            case 10: Token(bytes, at, insert: false); break;
            case 11: Splice(bytes, at, other); break;
            case 12: if (_random.Next(4) == 0) bytes.RemoveRange(at, bytes.Count - at); else bytes[at] = bytes[_random.Next(bytes.Count)]; break;
            case 13: case 14: Word(bytes, at, Encoding.UTF8.GetBytes(s_literals[_random.Next(s_literals.Length)])); break;
            case 15: Word(bytes, at, _tokens.Length > 0 ? _tokens[_random.Next(_tokens.Length)] : []); break;
            case 16: CopyMember(bytes, at); break;
            default: Nest(bytes, at); break;
        }
    }

    private void Number(List<byte> bytes, int at)
    {
        Span<byte> eight = stackalloc byte[8];
        long number = s_numbers[_random.Next(s_numbers.Length)] + (_random.Next(4) == 0 ? _random.Next(-4, 5) : 0);
        BinaryPrimitives.WriteInt64LittleEndian(eight, number);
        int width = 1 << _random.Next(4);
        if (_random.Next(8) == 0)
            eight[..width].Reverse();
        Overwrite(bytes, at, eight[..width].ToArray());
    }

    private void Token(List<byte> bytes, int at, bool insert)
    {
        if (_tokens.Length == 0)
            return;
        byte[] token = _tokens[_random.Next(_tokens.Length)];
        if (insert)
            bytes.InsertRange(at, token);
        else
            Overwrite(bytes, at, token);
    }

    private void Splice(List<byte> bytes, int at, byte[] other)
    {
        if (other.Length == 0)
            return;
        int from = _random.Next(other.Length), length = Math.Min(other.Length - from, 1 << _random.Next(11));
        if (_random.Next(2) == 0)
            bytes.InsertRange(at, other.AsSpan(from, length).ToArray());
        else
            Overwrite(bytes, at, other.AsSpan(from, length).ToArray());
    }

    // The number, string or name that stands at a place becomes another.
    private static void Word(List<byte> bytes, int at, byte[] word)
    {
        int start = at, end = at;
        if (bytes[at] == '"')
        {
            end++;
            while (end < bytes.Count && bytes[end] != '"')
                end++;
            end = Math.Min(end + 1, bytes.Count);
        }
        else
        {
            while (start > 0 && IsWord(bytes[start - 1]))
                start--;
            while (end < bytes.Count && IsWord(bytes[end]))
                end++;
        }
        bytes.RemoveRange(start, end - start);
        bytes.InsertRange(start, word);
    }

    // From one comma to the next, put in once more or left out.
    private void CopyMember(List<byte> bytes, int at)
    {
        int end = bytes.IndexOf((byte)',', at);
        int next = end < 0 ? -1 : bytes.IndexOf((byte)',', end + 1);
        if (next < 0)
            return;
        List<byte> member = bytes.GetRange(end, next - end);
        if (_random.Next(2) == 0)
            bytes.InsertRange(next, member);
        else
            bytes.RemoveRange(end, next - end);
    }

    private void Nest(List<byte> bytes, int at)
    {
        (string open, string close) = ((string, string)[])[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("{{", "}}"), ("{%", "%}"), ("(?:", ")*")] is { } pairs ? pairs[_random.Next(pairs.Length)] : default;
        int depth = 1 << _random.Next(12), end = Math.Min(bytes.Count, at + 1 + _random.Next(8));
        byte[] before = Repeat(open, depth), after = Repeat(close, _random.Next(4) == 0 ? 0 : depth);
        bytes.InsertRange(end, after);
        bytes.InsertRange(at, before);
    }

    private static byte[] Repeat(string text, int count) => Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(text, count)));

    private static bool IsWord(byte b) => char.IsAsciiLetterOrDigit((char)b) || b is (byte)'.' or (byte)'-' or (byte)'+' or (byte)'_';

    private static void Overwrite(List<byte> bytes, int at, byte[] with)
    {
        for (int i = 0; i < with.Length; i++)
            if (at + i < bytes.Count)
                bytes[at + i] = with[i];
            else
                bytes.Add(with[i]);
    }
}
