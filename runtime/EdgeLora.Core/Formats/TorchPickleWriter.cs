using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// Writes what <see cref="TorchPickle"/> reads and torch.load(weights_only=True) takes: an OrderedDict of tensors, one storage each, in a zip without compression. Storages begin on multiples of 64, as torch
/// aligns them with an extra field, so that a reader may map them. Less than 4 GiB. Source: torch/serialization.py, caffe2/serialize/inline_container.cc.
/// </summary>
internal static class TorchPickleWriter
{
    private const string Root = "archive/";
    private const int Alignment = 64, LocalBytes = 30, EntryBytes = 46;
    private const ushort PaddingExtra = 0x4246;

    private static readonly (DType Type, string Storage)[] s_storages =
    [
        (DType.F32, "FloatStorage"), (DType.F16, "HalfStorage"), (DType.BF16, "BFloat16Storage"), (DType.F64, "DoubleStorage"), (DType.I64, "LongStorage"), (DType.I32, "IntStorage"),
        (DType.I16, "ShortStorage"), (DType.I8, "CharStorage"), (DType.U8, "ByteStorage"), (DType.Bool, "BoolStorage"),
    ];

    public static void Write(string path, IReadOnlyList<Tensor> tensors, CancellationToken cancellation)
    {
        HashSet<string> names = [];
        foreach (Tensor tensor in tensors)
        {
            if (!Array.Exists(s_storages, s => s.Type == tensor.Type))
                throw new ArgumentException($"{path}: {tensor.Name}: torch has no {tensor.Type}");
            if (tensor.Name.Length == 0 || !names.Add(tensor.Name))
                throw new ArgumentException($"{path}: '{tensor.Name}': expected a name of its own");
        }
        if (tensors.Sum(t => t.ByteLength + 1024) > uint.MaxValue)
            throw new ArgumentException($"{path}: 4 GiB and more are not written");
        AtomicFile.Write(path, stream =>
        {
            List<(string Name, long At, uint Crc, long Length)> entries = [];
            void Add(string name, ReadOnlySpan<byte> bytes)
            {
                cancellation.ThrowIfCancellationRequested();
                uint crc = Crc32.HashToUInt32(bytes);
                entries.Add((Root + name, stream.Position, crc, bytes.Length));
                WriteLocal(stream, Root + name, crc, bytes.Length);
                stream.Write(bytes);
            }
            Add("data.pkl", Pickle(tensors));
            Add("byteorder", "little"u8);
            for (int i = 0; i < tensors.Count; i++)
                Add($"data/{i}", tensors[i].Bytes);
            Add("version", "3\n"u8);
            WriteDirectory(stream, entries);
        });
    }

    // Protocol 2. Names are looked up each time: nothing is memoised, so nothing refers back.
    private static byte[] Pickle(IReadOnlyList<Tensor> tensors)
    {
        using MemoryStream pickle = new();
        using BinaryWriter writer = new(pickle);
        writer.Write([0x80, 2]);
        Global(writer, "collections", "OrderedDict");
        writer.Write(")R("u8);
        for (int i = 0; i < tensors.Count; i++)
        {
            Tensor tensor = tensors[i];
            Text(writer, tensor.Name);
            Global(writer, "torch._utils", "_rebuild_tensor_v2");
            writer.Write("(("u8);
            Text(writer, "storage");
            Global(writer, "torch", Array.Find(s_storages, s => s.Type == tensor.Type).Storage);
            Text(writer, i.ToString(System.Globalization.CultureInfo.InvariantCulture));
            Text(writer, "cpu");
            Number(writer, tensor.Shape.Elements);
            writer.Write("tQ"u8);
            Number(writer, 0);
            Tuple(writer, tensor.Shape.Dimensions.ToArray());
            Tuple(writer, Strides(tensor.Shape));
            // requires_grad False, no hooks.
            writer.Write([0x89]);
            Global(writer, "collections", "OrderedDict");
            writer.Write(")RtR"u8);
        }
        writer.Write("u."u8);
        return pickle.ToArray();
    }

