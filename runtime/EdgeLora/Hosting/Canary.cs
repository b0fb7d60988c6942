using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>A short forward pass on a path before anyone stands on it. The tick's thread only.</summary>
internal sealed class Canary : IDisposable
{
    private readonly DecoderModel _model;
    private readonly double _maxDrift;
    private readonly KvBuffer _cache;
    private readonly BatchLayout _batch = new();
    private readonly int[] _rows;
    private readonly int[] _tokens;
    private float[]? _base;

    /// <param name="model">The base.</param>
    /// <param name="maxDrift">Largest difference from the base's logits, times the base's largest.</param>
    public Canary(DecoderModel model, double maxDrift)
    {
        (_model, _maxDrift) = (model, maxDrift);
        int count = Math.Min(8, model.Config.ContextLength);
        _tokens = [.. Enumerable.Range(0, count).Select(i => (int)((1 + 7919L * i) % model.Config.Vocabulary))];
        _rows = [0, count - 1];
        _cache = model.CreateCache(count);
    }

    /// <summary>Null, or why the path is refused.</summary>
    public string? Check(AdapterPath path)
    {
        _base ??= Logits(SiteTable.Base);
        float[] logits = Logits(path.Table);
        double largest = 0, difference = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            if (!float.IsFinite(logits[i]))
                return $"canary: the logits of a short text are not finite ({logits[i]})";
            largest = Math.Max(largest, Math.Abs(_base[i]));
            difference = Math.Max(difference, Math.Abs((double)logits[i] - _base[i]));
        }
        return difference > _maxDrift * largest
            ? FormattableString.Invariant($"canary: expected logits within {_maxDrift:g3} times the base's largest ({largest:g3}) of the base's, found a difference of {difference:g3}")
            : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _cache.Dispose();

    private float[] Logits(SiteTable path)
    {
        _batch.Clear();
        _batch.BeginSequence(_cache, 0);
        foreach (int token in _tokens)
            _batch.Add(token, path);
        float[] logits = new float[_rows.Length * _model.Config.Vocabulary];
        _model.Forward(_batch, _rows, logits);
        _batch.Clear();
        return logits;
    }
}
