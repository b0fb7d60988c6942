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

/// <summary>What one job has in a micro-batch for the head.</summary>
/// <param name="Path">Its path.</param>
/// <param name="Targets">Its targets, rows ascending.</param>
/// <param name="Scale">What one target counts: 1/N.</param>
internal sealed record HeadShare(SiteTable Path, IReadOnlyList<Target> Targets, double Scale);

/// <summary>
/// The output head fused with softmax cross-entropy, forward and backward, a few rows at a time: logits of [T, V] are never held. Only rows that carry loss are computed.
/// A job's rows are cut as if it were alone, so its bits do not depend on the jobs beside it; pieces of several jobs that fit together read the head once.
/// </summary>
internal sealed class HeadLoss(ITrainingBackend backend, LinearSite head, ModelConfig config) : IDisposable
{
    // 32 MiB of logits at a time: a wide head is read and packed once for some hundred rows, not for some dozens.
    private const int ChunkFloats = 1 << 23;

    private readonly BatchLayout _batch = new();
    private readonly int _chunk = Math.Clamp(ChunkFloats / head.Outputs, 16, 512);
    private DeviceTensor? _inputs, _logits, _losses, _back;
    // Of a soft cap: its inputs and their gradients.
    private DeviceTensor? _uncapped, _uncappedBack;
    private int[] _labels = [];
    private float[] _scales = [], _read = [], _row = [];

    /// <summary>Bytes of its buffers.</summary>
    public long ByteLength => _inputs is null ? 0 : _inputs.ByteLength + _logits!.ByteLength + _losses!.ByteLength + _back!.ByteLength + (_uncapped is null ? 0 : 2 * _uncapped.ByteLength);

    /// <summary>Loss of each job's targets; with <paramref name="gradient"/> also its derivative in <paramref name="x"/>'s rows and in what trains of the head.</summary>
    /// <param name="jobs">The jobs.</param>
    /// <param name="x">[T, D]: output of the final norm.</param>
    /// <param name="gradient">[T, D], zero in the jobs' rows; null: forward only.</param>
    /// <param name="gradients">What trains.</param>
    /// <param name="count">Whether to count what the model puts first.</param>
    public LossResult[] Run(IReadOnlyList<HeadShare> jobs, DeviceTensor x, DeviceTensor? gradient, Gradients gradients, bool count)
    {
        Allocate();
        LossResult[] results = [.. jobs.Select(j => new LossResult(0, j.Targets.Count, count ? 0 : -1))];
        List<Piece> pieces = [];
        int used = 0;
        for (int j = 0; j < jobs.Count; j++)
            for (int done = 0; done < jobs[j].Targets.Count; done += _chunk)
            {
                int rows = Math.Min(_chunk, jobs[j].Targets.Count - done);
                if (used + rows > _chunk)
                {
                    Run(pieces, jobs, used, x, gradient, gradients, results);
                    pieces.Clear();
                    used = 0;
                }
                pieces.Add(new(j, done, used, rows));
                used += rows;
            }
        if (used > 0)
            Run(pieces, jobs, used, x, gradient, gradients, results);
        return results;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _inputs?.Dispose();
        _logits?.Dispose();
        _losses?.Dispose();
        _back?.Dispose();
        _uncapped?.Dispose();
        _uncappedBack?.Dispose();
    }

    private void Allocate()
    {
        if (_inputs is not null)
            return;
        _inputs = backend.Allocate("head input", DType.F32, new Shape(_chunk, head.Inputs));
        _back = backend.Allocate("head input gradient", DType.F32, new Shape(_chunk, head.Inputs));
        _logits = backend.Allocate("logits", DType.F32, new Shape(_chunk, head.Outputs));
        _losses = backend.Allocate("losses", DType.F32, new Shape(_chunk, 1));
        if (config.LogitCap > 0)
        {
            _uncapped = backend.Allocate("uncapped logits", DType.F32, _logits.Shape);
            _uncappedBack = backend.Allocate("uncapped logits gradient", DType.F32, _logits.Shape);
        }
        (_labels, _scales, _read) = (new int[_chunk], new float[_chunk], new float[_chunk]);
    }

