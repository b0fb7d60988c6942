using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>One job's share of a micro-batch's loss.</summary>
/// <param name="LossSum">Σ -log p over the targets, in F64.</param>
/// <param name="Targets">Tokens that carry loss.</param>
/// <param name="Correct">Targets that the model puts first; -1 where it was not asked for.</param>
public readonly record struct LossResult(double LossSum, int Targets, int Correct);

/// <summary>A row of the batch whose next token carries loss.</summary>
/// <param name="Row">Row of the batch.</param>
/// <param name="Label">The token that follows.</param>
public readonly record struct Target(int Row, int Label);

/// <summary>
/// The output head fused with softmax cross-entropy, forward and backward, a few rows at a time: logits of [T, V] are never held. Only rows that carry loss are computed.
/// A job's rows are chunked by themselves, so its bits do not depend on the jobs beside it.
/// </summary>
internal sealed class HeadLoss(ITrainingBackend backend, LinearSite head) : IDisposable
{
    // 32 MiB of logits at a time: a wide head is read and packed once for some hundred rows, not for some dozens.
    private const int ChunkFloats = 1 << 23;

    private readonly BatchLayout _batch = new();
    private readonly int _chunk = Math.Clamp(ChunkFloats / head.Outputs, 16, 512);
    private DeviceTensor? _inputs, _logits, _losses, _back;
    private int[] _labels = [];
    private float[] _scales = [], _read = [], _row = [];

    /// <summary>Bytes of its buffers.</summary>
    public long ByteLength => _inputs is null ? 0 : _inputs.ByteLength + _logits!.ByteLength + _losses!.ByteLength + _back!.ByteLength;

    /// <summary>Loss of one job's targets; with <paramref name="gradient"/> also its derivative in <paramref name="x"/>'s rows and in what trains of the head.</summary>
    /// <param name="path">The job's path.</param>
    /// <param name="targets">Its targets, rows ascending.</param>
    /// <param name="x">[T, D]: output of the final norm.</param>
    /// <param name="scale">What one target counts: 1/N.</param>
    /// <param name="gradient">[T, D], zero in the job's rows; null: forward only.</param>
    /// <param name="gradients">What trains.</param>
    /// <param name="count">Whether to count what the model puts first.</param>
    public LossResult Run(SiteTable path, IReadOnlyList<Target> targets, DeviceTensor x, double scale, DeviceTensor? gradient, Gradients gradients, bool count)
    {
        Allocate();
        double sum = 0;
        int correct = count ? 0 : -1;
        for (int done = 0; done < targets.Count; done += _chunk)
        {
            int rows = Math.Min(_chunk, targets.Count - done);
            _batch.Clear();
            for (int i = 0; i < rows; i++)
            {
                _batch.AddRow(path);
                _labels[i] = targets[done + i].Label;
                _scales[i] = (float)scale;
            }
            CopyRows(targets, done, rows, (from, to, n) => backend.Copy(x, from, _inputs!, to, n));
            backend.Linear(_batch, head, _inputs!, _logits!);
            if (count)
                correct += CountFirst(rows);
            backend.CrossEntropy(_logits!, _labels.AsSpan(0, rows), _scales.AsSpan(0, rows), _losses!);
            if (gradient is not null)
            {
                backend.Clear(rows, _back!);
                backend.LinearBackward(_batch, head, _inputs!, _logits!, _back!, gradients);
                CopyRows(targets, done, rows, (from, to, n) => backend.Copy(_back!, to, gradient, from, n));
            }
            backend.Read(_losses!, 0, _read.AsSpan(0, rows));
            for (int i = 0; i < rows; i++)
                sum += _read[i];
        }
        return new(sum, targets.Count, correct);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _inputs?.Dispose();
        _logits?.Dispose();
        _losses?.Dispose();
        _back?.Dispose();
    }

    private void Allocate()
    {
        if (_inputs is not null)
            return;
        _inputs = backend.Allocate("head input", DType.F32, new Shape(_chunk, head.Inputs));
        _back = backend.Allocate("head input gradient", DType.F32, new Shape(_chunk, head.Inputs));
        _logits = backend.Allocate("logits", DType.F32, new Shape(_chunk, head.Outputs));
        _losses = backend.Allocate("losses", DType.F32, new Shape(_chunk, 1));
        (_labels, _scales, _read) = (new int[_chunk], new float[_chunk], new float[_chunk]);
    }

    // Runs of neighbouring rows go together.
    private static void CopyRows(IReadOnlyList<Target> targets, int start, int count, Action<int, int, int> copy)
    {
        for (int i = 0; i < count;)
        {
            int run = 1;
            while (i + run < count && targets[start + i + run].Row == targets[start + i].Row + run)
                run++;
            copy(targets[start + i].Row, i, run);
            i += run;
        }
    }

    private int CountFirst(int rows)
    {
        int width = head.Outputs, correct = 0;
        if (_row.Length == 0)
            _row = new float[width];
        for (int i = 0; i < rows; i++)
        {
            backend.Read(_logits!, i, _row);
            if (ArgMax.Of<float>(_row) == _labels[i])
                correct++;
        }
        return correct;
    }
}
