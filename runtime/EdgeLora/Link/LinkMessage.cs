using System.Buffers;
using System.Collections;
using System.Text;
using MessagePack;

namespace EdgeLora;

/// <summary>
/// One message of the link: a MessagePack map with text keys. Values are nil, true and false, whole numbers of 64 bits, F64, UTF-8 text, bytes, lists and maps of them; nothing deeper than <see cref="MaxDepth"/>.
/// <code>
/// request   {v: 1, id: number from 1, do: name, …}
/// answer    {v: 1, id: the request's, …}                    more: true in all parts but the last
/// error     {v: 1, id: the request's or 0, error: text, kind: name, faults: [text]}
/// event     {v: 1, id: of the tail request, event: name, …}
/// </code>
/// </summary>
internal sealed class LinkMessage : IEnumerable<KeyValuePair<string, object?>>
{
    /// <summary>Of the protocol.</summary>
    public const int Version = 1;

    private const int MaxDepth = 4;

    private static readonly UTF8Encoding s_utf8 = new(false, throwOnInvalidBytes: true);
    private readonly Dictionary<string, object?> _fields = new(StringComparer.Ordinal);

    /// <summary>A field; null where it is absent.</summary>
    public object? this[string name]
    {
        get => _fields.GetValueOrDefault(name);
        set => _fields[name] = value;
    }

    public bool Has(string name) => this[name] is not null;

    public string Text(string name) => TextOrNull(name) ?? throw Missing(name, "a text");

    public string? TextOrNull(string name) => this[name] switch
    {
        null => null,
        string text => text,
        object other => throw Wrong(name, "a text", other),
    };

    public long Number(string name, long least = long.MinValue, long most = long.MaxValue) => this[name] switch
    {
        long number when number >= least && number <= most => number,
        long number => throw new LinkException(LinkErrorKind.Usage, $"{name}: expected {least}..{most}, found {number}"),
        null => throw Missing(name, "a whole number"),
        object other => throw Wrong(name, "a whole number", other),
    };

    public double Real(string name) => this[name] switch
    {
        double number => number,
        long number => number,
        null => throw Missing(name, "a number"),
        object other => throw Wrong(name, "a number", other),
    };

    public bool Flag(string name) => this[name] switch
    {
        null => false,
        bool flag => flag,
        object other => throw Wrong(name, "true or false", other),
    };

    public ReadOnlyMemory<byte> Bytes(string name) => this[name] switch
    {
        ReadOnlyMemory<byte> bytes => bytes,
        null => throw Missing(name, "bytes"),
        object other => throw Wrong(name, "bytes", other),
    };

    public IReadOnlyList<LinkMessage> Maps(string name) => List<LinkMessage>(name, "a list of maps");

    public IReadOnlyList<string> Texts(string name) => List<string>(name, "a list of texts");

