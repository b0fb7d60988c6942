using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One conversation on one base: its tokens, where it stands in the tree, and the keys and values made there. Not thread-safe.</summary>
public sealed class Session : IDisposable
{
    private readonly ICausalLM _model;
    private readonly KvSlot[] _slots;
    private readonly int _reserve;
    private int[] _tokens;
    private KvSlot _slot;
    private long _clock;
    private bool _disposed;

    /// <summary>Starts an empty session on <paramref name="path"/>. Throws <see cref="ObjectDisposedException"/> for a fused path that was dropped.</summary>
    /// <param name="model">The base.</param>
    /// <param name="path">Where it stands first.</param>
    /// <param name="reserveTokens">Tokens to make room for at once; beyond it buffers grow by doubling.</param>
    /// <param name="retainedPaths">Paths whose keys and values are kept, so that coming back replays nothing but what is new. At least 1.</param>
    public Session(ICausalLM model, AdapterPath path, int reserveTokens = 256, int retainedPaths = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(retainedPaths, 1);
        _model = model;
        _reserve = Math.Clamp(reserveTokens, 1, model.Config.ContextLength);
        _tokens = new int[_reserve];
        _slots = new KvSlot[retainedPaths];
        for (int i = 0; i < retainedPaths; i++)
            _slots[i] = new();
        _slot = _slots[0];
        _slot.Take(path, _clock++);
        Path = path;
        Scores = new(model.Config.Vocabulary);
        path.Overlay?.Hold();
    }

    /// <summary>Where the session stands.</summary>
    public AdapterPath Path { get; private set; }

    /// <summary>All tokens so far.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Count);

    /// <summary>Number of tokens.</summary>
    public int Count { get; private set; }

    /// <summary>Leading tokens whose keys and values are there on the current path.</summary>
    public int Cached => _slot.Count;

    /// <summary>Tokens that the model's context still holds.</summary>
    public int ContextLeft => _model.Config.ContextLength - Count;

    /// <summary>[V] logits after the last token, valid once a <see cref="Batch"/> ran the session.</summary>
    public ReadOnlySpan<float> Logits => Scores.All;

    /// <summary>The same, for who chooses from the best few.</summary>
    public TokenScores Scores { get; }

    /// <summary>Bytes of all keys and values held.</summary>
    public long KvBytes
    {
        get
        {
            // Asked for after every token: nothing is allocated.
            long bytes = 0;
            foreach (KvSlot slot in _slots)
                bytes += slot.Buffer?.ByteLength ?? 0;
            return bytes;
        }
    }

    /// <summary>Tokens that the next step must run before there are logits for the token that follows; at least the last one.</summary>
    public int Pending => Count - Math.Min(_slot.Count, Math.Max(0, Count - 1));

    /// <summary>Appends tokens; they are run by the next <see cref="Batch.Run(ReadOnlySpan{Session})"/>. Throws <see cref="InvalidOperationException"/> past the context's end, with nothing appended, and <see cref="ArgumentOutOfRangeException"/> for an id outside the vocabulary.</summary>
    public void Append(params ReadOnlySpan<int> tokens)
    {
        if (tokens.Length > ContextLeft)
            throw new InvalidOperationException($"{tokens.Length} tokens do not fit: {Count} of the context's {_model.Config.ContextLength} are used");
        foreach (int token in tokens)
            if ((uint)token >= (uint)_model.Config.Vocabulary)
                throw new ArgumentOutOfRangeException(nameof(tokens), token, $"token ids are 0..{_model.Config.Vocabulary - 1}");
        if (Count + tokens.Length > _tokens.Length)
            Array.Resize(ref _tokens, Math.Max(Count + tokens.Length, Math.Min(_tokens.Length * 2, _model.Config.ContextLength)));
        tokens.CopyTo(_tokens.AsSpan(Count));
        Count += tokens.Length;
        Activate();
    }

