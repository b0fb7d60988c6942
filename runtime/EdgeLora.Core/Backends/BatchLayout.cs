namespace EdgeLora.Core;

/// <summary>Rows [Start, Start + Count) of a batch stand on one path.</summary>
public readonly record struct RowGroup(int Start, int Count, SiteTable Path);

/// <summary>Rows [Start, Start + Count) of a batch are consecutive tokens of one sequence, which has Past tokens in its cache already.</summary>
/// <param name="Start">First row.</param>
/// <param name="Count">Rows.</param>
/// <param name="Past">Tokens before them.</param>
/// <param name="Cache">Their keys and values.</param>
/// <param name="Known">Tokens of the sequence known so far, later batches' included; 0: no more than these.</param>
public readonly record struct SequenceSpan(int Start, int Count, int Past, KvBuffer Cache, int Known = 0)
{
    /// <summary>Tokens of the sequence as far as they are known: what rotary factors that depend on the length go by, however a prompt is cut.</summary>
    public int Length => Math.Max(Known, Past + Count);
}

/// <summary>
/// The rows of one forward step: which token, at which position, on which path, of which sequence. Filled once a step, read by every op
/// (a recording backend uploads it as its control block). Reused from step to step: filling allocates only while it grows.
/// </summary>
public sealed class BatchLayout
{
    private int[] _tokens = new int[16];
    private int[] _positions = new int[16];
    private RowGroup[] _groups = new RowGroup[4];
    private SequenceSpan[] _sequences = new SequenceSpan[4];
    private int _groupCount;
    private int _sequenceCount;

    /// <summary>T: rows in the batch.</summary>
    public int Rows { get; private set; }

    /// <summary>Another number after every change: a recording backend sees by it whether it has the batch already.</summary>
    public long Version { get; private set; }

    /// <summary>[T] token ids.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Rows);

    /// <summary>[T] positions from 0.</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, Rows);

    /// <summary>Runs of rows by path; they cover all rows in order.</summary>
    public ReadOnlySpan<RowGroup> Groups => _groups.AsSpan(0, _groupCount);

    /// <summary>Runs of rows by sequence; they cover all rows in order.</summary>
    public ReadOnlySpan<SequenceSpan> Sequences => _sequences.AsSpan(0, _sequenceCount);

    /// <summary>Empties the batch.</summary>
    public void Clear()
    {
        Array.Clear(_groups, 0, _groupCount);
        Array.Clear(_sequences, 0, _sequenceCount);
        Rows = _groupCount = _sequenceCount = 0;
        Version++;
    }

    /// <summary>Begins a sequence: rows added next belong to it, from position <paramref name="past"/> on.</summary>
    /// <param name="cache">Its keys and values.</param>
    /// <param name="past">Tokens before.</param>
    /// <param name="known">Tokens of it that are known so far, those of later batches included; 0: those that are added now.</param>
    public void BeginSequence(KvBuffer cache, int past, int known = 0)
    {
        Version++;
        if (_sequenceCount == _sequences.Length)
            Array.Resize(ref _sequences, _sequenceCount * 2);
        _sequences[_sequenceCount++] = new(Rows, 0, past, cache, known);
    }

    /// <summary>Adds one row to the sequence begun last.</summary>
    public void Add(int token, SiteTable path)
    {
        if (Rows == _tokens.Length)
        {
            Array.Resize(ref _tokens, Rows * 2);
            Array.Resize(ref _positions, Rows * 2);
        }
        ref SequenceSpan sequence = ref _sequences[_sequenceCount - 1];
        _tokens[Rows] = token;
        _positions[Rows] = sequence.Past + sequence.Count;
        sequence = sequence with { Count = sequence.Count + 1 };
        AddRow(path);
    }

