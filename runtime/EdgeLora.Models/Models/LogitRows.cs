using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What the head reads and writes on the device, a few rows at a time: it is the widest layer. Knows whose logits stand in a row until they are read or written over.</summary>
internal sealed class LogitRows : IDisposable
{
    private const int Fewest = 16, Most = 64;

    private readonly IComputeBackend _backend;
    private readonly ModelConfig _config;
    private readonly Dictionary<int, DeviceTensor> _best = [];
    private TokenScores?[] _owners;
    private float[] _read = [];

    public LogitRows(IComputeBackend backend, ModelConfig config)
    {
        (_backend, _config) = (backend, config);
        (Hidden, Input, Logits, _owners) = (null!, null!, null!, []);
        Grow(Fewest);
    }

    /// <summary>The stream's rows, [capacity, D].</summary>
    public DeviceTensor Hidden { get; private set; }

    /// <summary>What enters the head, [capacity, E]: <see cref="Hidden"/> where E is D.</summary>
    public DeviceTensor Input { get; private set; }

    /// <summary>What leaves it, [capacity, V].</summary>
    public DeviceTensor Logits { get; private set; }

    /// <summary>Rows at once.</summary>
    public int Capacity => _owners.Length;

    /// <summary>Makes room for <paramref name="rows"/>, or as many as there may be.</summary>
    public void Reserve(int rows)
    {
        if (Math.Min(rows, Most) <= Capacity)
            return;
        Clear(Capacity);
        Dispose();
        Grow(Math.Min(Most, Math.Max(rows, 2 * Capacity)));
    }

    /// <summary>The first rows are about to be written over: whoever still has logits there gets them.</summary>
    public void Clear(int rows)
    {
        for (int i = 0; i < rows; i++)
        {
            _owners[i]?.Leave(this, i);
            _owners[i] = null;
        }
    }

    /// <summary>Gives each row to its session: the best where all of them want no more, else all logits. Waits.</summary>
    public void Give(ReadOnlySpan<TokenScores> scores)
    {
        int wanted = 0;
        foreach (TokenScores one in scores)
        {
            if (one.Wanted == 0)
            {
                GiveAll(scores);
                return;
            }
            wanted = Math.Max(wanted, one.Wanted);
        }
        // A buffer for each number, so that no more is read than is wanted.
        if (!_best.TryGetValue(wanted, out DeviceTensor? best))
            _best.Add(wanted, best = _backend.Allocate("best", DType.F32, new Shape(Capacity, 2 * wanted)));
        _backend.TopK(scores.Length, wanted, Logits, best);
        Span<float> pairs = Reading(scores.Length * best.Columns);
        _backend.Read(best, 0, pairs);
        for (int i = 0; i < scores.Length; i++)
            (_owners[i] = scores[i]).Set(pairs.Slice(i * best.Columns, best.Columns), this, i);
    }

    /// <summary>Reads a row's logits.</summary>
    public void Read(int row, Span<float> destination) => _backend.Read(Logits, row, destination);

    /// <inheritdoc/>
    public void Dispose()
    {
        Hidden.Dispose();
        if (!ReferenceEquals(Hidden, Input))
            Input.Dispose();
        Logits.Dispose();
        foreach (DeviceTensor best in _best.Values)
            best.Dispose();
        _best.Clear();
    }

    private void GiveAll(ReadOnlySpan<TokenScores> scores)
    {
        Span<float> logits = Reading(scores.Length * _config.Vocabulary);
        _backend.Read(Logits, 0, logits);
        for (int i = 0; i < scores.Length; i++)
            scores[i].Set(logits.Slice(i * _config.Vocabulary, _config.Vocabulary));
    }

    private Span<float> Reading(int count)
    {
        if (_read.Length < count)
            _read = new float[count];
        return _read.AsSpan(0, count);
    }

    private void Grow(int rows)
    {
        Hidden = _backend.Allocate("head input", DType.F32, new Shape(rows, _config.HiddenSize));
        Input = _config.EmbeddingSize == _config.HiddenSize ? Hidden : _backend.Allocate("projected head input", DType.F32, new Shape(rows, _config.EmbeddingSize));
        Logits = _backend.Allocate("logits", DType.F32, new Shape(rows, _config.Vocabulary));
        _owners = new TokenScores?[rows];
    }
}
