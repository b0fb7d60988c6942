namespace EdgeLora.Core;

/// <summary>
/// <c>adapter_model.bin</c>, <c>pytorch_model.bin</c>, <c>*.pt</c>: what torch.save writes since 1.6, a <see cref="StoredZip"/> with one folder:
/// <code>
/// name/data.pkl      a pickle (protocol 2) of a dictionary: tensor name -> _rebuild_tensor_v2(storage id, offset, shape, strides, ...)
/// name/data/KEY      the bytes of storage KEY, row-major, little-endian, uncompressed
/// name/byteorder     "little" (newer files); name/version and others are not read
/// </code>
/// The pickle is data here: <see cref="PickleMachine"/> runs nothing. Nested dictionaries join their keys with dots; a bare tensor or a list is named
/// "tensor", "0", "1"... Contiguous tensors are views into the mapped file; transposed ones are gathered into memory, at most twice the file in all.
/// Refused by name: files before torch 1.6 (no zip), compressed archives, any other callable (parameters, quantised tensors, numpy, whole modules), values that are no tensors,
/// tensors that repeat their storage (stride 0), storages whose size is not what the pickle says. Source: torch/serialization.py.
/// </summary>
public static class TorchPickle
{
    private const int MaxDepth = 16, MaxDimensions = 64, MaxName = 1024;