    /// <summary>As it goes over the wire, without its length.</summary>
    public byte[] Encode()
    {
        ArrayBufferWriter<byte> bytes = new();
        MessagePackWriter writer = new(bytes);
        Write(ref writer, this);
        writer.Flush();
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Reads one message, which must take all of <paramref name="bytes"/>; byte values are views into them. Throws <see cref="LinkException"/>.</summary>
    public static LinkMessage Decode(ReadOnlyMemory<byte> bytes)
    {
        MessagePackReader reader = new(bytes);
        try
        {
            if (reader.NextMessagePackType != MessagePackType.Map)
                throw new LinkException(LinkErrorKind.Frame, $"a message is a map, found {reader.NextMessagePackType}");
            LinkMessage message = (LinkMessage)Read(ref reader, 0)!;
            return reader.End ? message : throw new LinkException(LinkErrorKind.Frame, "bytes follow the end of the message");
        }
        // What the reader throws on its own: bytes that end too soon, a number too large, a text longer than what is left, a code that is no value.
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException or ArgumentOutOfRangeException or InvalidOperationException or DecoderFallbackException)
        {
            throw new LinkException(LinkErrorKind.Frame, $"not a message: {e.Message}", inner: e);
        }
    }

    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => _fields.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static object? Read(ref MessagePackReader reader, int depth)
    {
        if (depth > MaxDepth)
            throw new LinkException(LinkErrorKind.Frame, $"a message is nested at most {MaxDepth} deep");
        switch (reader.NextMessagePackType)
        {
            case MessagePackType.Nil:
                reader.ReadNil();
                return null;
            case MessagePackType.Boolean:
                return reader.ReadBoolean();
            case MessagePackType.Integer:
                return reader.ReadInt64();
            case MessagePackType.Float:
                return reader.ReadDouble();
            case MessagePackType.String:
                return s_utf8.GetString(reader.ReadStringSequence()!.Value);
            case MessagePackType.Binary:
                return reader.ReadBytes()!.Value.First;
            case MessagePackType.Array:
                object?[] list = new object?[Count(ref reader, reader.ReadArrayHeader(), 1)];
                for (int i = 0; i < list.Length; i++)
                    list[i] = Read(ref reader, depth + 1);
                return list;
            case MessagePackType.Map:
                LinkMessage map = new();
                for (int left = Count(ref reader, reader.ReadMapHeader(), 2); left > 0; left--)
                {
                    string key = Read(ref reader, MaxDepth) as string ?? throw new LinkException(LinkErrorKind.Frame, "a key is a text");
                    if (!map._fields.TryAdd(key, Read(ref reader, depth + 1)))
                        throw new LinkException(LinkErrorKind.Frame, "a key is given twice");
                }
                return map;
            default:
                throw new LinkException(LinkErrorKind.Frame, $"a message has no values of {reader.NextMessagePackType}");
        }
    }

    private static int Count(ref MessagePackReader reader, int count, int leastBytes)
    {
        long left = reader.Sequence.Slice(reader.Position).Length;
        return count <= left / leastBytes ? count : throw new LinkException(LinkErrorKind.Frame, $"{count} entries are promised, {left} bytes are left");
    }

    private static void Write(ref MessagePackWriter writer, object? value)
    {
        switch (value)
        {
            case null:
                writer.WriteNil();
                break;
            case bool flag:
                writer.Write(flag);
                break;
            case int number:
                writer.Write(number);
                break;
            case long number:
                writer.Write(number);
                break;
            case double number:
                writer.Write(number);
                break;
            case string text:
                writer.Write(text);
                break;
            case ReadOnlyMemory<byte> bytes:
                writer.Write(bytes.Span);
                break;
            case LinkMessage map:
                writer.WriteMapHeader(map._fields.Count);
                foreach ((string key, object? field) in map._fields)
                {
                    writer.Write(key);
                    Write(ref writer, field);
                }
                break;
            case IReadOnlyList<object?> list:
                writer.WriteArrayHeader(list.Count);
                foreach (object? entry in list)
                    Write(ref writer, entry);
                break;
            default:
                throw new ArgumentException($"a message has no values of {value.GetType().Name}");
        }
    }

    private IReadOnlyList<T> List<T>(string name, string what)
    {
        if (this[name] is not object?[] list)
            throw this[name] is { } other ? Wrong(name, what, other) : Missing(name, what);
        return [.. list.Select(e => e is T entry ? entry : throw Wrong(name, what, e ?? "nil"))];
    }

    private static LinkException Missing(string name, string what) => new(LinkErrorKind.Usage, $"{name}: expected {what}, found nothing");

    private static LinkException Wrong(string name, string what, object other) => new(LinkErrorKind.Usage, $"{name}: expected {what}, found {Kind(other)}");

    private static string Kind(object value) => value switch
    {
        bool => "true or false",
        long or double => "a number",
        string => "a text",
        LinkMessage => "a map",
        object?[] => "a list",
        _ => "bytes",
    };
}