    /// <summary>Forgets tokens from <paramref name="count"/> on: a reply that is taken back, a prompt that is edited.</summary>
    public void Truncate(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)Count);
        Count = count;
        foreach (KvSlot slot in _slots)
            slot.Count = Math.Min(slot.Count, count);
        Activate();
    }

    /// <summary>
    /// Walks to another path between two tokens. Allocates nothing where the session has a slot for the path. The last to leave a fused path drops its overlay.
    /// Throws <see cref="ObjectDisposedException"/> for a fused path that was dropped; the session then stays where it is.
    /// </summary>
    public void Switch(AdapterPath path, KvPolicy policy = KvPolicy.Recompute)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (ReferenceEquals(path, Path))
            return;
        path.Overlay?.Hold();
        AdapterPath from = Path;
        if (policy == KvPolicy.Keep)
        {
            _slot.Mixed = true;
            _slot.Path = path;
        }
        else
        {
            KvSlot left = _slot;
            _slot = FindSlot(path);
            if (!ReferenceEquals(_slot.Path, path) || _slot.Mixed)
            {
                _slot.Take(path, _clock);
                ShareBasePrefix(left, path);
            }
        }
        _slot.LastUse = _clock++;
        Path = path;
        from.Overlay?.Release();
        Activate();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        Scores.Forget();
        Path.Overlay?.Release();
        foreach (KvSlot slot in _slots)
            slot.Buffer?.Dispose();
    }

    /// <summary>Frees all keys and values; the next step computes those of the tokens anew.</summary>
    public void ReleaseKeyValues()
    {
        foreach (KvSlot slot in _slots)
        {
            slot.Buffer?.Dispose();
            slot.Buffer = null;
            slot.Count = 0;
            slot.Mixed = false;
        }
    }

    internal void AddRows(BatchLayout batch, int rows)
    {
        // The last token's row runs again when its logits are wanted and nothing is pending: its keys and values come out the same.
        int from = Count - Pending;
        KvBuffer cache = _slot.Buffer ??= _model.CreateCache(_reserve);
        cache.Reserve(Math.Min(Math.Max(from + rows, 1), _model.Config.ContextLength));
        batch.BeginSequence(cache, from, Count);
        for (int i = from; i < from + rows; i++)
            batch.Add(_tokens[i], i >= _slot.Activation ? Path.Table : Path.BeforeInvocation);
        _slot.Count = from + rows;
        Scores.Forget();
    }

    // A later invocation moves the activation: rows from the earlier of the two on were made otherwise and go. So do all where the text's length asks for other rotary factors.
    private void Activate()
    {
        bool isLong = _model.Config.Rope?.IsLong(Count) ?? false;
        if (isLong != _slot.LongRope)
            (_slot.LongRope, _slot.Count) = (isLong, 0);
        int start = Path.ActivationStart(Tokens);
        if (start == _slot.Activation)
            return;
        _slot.Count = Math.Min(_slot.Count, Math.Min(start, _slot.Activation));
        _slot.Activation = start;
    }

    private KvSlot FindSlot(AdapterPath path)
    {
        KvSlot oldest = _slots[0];
        foreach (KvSlot slot in _slots)
        {
            if (ReferenceEquals(slot.Path, path) && !slot.Mixed)
                return slot;
            if (slot.LastUse < oldest.LastUse)
                oldest = slot;
        }
        return oldest;
    }

    // aLoRA: before its invocation the path is its base path, bit for bit, so those keys and values are the same ones.
    private void ShareBasePrefix(KvSlot left, AdapterPath path)
    {
        if (path.Invocation is null || ReferenceEquals(left, _slot) || left.Mixed || left.Buffer is null || left.LongRope != _slot.LongRope || left.Path is not { Invocation: null } old || !ReferenceEquals(old.Table, path.BeforeInvocation))
            return;
        int shared = Math.Min(left.Count, path.ActivationStart(Tokens));
        if (shared == 0)
            return;
        _slot.Buffer ??= _model.CreateCache(_reserve);
        _slot.Buffer.CopyFrom(left.Buffer, shared);
        _slot.Count = shared;
        _slot.Activation = path.ActivationStart(Tokens);
    }

    private sealed class KvSlot
    {
        public AdapterPath? Path;
        public KvBuffer? Buffer;
        public int Count;
        public int Activation;
        public bool Mixed;
        public bool LongRope;
        public long LastUse = -1;

        public void Take(AdapterPath path, long clock)
        {
            Path = path;
            Count = 0;
            Activation = 0;
            Mixed = false;
            LastUse = clock;
        }
    }
}
