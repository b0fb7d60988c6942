using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>One job's rows in a micro-batch.</summary>
/// <param name="Path">What the job trains, on its parents.</param>
/// <param name="Examples">Its rows.</param>
/// <param name="Scale">What one target counts in the loss: 1 / targets of the job's whole step.</param>
public sealed record JobRows(SiteTable Path, IReadOnlyList<TrainingExample> Examples, double Scale);

/// <summary>
/// Forward and backward over one base for the rows of several jobs at once, fused along the batch axis: the frozen weights are read once for all, each row picks its job's
/// adapter. A job's losses and gradients have the same bits whatever jobs stand beside it. Padding does not exist: sequences of any length stand one behind the other.
/// </summary>
public sealed class TrainingEngine : IDisposable
{
    private readonly ITrainableModel _model;
    private readonly ITrainingBackend _backend;
    private readonly Tape _tape;
    private readonly IForwardPass _pass;
    private readonly HeadLoss _head;
    private readonly BatchLayout _batch = new();
    private readonly List<KvBuffer> _caches = [];

    /// <summary>An engine on a model and its backend. Both stay the caller's. Throws <see cref="NotSupportedException"/> where the backend cannot train.</summary>
    public TrainingEngine(ITrainableModel model)
    {
        _model = model;
        _backend = model.Backend as ITrainingBackend ?? throw new NotSupportedException($"device '{model.Backend.Name}' does not train");
        if (_backend.NoTraining is { } why)
            throw new NotSupportedException($"device '{_backend.Name}' does not train: {why}");
        _tape = new(_backend, Gradients);
        _pass = model.CreatePass(_tape, 64);
        _head = new(_backend, _pass.Head, model.Config);
    }

    /// <summary>The model's backend.</summary>
    public ITrainingBackend Backend => _backend;

    /// <summary>What trains, of all jobs.</summary>
    public Gradients Gradients { get; } = new();

    /// <summary>Activation checkpointing: only what enters each layer is kept, and layers run again on the way back. Same bits, about a third more work.</summary>
    public bool Checkpointing { get; set; }

    /// <summary>Bytes of saved activations, their gradients and the head's buffers.</summary>
    public long ActivationBytes => _tape.ByteLength + _head.ByteLength + _caches.Sum(c => c.ByteLength);

    /// <summary>Tokens of an example that carry loss; for a classifier its sequences.</summary>
    public int TargetsOf(TrainingExample example) => _model.Classifies ? example.SegmentLengths.Length : example.Targets;

    /// <summary>Runs a micro-batch forward and back: adds to the gradients of what trains. One result a job, in order.</summary>
    public LossResult[] Train(IReadOnlyList<JobRows> jobs) => Run(jobs, backward: true, count: false);

    /// <summary>Runs a micro-batch forward only.</summary>
    /// <param name="jobs">The rows.</param>
    /// <param name="count">Whether to count the targets that the model puts first.</param>
    public LossResult[] Evaluate(IReadOnlyList<JobRows> jobs, bool count = false) => Run(jobs, backward: false, count);

    /// <inheritdoc/>
    public void Dispose()
    {
        _pass.Dispose();
        _head.Dispose();
        _tape.Dispose();
        foreach (KvBuffer cache in _caches)
            cache.Dispose();
    }

