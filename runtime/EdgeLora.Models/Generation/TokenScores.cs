namespace EdgeLora.Models;

/// <summary>A token and its score.</summary>
/// <param name="Token">Id.</param>
/// <param name="Score">Logit.</param>
public readonly record struct TokenScore(int Token, float Score);

/// <summary>
/// The scores of the token that follows a session's text. A step brings all of them, or only the best few where so many are enough: the others stay on the device and are read when somebody asks for them.
/// </summary>
/// <param name="vocabulary">V.</param>
public sealed class TokenScores(int vocabulary)
{
    private float[] _all = [];
    private TokenScore[] _best = [];
    private int _bestCount, _row;
    private LogitRows? _rows;

    /// <summary>How many of the best are enough for who chooses; 0, the default: all are needed.</summary>
    public int Wanted { get; set; }

    /// <summary>The best in order: the largest first, equals by ascending id, a NaN before every number. As many as were wanted, or none where all came.</summary>
    public ReadOnlySpan<TokenScore> Best => _best.AsSpan(0, _bestCount);

    /// <summary>[V] logits; zeros before the first step. Waits for the device where they are still there: then only on the thread that runs the model.</summary>
    public ReadOnlySpan<float> All
    {
        get
        {
            _rows?.Read(_row, Own());
            _rows = null;
            return Own();
        }
    }

    /// <summary>All scores of a step, [V].</summary>
    public void Set(ReadOnlySpan<float> logits)
    {
        Forget();
        logits.CopyTo(Own());
    }

    /// <summary>The best of a step as <see cref="Core.IComputeBackend.TopK"/> gives them; the others are in a row of the device's until it is written over.</summary>
    internal void Set(ReadOnlySpan<float> pairs, LogitRows rows, int row)
    {
        if (_best.Length < Wanted)
            _best = new TokenScore[Wanted];
        for (int i = 0; i < Wanted; i++)
            _best[i] = new((int)pairs[2 * i + 1], pairs[2 * i]);
        (_bestCount, _rows, _row) = (Wanted, rows, row);
    }

    /// <summary>Reads what is still in this row: it is about to be written over.</summary>
    internal void Leave(LogitRows rows, int row)
    {
        if (_rows == rows && _row == row)
            _ = All;
    }

    /// <summary>A step has begun, or the session is closed: what was there is of no more use.</summary>
    internal void Forget() => (_bestCount, _rows) = (0, null);

    private float[] Own()
    {
        if (_all.Length == 0)
            _all = new float[vocabulary];
        return _all;
    }
}