    /// <summary>Adds a row that only linear and norm ops see (no token, no sequence): the rows whose logits are wanted.</summary>
    public void AddRow(SiteTable path)
    {
        if (Rows == _tokens.Length)
        {
            Array.Resize(ref _tokens, Rows * 2);
            Array.Resize(ref _positions, Rows * 2);
        }
        if (_groupCount > 0 && ReferenceEquals(_groups[_groupCount - 1].Path, path))
        {
            ref RowGroup last = ref _groups[_groupCount - 1];
            last = last with { Count = last.Count + 1 };
        }
        else
        {
            if (_groupCount == _groups.Length)
                Array.Resize(ref _groups, _groupCount * 2);
            _groups[_groupCount++] = new(Rows, 1, path);
        }
        Rows++;
        Version++;
    }
}

/// <summary>Keys and values of one sequence, all layers. Grows by doubling; a growth copies, a step in capacity allocates nothing.</summary>
public sealed class KvBuffer : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly int _width;
    private readonly int _planes;
    private readonly DType _type;

    /// <summary>A buffer for <paramref name="layers"/> layers of <paramref name="width"/> = K·Hd floats a token, with room for <paramref name="capacity"/> tokens.</summary>
    /// <param name="backend">Where it lies.</param>
    /// <param name="layers">Layers.</param>
    /// <param name="width">K·Hd.</param>
    /// <param name="capacity">Tokens.</param>
    /// <param name="planes">1: a token's heads lie together. K: a head's tokens do.</param>
    /// <param name="type">F32, or F16 where the backend computes in it.</param>
    public KvBuffer(IComputeBackend backend, int layers, int width, int capacity, int planes = 1, DType type = DType.F32)
    {
        (_backend, _width, _planes, _type) = (backend, width, planes, type);
        Keys = new DeviceTensor[layers];
        Values = new DeviceTensor[layers];
        Reserve(Math.Max(1, capacity));
    }

    /// <summary>Per layer [capacity, K·Hd]; of planes [K·capacity, Hd].</summary>
    public DeviceTensor[] Keys { get; }

    /// <summary>Per layer, as <see cref="Keys"/>.</summary>
    public DeviceTensor[] Values { get; }

    /// <summary>Tokens there is room for.</summary>
    public int Capacity { get; private set; }

    /// <summary>Whether the keys were turned by the rotary factors for long texts, where a model has two sets.</summary>
    public bool LongRope { get; set; }

    /// <summary>Bytes of all keys and values.</summary>
    public long ByteLength => 2 * Keys.Length * _type.Bytes((long)Capacity * _width);

    /// <summary>Makes room for <paramref name="tokens"/> tokens, keeping what is there.</summary>
    public void Reserve(int tokens)
    {
        if (tokens <= Capacity)
            return;
        int capacity = Math.Max(tokens, Capacity * 2);
        for (int layer = 0; layer < Keys.Length; layer++)
        {
            Keys[layer] = Grow(Keys[layer], "keys", capacity);
            Values[layer] = Grow(Values[layer], "values", capacity);
        }
        Capacity = capacity;
    }

    /// <summary>Takes over the first <paramref name="tokens"/> tokens of another buffer of the same model.</summary>
    public void CopyFrom(KvBuffer other, int tokens)
    {
        Reserve(tokens);
        LongRope = other.LongRope;
        for (int layer = 0; layer < Keys.Length; layer++)
        {
            Copy(other.Keys[layer], other.Capacity, Keys[layer], Capacity, tokens);
            Copy(other.Values[layer], other.Capacity, Values[layer], Capacity, tokens);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceTensor tensor in Keys)
            tensor.Dispose();
        foreach (DeviceTensor tensor in Values)
            tensor.Dispose();
    }

    private DeviceTensor Grow(DeviceTensor? old, string name, int capacity)
    {
        DeviceTensor grown = _backend.Allocate(name, _type, new Shape((long)_planes * capacity, _width / _planes));
        if (old is not null)
        {
            Copy(old, Capacity, grown, capacity, Capacity);
            old.Dispose();
        }
        return grown;
    }

    private void Copy(DeviceTensor source, int sourceCapacity, DeviceTensor destination, int destinationCapacity, int tokens)
    {
        for (int plane = 0; plane < _planes; plane++)
            _backend.Copy(source, plane * sourceCapacity, destination, plane * destinationCapacity, tokens);
    }
}
