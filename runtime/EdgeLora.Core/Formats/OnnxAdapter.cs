using System.Buffers.Binary;
using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// An opened <c>.onnx_adapter</c> file: ONNX Runtime's container of named tensors that become inputs of a graph. A FlatBuffers file (<see cref="FlatTable"/>), little-endian, less than 2 GiB:
/// <code>
/// 0  u32 distance to the root table
/// 4  "TORT"
/// Adapter     0 format_version int (1)   1 adapter_version int   2 model_version int   3 parameters [Parameter]
/// Parameter   0 name string   1 dims [int64]   2 data_type int (ONNX's numbers: 1 float, 10 float16, 16 bfloat16, …)   3 raw_data [ubyte]
/// </code>
/// The schema asks for raw_data on multiples of 8; ONNX Runtime's own writer keeps multiples of 4 only. A version of 0 may be absent. What the tensors mean is not part of the format: see
/// <see cref="OnnxLowRank"/>. onnxruntime-genai's forerunner of July 2024 (<c>.fb</c>, "GAIL") has the same parameters, in the root's field 1, and no versions but the format's; it is read too. Source: microsoft/onnxruntime, onnxruntime/lora/adapter_format/adapter_schema.fbs.
/// </summary>
public sealed class OnnxAdapter : IDisposable
{
    /// <summary>The file extension, with its dot.</summary>
    public const string Extension = ".onnx_adapter";

    private const int FormatVersion = 1, MaxName = 1024, MaxRank = 32;

    // Both tables have four fields of 4 bytes in the schema's order, so one vtable does for all.
    private const int VtableAt = 8, VtableBytes = 12, TableBytes = 20, RootAt = VtableAt + VtableBytes, VectorAt = RootAt + TableBytes;

    private static readonly (int Number, DType Type)[] s_types =
    [
        (1, DType.F32), (2, DType.U8), (3, DType.I8), (4, DType.U16), (5, DType.I16), (6, DType.I32), (7, DType.I64), (9, DType.Bool), (10, DType.F16), (11, DType.F64),
        (12, DType.U32), (13, DType.U64), (14, DType.C64), (16, DType.BF16), (17, DType.F8E4M3), (19, DType.F8E5M2),
    ];

    private OnnxAdapter(TensorFile file, int adapterVersion, int modelVersion)
    {
        File = file;
        AdapterVersion = adapterVersion;
        ModelVersion = modelVersion;
    }

    private static ReadOnlySpan<byte> Identifier => "TORT"u8;

    private static ReadOnlySpan<byte> ForerunnerIdentifier => "GAIL"u8;

    /// <summary>The tensors, mapped, in file order.</summary>
    public TensorFile File { get; }

    /// <summary>The version that the writer gave the adapter.</summary>
    public int AdapterVersion { get; }

    /// <summary>The version of the model that it was made for.</summary>
    public int ModelVersion { get; }