    private static long[] Strides(Shape shape)
    {
        long[] strides = new long[shape.Rank];
        long stride = 1;
        for (int d = shape.Rank - 1; d >= 0; d--)
        {
            strides[d] = stride;
            stride *= Math.Max(shape[d], 1);
        }
        return strides;
    }

    private static void Global(BinaryWriter writer, string module, string name) => writer.Write(Encoding.ASCII.GetBytes($"c{module}\n{name}\n"));

    private static void Text(BinaryWriter writer, string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        writer.Write((byte)'X');
        writer.Write(utf8.Length);
        writer.Write(utf8);
    }

    private static void Number(BinaryWriter writer, long number)
    {
        if (number is >= 0 and <= int.MaxValue)
        {
            writer.Write((byte)'J');
            writer.Write((int)number);
        }
        else
        {
            writer.Write([0x8A, 8]);
            writer.Write(number);
        }
    }

    private static void Tuple(BinaryWriter writer, long[] numbers)
    {
        writer.Write((byte)'(');
        foreach (long number in numbers)
            Number(writer, number);
        writer.Write((byte)'t');
    }

    private static void WriteLocal(Stream stream, string name, uint crc, long length)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(name);
        // An extra field is 4 bytes at least.
        int padding = (int)((Alignment - (stream.Position + LocalBytes + utf8.Length + 4) % Alignment) % Alignment);
        Span<byte> header = stackalloc byte[LocalBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0x04034b50);
        Common(header[4..], crc, length, utf8.Length, padding + 4);
        stream.Write(header);
        stream.Write(utf8);
        Span<byte> extra = stackalloc byte[4 + Alignment];
        extra.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(extra, PaddingExtra);
        BinaryPrimitives.WriteUInt16LittleEndian(extra[2..], (ushort)padding);
        stream.Write(extra[..(4 + padding)]);
    }

    private static void WriteDirectory(Stream stream, List<(string Name, long At, uint Crc, long Length)> entries)
    {
        long start = stream.Position;
        Span<byte> header = stackalloc byte[EntryBytes];
        foreach ((string name, long at, uint crc, long length) in entries)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(name);
            header.Clear();
            BinaryPrimitives.WriteUInt32LittleEndian(header, 0x02014b50);
            Common(header[6..], crc, length, utf8.Length, 0);
            BinaryPrimitives.WriteUInt32LittleEndian(header[42..], (uint)at);
            stream.Write(header);
            stream.Write(utf8);
        }
        long size = stream.Position - start;
        Span<byte> end = stackalloc byte[22];
        end.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(end, 0x06054b50);
        BinaryPrimitives.WriteUInt16LittleEndian(end[8..], checked((ushort)entries.Count));
        BinaryPrimitives.WriteUInt16LittleEndian(end[10..], checked((ushort)entries.Count));
        BinaryPrimitives.WriteUInt32LittleEndian(end[12..], (uint)size);
        BinaryPrimitives.WriteUInt32LittleEndian(end[16..], checked((uint)start));
        stream.Write(end);
    }

    // Version, flags, method (stored), time, date, CRC, both sizes, lengths of name and extra: alike in both headers. The first of January 1980, the same bytes every time.
    private static void Common(Span<byte> fields, uint crc, long length, int nameBytes, int extraBytes)
    {
        fields[..26].Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(fields[8..], 0x21);
        BinaryPrimitives.WriteUInt32LittleEndian(fields[10..], crc);
        BinaryPrimitives.WriteUInt32LittleEndian(fields[14..], (uint)length);
        BinaryPrimitives.WriteUInt32LittleEndian(fields[18..], (uint)length);
        BinaryPrimitives.WriteUInt16LittleEndian(fields[22..], (ushort)nameBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(fields[24..], (ushort)extraBytes);
    }
}
