using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace EdgeLora.Core;

/// <summary>A name that a pickle asked for and that is allowed; it names, it is never called.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>A storage that a pickle refers to by its persistent id: not yet looked up, not yet believed.</summary>
internal sealed record PickleStorage(DType Type, string Key, long Elements);

/// <summary>A tensor as a pickle describes it: numbers not yet believed. They are checked where the tensor's name is known.</summary>
internal sealed record PickleTensor(PickleStorage Storage, object? Offset, object? Shape, object? Strides);

/// <summary>A pickled list or dictionary. A dictionary is its pairs in order: keys are compared by the reader, never hashed here.</summary>
internal sealed class PickleContainer(bool isDictionary)
{
    public bool IsDictionary => isDictionary;

    /// <summary>Items, or key and value in turn.</summary>
    public List<object?> Items { get; } = new(0);
}

/// <summary>
/// A pickle's stack machine that can build data and nothing else. Opcodes are those of protocols 0 to 5 that state dicts use (CPython's
/// Lib/pickletools.py is the specification). GLOBAL looks a name up in a fixed list; REDUCE on one of them makes a record of ours; INST, OBJ, NEWOBJ and
/// extension codes are refused; BUILD only drops the attributes of an OrderedDict. Work and memory are bounded by <see cref="MaxBytes"/>.
/// </summary>
internal ref struct PickleMachine
{
    /// <summary>Memory that the values of one pickle may take; a checkpoint of 10 000 tensors needs about 15 MB.</summary>
    private const long MaxBytes = 40 << 20;

    // What a slot, a small object and a container weigh: rounded up, so that the sum bounds the heap.
    private const int SlotBytes = 16, ObjectBytes = 32, ContainerBytes = 96, MemoBytes = 56;

    private const int MaxMarks = 64;

    private static readonly object Number = new();

    private readonly string _path;
    private readonly ReadOnlySpan<byte> _bytes;
    private readonly List<object?> _stack;
    private readonly List<int> _marks;
    private readonly Dictionary<long, object?> _memo;
    private int _at;
    private long _spent;

    private PickleMachine(string path, ReadOnlySpan<byte> bytes)
    {
        _path = path;
        _bytes = bytes;
        _stack = [];
        _marks = [];
        _memo = new(Scrambled.Instance);
    }

    /// <summary>
    /// The value of the pickle in <paramref name="bytes"/>: string, long, double, bool, null, object[] (a tuple), byte[], <see cref="PickleContainer"/>,
    /// <see cref="PickleGlobal"/>, <see cref="PickleStorage"/> or <see cref="PickleTensor"/>.
    /// </summary>
    public static object? Run(string path, ReadOnlySpan<byte> bytes)
    {
        PickleMachine machine = new(path, bytes);
        while (machine.Step())
        {
        }
        return machine.Result();
    }

    private object? Result()
    {
        if (_stack.Count != 1 || _marks.Count != 0)
            throw Fault($"ends with {_stack.Count} values and {_marks.Count} marks, expected one value");
        return _stack[0];
    }

    private bool Step()
    {
        int at = _at;
        switch ((char)Take(1)[0])
        {
            case '\x80':
                if (Take(1)[0] > 5)
                    throw Fault("has a protocol after 5");
                break;
            case '\x95':
                Take(8);
                break;
            case '.':
                return false;
            case '(':
                Spend(SlotBytes);
                if (_marks.Count == MaxMarks)
                    throw Fault($"nests deeper than {MaxMarks} marks");
                _marks.Add(_stack.Count);
                break;
            case '0':
                if (_marks.Count > 0 && _marks[^1] == _stack.Count)
                    _marks.RemoveAt(_marks.Count - 1);
                else
                    Pop();
                break;
            case '1':
                PopMark();
                break;
            case '2':
                Push(Peek());
                break;
            case 'N':
                Push(null);
                break;
            case '\x88':
                Push(true);
                break;
            case '\x89':
                Push(false);
                break;
            case 'I':
                Push(Line() switch { "00" => false, "01" => true, string text => Parse(text) });
                break;
            case 'L':
                Push(Parse(Line().TrimEnd('L')));
                break;
            case 'F':
                Push(double.TryParse(Line(), NumberStyles.Float, CultureInfo.InvariantCulture, out double real) ? real : throw Fault("holds a number that is none"));
                break;
            case 'J':
                Push((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4)));
                break;
            case 'K':
                Push((long)Take(1)[0]);
                break;
            case 'M':
                Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2)));
                break;
            case '\x8a':
                Push(Integer(Take(Take(1)[0])));
                break;
            case '\x8b':
                Push(Integer(Take(BinaryPrimitives.ReadInt32LittleEndian(Take(4)))));
                break;
            case 'G':
                Push(BinaryPrimitives.ReadDoubleBigEndian(Take(8)));
                break;
            case 'X':
                Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case '\x8c':
                Push(Text(Take(1)[0]));
                break;
            case '\x8d':
                Push(Text(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))));
                break;
            // Strings of Python 2: state dicts written there have them as keys.
            case 'U':
                Push(Text(Take(1)[0]));
                break;
            case 'T':
                Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case 'C':
                Push(Take(Take(1)[0]).ToArray());
                break;
            case 'B':
                Push(Take(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))).ToArray());
                break;
            case ')':
                Push(Array.Empty<object?>());
                break;
            case '\x85':
                PushTuple(1);
                break;
            case '\x86':
                PushTuple(2);
                break;
            case '\x87':
                PushTuple(3);
                break;
            case 't':
                Push(PopMark());
                break;
            case ']':
                Push(new PickleContainer(false));
                break;
            case 'l':
                Fill(new PickleContainer(false), PopMark(), push: true);
                break;
            case '}':
                Push(new PickleContainer(true));
                break;
            case 'd':
                Fill(new PickleContainer(true), PopMark(), push: true);
                break;
            case 'a':
                object? item = Pop();
                Fill(Top(false), [item], push: false);
                break;
            case 'e':
                object?[] items = PopMark();
                Fill(Top(false), items, push: false);
                break;
            case 's':
                object? value = Pop(), key = Pop();
                Fill(Top(true), [key, value], push: false);
                break;
            case 'u':
                object?[] pairs = PopMark();
                Fill(Top(true), pairs, push: false);
                break;
            case 'q':
                Remember(Take(1)[0]);
                break;
            case 'r':
                Remember(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case 'p':
                Remember(Parse(Line()) is long put ? put : -1);
                break;
            case '\x94':
                Remember(_memo.Count);
                break;
            case 'h':
                Recall(Take(1)[0]);
                break;
            case 'j':
                Recall(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case 'g':
                Recall(Parse(Line()) is long get ? get : -1);
                break;
            case 'c':
                string module = Line();
                Push(Allowed(module, Line()));
                break;
            case '\x93':
                object? name = Pop(), from = Pop();
                Push(Allowed(from as string ?? "?", name as string ?? "?"));
                break;
            case 'i':
                string instanceModule = Line();
                throw Fault($"makes an instance of {instanceModule}.{Line()}; nothing was run");
            case 'R':
                object? arguments = Pop();
                Push(Reduce(Pop(), arguments as object?[] ?? throw Fault("REDUCE without a tuple of arguments")));
                break;
            case 'Q':
                Push(Storage(Pop()));
                break;
            case 'b':
                if (Pop() is not PickleContainer { IsDictionary: true } || Peek() is not PickleContainer { IsDictionary: true })
                    throw Fault("BUILD on something else than an OrderedDict");
                break;
            case char code:
                throw Fault($"has the opcode 0x{(int)code:x2} at byte {at}, which state dicts do not use");
        }
        return true;
    }

    private PickleGlobal Allowed(string module, string name) => (module, name) switch
    {
        ("collections", "OrderedDict") or ("torch._utils", "_rebuild_tensor_v2") => new(module, name),
        ("torch", _) when TypeOf(name) is not null => new(module, name),
        _ => throw Fault($"asks for {Short(module)}.{Short(name)}; only collections.OrderedDict, torch._utils._rebuild_tensor_v2 and torch's typed storages are allowed; nothing was run"),
    };

    private readonly object? Reduce(object? callable, object?[] arguments)
    {
        if (callable is not PickleGlobal { Name: var name })
            throw Fault("calls something that is no name; nothing was run");
        if (name == "OrderedDict" && arguments.Length == 0)
            return new PickleContainer(true);
        if (name == "OrderedDict" && arguments is [PickleContainer { IsDictionary: false } list])
            return Ordered(list);
        if (name == "_rebuild_tensor_v2" && arguments.Length is 6 or 7 && arguments[0] is PickleStorage storage)
            return new PickleTensor(storage, arguments[1], arguments[2], arguments[3]);
        throw Fault($"calls {callable} with {arguments.Length} arguments that do not fit; nothing was run");
    }

    private readonly PickleContainer Ordered(PickleContainer list)
    {
        PickleContainer result = new(true);
        foreach (object? pair in list.Items)
        {
            (object? key, object? value) = pair switch
            {
                object?[] { Length: 2 } p => (p[0], p[1]),
                PickleContainer { IsDictionary: false, Items: { Count: 2 } p } => (p[0], p[1]),
                _ => throw Fault("makes an OrderedDict of something else than pairs"),
            };
            result.Items.Add(key);
            result.Items.Add(value);
        }
        return result;
    }

    // ('storage', torch.FloatStorage, key, location, elements): where it lay does not matter here.
    private readonly PickleStorage Storage(object? id) =>
        id is object?[] { Length: 5 } parts && parts[0] is "storage" && parts[1] is PickleGlobal { Module: "torch" } type && parts[2] is string key && parts[4] is long elements
            ? new(TypeOf(type.Name)!.Value, key, elements)
            : throw Fault("has a persistent id that is no storage");

    private static DType? TypeOf(string storage) => storage switch
    {
        "FloatStorage" => DType.F32,
        "HalfStorage" => DType.F16,
        "BFloat16Storage" => DType.BF16,
        "DoubleStorage" => DType.F64,
        "LongStorage" => DType.I64,
        "IntStorage" => DType.I32,
        "ShortStorage" => DType.I16,
        "CharStorage" => DType.I8,
        "ByteStorage" => DType.U8,
        "BoolStorage" => DType.Bool,
        "ComplexFloatStorage" => DType.C64,
        _ => null,
    };

    private void Fill(PickleContainer container, object?[] items, bool push)
    {
        if (container.IsDictionary && items.Length % 2 != 0)
            throw Fault("gives a dictionary a key without a value");
        foreach (object? item in items)
        {
            Spend(SlotBytes);
            container.Items.Add(item);
        }
        if (push)
            Push(container);
    }

    private readonly PickleContainer Top(bool dictionary) =>
        Peek() is PickleContainer container && container.IsDictionary == dictionary ? container : throw Fault("adds an item to something that takes none");

    private void PushTuple(int count)
    {
        object?[] items = new object?[count];
        for (int i = count - 1; i >= 0; i--)
            items[i] = Pop();
        Push(items);
    }

    private void Push(object? value)
    {
        Spend(SlotBytes + value switch
        {
            null or bool => 0,
            string text => ObjectBytes + 2L * text.Length,
            byte[] bytes => ObjectBytes + bytes.Length,
            object?[] tuple => ObjectBytes + 16L * tuple.Length,
            long or double => ObjectBytes,
            _ => ContainerBytes,
        });
        _stack.Add(value);
    }

    private readonly object? Peek() => _stack.Count > Floor ? _stack[^1] : throw Fault("takes from an empty stack");

    private readonly object? Pop()
    {
        object? value = Peek();
        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    private readonly int Floor => _marks.Count > 0 ? _marks[^1] : 0;

    private readonly object?[] PopMark()
    {
        if (_marks.Count == 0)
            throw Fault("closes a mark that was never set");
        int mark = _marks[^1];
        _marks.RemoveAt(_marks.Count - 1);
        object?[] items = _stack.GetRange(mark, _stack.Count - mark).ToArray();
        _stack.RemoveRange(mark, items.Length);
        return items;
    }

    private void Remember(long index)
    {
        Spend(MemoBytes);
        _memo[index] = Peek();
    }

    private void Recall(long index) => Push(_memo.TryGetValue(index, out object? value) ? value : throw Fault($"recalls memo {index}, which was never put"));

    private void Spend(long bytes)
    {
        if ((_spent += bytes) > MaxBytes)
            throw Fault($"makes values of more than {MaxBytes} bytes");
    }

    private ReadOnlySpan<byte> Take(long count)
    {
        if (count < 0 || count > _bytes.Length - _at)
            throw Fault($"ends at byte {_bytes.Length}; {(ulong)count} more were expected at {_at}");
        _at += (int)count;
        return _bytes.Slice(_at - (int)count, (int)count);
    }

    private string Text(ulong count)
    {
        ReadOnlySpan<byte> bytes = Take(count > long.MaxValue ? -1 : (long)count);
        return System.Text.Unicode.Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw Fault("holds a string that is not UTF-8");
    }

    private string Line()
    {
        int length = _bytes[_at..].IndexOf((byte)'\n');
        if (length < 0)
            throw Fault("ends inside a line");
        string text = Text((ulong)length);
        _at++;
        return text;
    }

    // A number beyond 64 bits is kept as a token: nothing that is read here may be so large.
    private static object Integer(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 8)
            return Number;
        long value = bytes.Length > 0 && (bytes[^1] & 0x80) != 0 ? -1 : 0;
        for (int i = bytes.Length - 1; i >= 0; i--)
            value = (value << 8) | bytes[i];
        return value;
    }

    private static object Parse(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : Number;

    private static string Short(string text) => text.Length <= 80 ? text : text[..80] + "...";

    private readonly ModelFileException Fault(string fault) => new(_path, "pickle: " + fault);

    // Memo numbers come from the file: hashed as they are, they could be chosen to collide.
    private sealed class Scrambled : IEqualityComparer<long>
    {
        public static readonly Scrambled Instance = new();

        public bool Equals(long x, long y) => x == y;

        public int GetHashCode(long number) => HashCode.Combine(number);
    }
}