    /// <summary>Opens <paramref name="path"/>. Throws <see cref="ModelFileException"/> with every fault found.</summary>
    /// <param name="path">The file.</param>
    /// <param name="verify">Compares every storage with its CRC-32: reads all bytes once.</param>
    public static TensorFile Open(string path, bool verify = true)
    {
        MappedFile file = Safetensors.Map(path);
        try
        {
            if (!StoredZip.IsZip(file))
                throw NoZip(path, file);
            StoredZip zip = new(path, file);
            string root = FindRoot(path, zip);
            if (zip.Entries.TryGetValue(root + "byteorder", out StoredZip.Entry order) && !zip.Bytes(order).SequenceEqual("little"u8))
                throw new ModelFileException(path, "byteorder: expected little");
            StoredZip.Entry data = zip.Entries[root + "data.pkl"];
            zip.CheckCrc(data);
            Reader reader = new(path, file, zip, root + "data/", verify);
            reader.Add("", PickleMachine.Run(path, zip.Bytes(data)), 0);
            return reader.Finish();
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes tensors under their names as torch.save writes a state dict; atomic. Throws <see cref="ArgumentException"/> for types or names that it does not have, or 4 GiB.</summary>
    public static void Write(string path, IReadOnlyList<Tensor> tensors, CancellationToken cancellation = default) => TorchPickleWriter.Write(path, tensors, cancellation);

    private static ModelFileException NoZip(string path, MappedFile file)
    {
        // A bare pickle is refused either way; looking into it tells a hostile one from an old one.
        if (file.Length > 1 && file.Length < 64 << 20 && file.Bytes(0, 1)[0] == 0x80)
            PickleMachine.Run(path, file.Bytes(0, (int)file.Length));
        return new(path, $"is no zip, it begins with {Convert.ToHexString(file.Bytes(0, (int)Math.Min(file.Length, 4)))}: expected what torch.save writes since 1.6; the older formats are not read. Load it there and save it again");
    }

    private static string FindRoot(string path, StoredZip zip)
    {
        string[] found = [.. zip.Entries.Keys.Where(n => n == "data.pkl" || n.EndsWith("/data.pkl", StringComparison.Ordinal))];
        return found.Length == 1
            ? found[0][..^"data.pkl".Length]
            : throw new ModelFileException(path, $"expected one data.pkl, found {found.Length}");
    }

    private sealed class Reader(string path, MappedFile file, StoredZip zip, string dataFolder, bool verify)
    {
        private readonly FaultList _faults = new(path);
        private readonly Dictionary<string, Tensor> _tensors = [];
        private readonly List<TensorStorage> _storages = [file];
        private readonly HashSet<string> _checked = [];
        private long _gatherBudget = 2 * file.Length;
        private long _visits = Math.Min(1_000_000, 1024 + file.Length / 16);

        public TensorFile Finish()
        {
            _faults.ThrowIfAny();
            return new(path, _tensors, new Dictionary<string, string>(), _storages);
        }

        public void Add(string name, object? value, int depth)
        {
            // A pickle can hold one dictionary many times: walking must end even where the data is small.
            if (depth > MaxDepth || --_visits < 0 || name.Length > MaxName)
                throw new ModelFileException(path, $"pickle: {(name.Length > 80 ? name[..80] + "..." : name)} nests deeper than {MaxDepth}, repeats itself or has a name over {MaxName}");
            switch (value)
            {
                case PickleTensor tensor:
                    AddTensor(name.Length == 0 ? "tensor" : name, tensor);
                    break;
                case PickleContainer { IsDictionary: true } dictionary:
                    for (int i = 0; i < dictionary.Items.Count; i += 2)
                        if (dictionary.Items[i] is string key)
                            Add(Join(name, key), dictionary.Items[i + 1], depth + 1);
                        else
                            _faults.Add($"pickle: {name}: a key is {Kind(dictionary.Items[i])}, expected a string");
                    break;
                case PickleContainer list when list.Items.Count > 0:
                    AddAll(name, list.Items, depth);
                    break;
                case object?[] { Length: > 0 } tuple:
                    AddAll(name, tuple, depth);
                    break;
                default:
                    _faults.Add($"pickle: {(name.Length == 0 ? "the file" : name)} holds {Kind(value)}, expected a tensor");
                    break;
            }
        }

        private void AddAll(string name, IReadOnlyList<object?> items, int depth)
        {
            for (int i = 0; i < items.Count; i++)
                Add(Join(name, i.ToString(System.Globalization.CultureInfo.InvariantCulture)), items[i], depth + 1);
        }

        private void AddTensor(string name, PickleTensor tensor)
        {
            if (_tensors.ContainsKey(name))
                _faults.Add($"{name}: the name is given twice");
            else if (Build(name, tensor) is Tensor built)
                _tensors.Add(name, built);
        }

        private Tensor? Build(string name, PickleTensor tensor)
        {
            PickleStorage storage = tensor.Storage;
            int size = storage.Type.BlockBytes();
            if (!zip.Entries.TryGetValue(dataFolder + storage.Key, out StoredZip.Entry entry))
                return Fault(name, $"its storage '{storage.Key}' is not in the archive");
            if (storage.Elements < 0 || storage.Elements > long.MaxValue / size || storage.Elements * size != entry.Length)
                return Fault(name, $"its storage '{storage.Key}' has {entry.Length} bytes, expected {storage.Elements} elements of {size}");
            if (tensor.Offset is not long offset || Longs(tensor.Shape) is not long[] shape || Longs(tensor.Strides) is not long[] strides || shape.Length != strides.Length)
                return Fault(name, "its offset, shape and strides are no whole numbers of one rank");
            if (offset < 0 || Array.Exists(shape, d => d < 0) || Array.Exists(strides, s => s < 0) || shape.Length > MaxDimensions)
                return Fault(name, $"offset {offset}, shape [{string.Join(", ", shape)}], strides [{string.Join(", ", strides)}]: expected none below zero and at most {MaxDimensions} dimensions");
            try
            {
                return Place(name, storage, entry, offset, new Shape(shape), strides);
            }
            catch (Exception e) when (e is ArgumentException or OverflowException)
            {
                return Fault(name, $"[{string.Join(", ", shape)}] does not fit: {e.Message}");
            }
        }

        private Tensor? Place(string name, PickleStorage storage, StoredZip.Entry entry, long offset, Shape shape, long[] strides)
        {
            long last = offset;
            for (int i = 0; i < strides.Length && shape.Elements > 0; i++)
                last = checked(last + (shape[i] - 1) * strides[i]);
            if (shape.Elements > 0 ? last >= storage.Elements : offset > storage.Elements)
                return Fault(name, $"{shape} from offset {offset} with strides [{string.Join(", ", strides)}] needs {last + 1} elements, its storage has {storage.Elements}");
            // More elements than the storage has: one byte would be read as many (torch's expand).
            if (shape.Elements > storage.Elements)
                return Fault(name, $"{shape} repeats the {storage.Elements} elements of its storage");
            if (verify && _checked.Add(storage.Key))
                zip.CheckCrc(entry);
            int size = storage.Type.BlockBytes();
            if (shape.Elements == 0 || IsContiguous(shape, strides))
                return new Tensor(name, storage.Type, shape, file, entry.Offset + offset * size);
            long bytes = shape.Elements * size;
            if ((_gatherBudget -= bytes) < 0)
                return Fault(name, "the transposed tensors together are more than twice the file");
            ArrayStorage gathered = new(checked((int)bytes));
            _storages.Add(gathered);
            Gather(zip.Bytes(entry), gathered.Writable, offset, shape, strides, size);
            return new Tensor(name, storage.Type, shape, gathered);
        }

        private Tensor? Fault(string name, string fault)
        {
            _faults.Add($"{name}: {fault}");
            return null;
        }

        private static void Gather(ReadOnlySpan<byte> source, Span<byte> destination, long offset, Shape shape, long[] strides, int size)
        {
            Span<long> index = stackalloc long[shape.Rank];
            index.Clear();
            for (int at = 0; at < destination.Length; at += size)
            {
                source.Slice((int)(offset * size), size).CopyTo(destination[at..]);
                for (int axis = shape.Rank - 1; axis >= 0; axis--)
                {
                    offset += strides[axis];
                    if (++index[axis] < shape[axis])
                        break;
                    offset -= shape[axis] * strides[axis];
                    index[axis] = 0;
                }
            }
        }

        private static bool IsContiguous(Shape shape, long[] strides)
        {
            long expected = 1;
            for (int axis = strides.Length - 1; axis >= 0; axis--)
            {
                // The stride of an axis of one element is never used; torch leaves any number there.
                if (shape[axis] != 1 && strides[axis] != expected)
                    return false;
                expected *= shape[axis];
            }
            return true;
        }

        private static long[]? Longs(object? value)
        {
            if (value is not object?[] items || !Array.TrueForAll(items, i => i is long))
                return null;
            return Array.ConvertAll(items, i => (long)i!);
        }

        // A name past the limit is refused where it arrives: it need not be built in full.
        private static string Join(string name, string key) => name.Length == 0 || key.Length > MaxName ? key : $"{name}.{key}";

        private static string Kind(object? value) => value switch
        {
            null => "None",
            string => "a string",
            long => "a number",
            double => "a number",
            bool => "a boolean",
            byte[] => "bytes",
            object?[] => "an empty tuple",
            PickleContainer => "an empty list",
            PickleGlobal g => $"the name {g}",
            PickleStorage => "a storage",
            _ => "a large number",
        };
    }
}