    private LossResult[] Run(IReadOnlyList<JobRows> jobs, bool backward, bool count)
    {
        List<Target>[] targets = Fill(jobs);
        int rows = _batch.Rows;
        _pass.Reserve(rows);
        _tape.Begin(rows);
        Kept[]? kept = backward && Checkpointing ? new Kept[_pass.Layers] : null;
        _tape.Recording = backward && kept is null;
        _pass.Embed(_batch);
        for (int i = 0; i < _pass.Layers; i++)
        {
            bool needed = _tape.Needs(_pass.Hidden);
            DeviceTensor? copy = kept is null ? null : _tape.Keep(_pass.Hidden);
            _pass.RunLayer(_batch, i);
            if (kept is not null)
                kept[i] = new(copy!, needed, _tape.Needs(_pass.Hidden));
        }
        _tape.Recording = backward;
        _pass.Finish(_batch);
        // What enters the norm decides alone whether anything goes back; the head's own weights are the loss's.
        DeviceTensor? gradient = backward ? _tape.GradientOf(_pass.Output) : null;
        LossResult[] results = _head.Run([.. jobs.Select((j, i) => new HeadShare(j.Path, targets[i], j.Scale))], _pass.Output, gradient, Gradients, count);
        if (backward)
            _tape.Backward();
        if (kept is not null)
            RunBack(kept);
        return results;
    }

    private void RunBack(Kept[] kept)
    {
        for (int i = kept.Length - 1; i >= 0; i--)
        {
            if (kept[i].OutputNeeds)
            {
                _backend.Copy(kept[i].Input, 0, _pass.Hidden, 0, _batch.Rows);
                _tape.SetNeeds(_pass.Hidden, kept[i].InputNeeds);
                _pass.RunLayer(_batch, i);
                _tape.Backward();
            }
            _tape.Release(kept[i].Input);
        }
        if (kept.Length > 0 && !kept[0].InputNeeds)
            return;
        _pass.Embed(_batch);
        _tape.Backward();
    }

    private List<Target>[] Fill(IReadOnlyList<JobRows> jobs)
    {
        _batch.Clear();
        (_pass as EncoderPass)?.Clear();
        List<Target>[] targets = new List<Target>[jobs.Count];
        int used = 0;
        for (int j = 0; j < jobs.Count; j++)
        {
            targets[j] = [];
            foreach (TrainingExample example in jobs[j].Examples)
            {
                int start = 0;
                foreach (int length in example.SegmentLengths)
                {
                    if (_pass is EncoderPass encoder)
                        targets[j].Add(AddSequence(encoder, example, start, length, jobs[j].Path, Cache(used++, length)));
                    else
                        AddTokens(example, start, length, jobs[j].Path, Cache(used++, length), targets[j]);
                    start += length;
                }
            }
        }
        return targets;
    }

    private void AddTokens(TrainingExample example, int start, int length, SiteTable path, KvBuffer cache, List<Target> targets)
    {
        if (example.Input is not null)
            throw new ArgumentException("a decoder's example has tokens only, no input of its own");
        _batch.BeginSequence(cache, 0);
        for (int t = start; t < start + length; t++)
        {
            // A classifier reads the class at the sequence's last token.
            if (_model.Classifies ? t == start + length - 1 : t + 1 < start + length && example.Labels[t + 1] != TrainingExample.Ignored)
                targets.Add(new(_batch.Rows, _model.Classifies ? ClassOf(example.Labels[start]) : example.Labels[t + 1]));
            _batch.Add(example.InputIds[t], path);
        }
    }

    private Target AddSequence(EncoderPass encoder, TrainingExample example, int start, int length, SiteTable path, KvBuffer cache)
    {
        int first = encoder.Add(_batch, example.Input ?? EncoderInput.Tokens(example.InputIds[start..(start + length)]), path, cache);
        if (first < 0)
            throw new ArgumentException("an example's first token is padding, but the class is read from it; put padding behind the tokens");
        return new(first, ClassOf(example.Labels[start]));
    }

    private int ClassOf(int label) => (uint)label < (uint)_pass.Head.Outputs ? label : throw new ArgumentException($"class {label}: expected 0..{_pass.Head.Outputs - 1}");

    private KvBuffer Cache(int index, int length)
    {
        if (index == _caches.Count)
            _caches.Add(_model.CreateCache(length));
        _caches[index].Reserve(length);
        return _caches[index];
    }

    private readonly record struct Kept(DeviceTensor Input, bool InputNeeds, bool OutputNeeds);
}