    /// <summary>Opens <paramref name="path"/>. Throws <see cref="ModelFileException"/> for anything that is not the layout above.</summary>
    public static OnnxAdapter Read(string path)
    {
        MappedFile file = Safetensors.Map(path);
        try
        {
            if (file.Length > int.MaxValue)
                throw new ModelFileException(path, $"{file.Length} bytes; the format has less than 2 GiB");
            ReadOnlySpan<byte> bytes = file.Bytes(0, (int)file.Length);
            bool forerunner = bytes.Length >= 8 && bytes[4..].StartsWith(ForerunnerIdentifier);
            FlatTable root = FlatTable.Root(bytes, path, "Adapter", forerunner ? ForerunnerIdentifier : Identifier);
            if (root.Int(0, "format_version") is int version && version != FormatVersion)
                throw new ModelFileException(path, $"format_version: expected {FormatVersion}, found {version}");
            return forerunner ? new(new(path, Place(path, file, root, 1), new Dictionary<string, string>(), [file]), 0, 0)
                : new(new(path, Place(path, file, root, 3), new Dictionary<string, string>(), [file]), root.Int(1, "adapter_version"), root.Int(2, "model_version"));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes <paramref name="tensors"/> in the given order; atomic, in constant memory beside the names. Throws <see cref="ArgumentException"/> for what <see cref="Read"/> would refuse.</summary>
    public static void Write(string path, IReadOnlyList<Tensor> tensors, int adapterVersion = 1, int modelVersion = 1, CancellationToken cancellation = default)
    {
        HashSet<string> names = [];
        foreach (Tensor tensor in tensors)
        {
            if (Number(tensor.Type) == 0)
                throw new ArgumentException($"{path}: {tensor.Name}: ONNX has no {tensor.Type}");
            if (tensor.Name.Length == 0 || Encoding.UTF8.GetByteCount(tensor.Name) > MaxName || !names.Add(tensor.Name))
                throw new ArgumentException($"{path}: '{tensor.Name}': expected a name of its own of 1..{MaxName} bytes");
            if (tensor.Shape.Rank > MaxRank)
                throw new ArgumentException($"{path}: {tensor.Name}: {tensor.Shape.Rank} dimensions; at most {MaxRank} are read");
        }
        (byte[] head, long length) = Head(tensors, adapterVersion, modelVersion);
        if (length > int.MaxValue)
            throw new ArgumentException($"{path}: {length} bytes; the format has less than 2 GiB");
        AtomicFile.Write(path, stream =>
        {
            stream.Write(head);
            long at = head.Length;
            Span<byte> word = stackalloc byte[8];
            foreach (Tensor tensor in tensors)
            {
                cancellation.ThrowIfCancellationRequested();
                int pad = (int)(Before8(at) - at);
                word.Clear();
                stream.Write(word[..pad]);
                BinaryPrimitives.WriteInt32LittleEndian(word, (int)tensor.ByteLength);
                stream.Write(word[..4]);
                stream.Write(tensor.Bytes);
                at += pad + 4 + tensor.ByteLength;
            }
        });
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose() => File.Dispose();

    private static Dictionary<string, Tensor> Place(string path, MappedFile file, FlatTable root, int field)
    {
        FaultList faults = new(path);
        Dictionary<string, Tensor> tensors = [];
        int start = root.VectorStart(field, "parameters", 4, out int count);
        long bytes = 0, nameBytes = 0;
        HashSet<string> names = [];
        // What is told of a fault may be longer than the fault: no more than are told are looked for.
        for (int i = 0; i < count && faults.Count <= FaultList.Limit; i++)
        {
            FlatTable parameter = root.Element(start, i, $"parameter {i}");
            string name = parameter.Text(0, "name", MaxName);
            // At once: tables may be shared, so a small file could hold one of them any number of times.
            if (name.Length == 0 || !names.Add(name))
                throw new ModelFileException(path, name.Length == 0 ? $"parameter {i}: name: is missing" : $"{name}: is there twice");
            // From here on messages have its name.
            parameter = root.Element(start, i, name);
            nameBytes += name.Length;
            if (nameBytes > file.Length)
                throw new ModelFileException(path, $"parameter {i}: name: {nameBytes} bytes of names in a file of {file.Length}: parameters share them");
            int dataStart = parameter.VectorStart(3, "raw_data", 1, out int length);
            bytes += length;
            if (ReadShape(parameter, name, faults) is not { } shape)
                continue;
            int number = parameter.Int(2, "data_type");
            if (Array.Find(s_types, t => t.Number == number) is not { Number: > 0 } known)
                faults.Add($"{name}: data_type: {number} is none that is read");
            else if (shape.Elements > int.MaxValue || known.Type.Bytes(shape.Elements) != length)
                faults.Add($"{name}: raw_data: {known.Type} {shape} does not fit {length} bytes");
            else
                tensors.Add(name, new(name, known.Type, shape, file, dataStart));
        }
        if (bytes > file.Length)
            faults.Add($"raw_data: {bytes} bytes in a file of {file.Length}: parameters share their bytes");
        faults.ThrowIfAny();
        return tensors;
    }

    private static Shape? ReadShape(FlatTable parameter, string name, FaultList faults)
    {
        ReadOnlySpan<byte> dims = parameter.Vector(1, "dims", 8, out int rank);
        if (rank > MaxRank)
        {
            faults.Add($"{name}: dims: {rank} dimensions; at most {MaxRank} are read");
            return null;
        }
        long[] dimensions = new long[rank];
        for (int d = 0; d < rank; d++)
            dimensions[d] = BinaryPrimitives.ReadInt64LittleEndian(dims[(8 * d)..]);
        try
        {
            return new Shape(dimensions);
        }
        catch (Exception e) when (e is ArgumentOutOfRangeException or OverflowException)
        {
            faults.Add($"{name}: dims: [{string.Join(", ", dimensions)}] is no shape");
            return null;
        }
    }

    // Everything but the tensors' bytes, and the whole file's length. Every distance leads forward, so all positions are known in one pass.
    private static (byte[] Head, long Length) Head(IReadOnlyList<Tensor> tensors, int adapterVersion, int modelVersion)
    {
        int[] tables = new int[tensors.Count];
        long at = VectorAt + 4 + 4L * tensors.Count;
        for (int i = 0; i < tensors.Count; i++)
        {
            tables[i] = checked((int)at);
            at = DimsAt(tables[i], tensors[i]) + 4 + 8 * tensors[i].Shape.Rank;
        }
        byte[] head = new byte[checked((int)at)];
        void Put(long position, long value) => BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan((int)position), checked((int)value));
        void Table(int position, ReadOnlySpan<long> fields)
        {
            Put(position, position - VtableAt);
            for (int f = 0; f < 4; f++)
                Put(position + 4 + 4 * f, fields[f]);
        }
        Put(0, RootAt);
        Identifier.CopyTo(head.AsSpan(4));
        for (int word = 0; word < 6; word++)
            BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(VtableAt + 2 * word), word switch { 0 => VtableBytes, 1 => TableBytes, _ => (ushort)(4 * (word - 1)) });
        Table(RootAt, [FormatVersion, adapterVersion, modelVersion, VectorAt - (RootAt + 16)]);
        Put(VectorAt, tensors.Count);
        for (int i = 0; i < tensors.Count; i++)
        {
            Tensor tensor = tensors[i];
            int table = tables[i], name = table + TableBytes, dims = DimsAt(table, tensor);
            at = Before8(at);
            Put(VectorAt + 4 + 4 * i, table - (VectorAt + 4 + 4 * i));
            // A file that grows past 2 GiB is refused by its length.
            Table(table, [name - (table + 4), dims - (table + 8), Number(tensor.Type), Math.Min(at - (table + 16), int.MaxValue)]);
            Put(name, Encoding.UTF8.GetBytes(tensor.Name, head.AsSpan(name + 4)));
            Put(dims, tensor.Shape.Rank);
            for (int d = 0; d < tensor.Shape.Rank; d++)
                BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(dims + 4 + 8 * d), tensor.Shape[d]);
            at += 4 + tensor.ByteLength;
        }
        return (head, at);
    }

    // Where the count of a parameter's dims stands: behind its table, its name and the name's closing 0.
    private static int DimsAt(int table, Tensor tensor) => (int)Before8(table + TableBytes + 4 + Encoding.UTF8.GetByteCount(tensor.Name) + 1);

    // The next position whose following word begins on a multiple of 8.
    private static long Before8(long at) => (at + 3) / 8 * 8 + 4;

    private static int Number(DType type) => Array.Find(s_types, t => t.Type == type).Number;
}