    private void Run(List<Piece> pieces, IReadOnlyList<HeadShare> jobs, int rows, DeviceTensor x, DeviceTensor? gradient, Gradients gradients, LossResult[] results)
    {
        _batch.Clear();
        foreach (Piece piece in pieces)
            for (int i = 0; i < piece.Rows; i++)
            {
                _batch.AddRow(jobs[piece.Job].Path);
                _labels[piece.Start + i] = jobs[piece.Job].Targets[piece.Done + i].Label;
                // The factor on logits, of which the loss is a function, comes with the derivative.
                _scales[piece.Start + i] = (float)(jobs[piece.Job].Scale * config.LogitScale);
            }
        CopyRows(pieces, jobs, (from, to, n) => backend.Copy(x, from, _inputs!, to, n));
        backend.Linear(_batch, head, _inputs!, _logits!);
        LogitRule.Scale(backend, config, rows, _logits!);
        if (_uncapped is not null)
        {
            backend.Copy(_logits!, 0, _uncapped, 0, rows);
            LogitRule.Cap(backend, config, rows, _logits!);
        }
        foreach (Piece piece in pieces)
            if (results[piece.Job].Correct >= 0)
                results[piece.Job] = results[piece.Job] with { Correct = results[piece.Job].Correct + CountFirst(piece) };
        backend.CrossEntropy(_logits!, _labels.AsSpan(0, rows), _scales.AsSpan(0, rows), _losses!);
        if (gradient is not null)
        {
            backend.Clear(rows, _back!);
            backend.LinearBackward(_batch, head, _inputs!, BeforeCap(rows), _back!, gradients);
            CopyRows(pieces, jobs, (from, to, n) => backend.Copy(_back!, to, gradient, from, n));
        }
        backend.Read(_losses!, 0, _read.AsSpan(0, rows));
        foreach (Piece piece in pieces)
        {
            double sum = results[piece.Job].LossSum;
            for (int i = 0; i < piece.Rows; i++)
                sum += _read[piece.Start + i];
            results[piece.Job] = results[piece.Job] with { LossSum = sum };
        }
    }

    // With u = factor·z/c, the derivative of c·tanh(u) in z is factor·tanh'(u); the factor is there already.
    private DeviceTensor BeforeCap(int rows)
    {
        if (_uncapped is null)
            return _logits!;
        backend.Clear(rows, _uncappedBack!);
        backend.ActivateBackward(rows, Activation.Tanh, _uncapped, _logits!, _uncappedBack!);
        return _uncappedBack!;
    }

    // Runs of neighbouring rows go together.
    private static void CopyRows(List<Piece> pieces, IReadOnlyList<HeadShare> jobs, Action<int, int, int> copy)
    {
        foreach (Piece piece in pieces)
        {
            IReadOnlyList<Target> targets = jobs[piece.Job].Targets;
            for (int i = 0; i < piece.Rows;)
            {
                int at = piece.Done + i, run = 1;
                while (i + run < piece.Rows && targets[at + run].Row == targets[at].Row + run)
                    run++;
                copy(targets[at].Row, piece.Start + i, run);
                i += run;
            }
        }
    }

    private int CountFirst(Piece piece)
    {
        int width = head.Outputs, correct = 0;
        if (_row.Length == 0)
            _row = new float[width];
        for (int i = piece.Start; i < piece.Start + piece.Rows; i++)
        {
            backend.Read(_logits!, i, _row);
            if (ArgMax.Of<float>(_row) == _labels[i])
                correct++;
        }
        return correct;
    }

    // Targets [Done, Done + Rows) of a job, at rows [Start, Start + Rows) of the head's buffers.
    private readonly record struct Piece(int Job, int Done, int Start, int Rows);
}
