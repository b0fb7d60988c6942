using System.Runtime.CompilerServices;
using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>
/// A decoder as ONNX Runtime graphs, recorded from the model's own pass. A batch is cut into rows of one sequence on one path, which run by themselves, and sequences of one row each, which run 2, 4 or 8
/// together: on one path, or each on its own where the paths are plain LoRA. What is together may change the last bits of a row: ONNX Runtime chooses its kernels by the number of rows. One forward at a time.
/// </summary>
public sealed class OnnxCausalLM : ICausalLM
{
    private const int MostSequences = 8;

    private readonly DecoderModel _model;
    private readonly OnnxBackend _backend;
    private readonly GraphStore _graphs;
    private readonly ConditionalWeakTable<DeviceTensor, GraphTensor> _cacheValues = [];
    private readonly Func<DeviceTensor, OrtValue> _valueOf;
    private readonly DeviceCaches? _caches;
    private readonly RunOptions _run = new();
    private readonly List<Piece> _pieces = [], _steps = [];
    private readonly Comparison<Piece> _byPath;
    private int[] _tokens = [], _positions = [], _lengths = [], _rows = [];

    internal OnnxCausalLM(DecoderModel model, OnnxBackend backend)
    {
        (_model, _backend) = (model, backend);
        if (model.Config.HeadSize % 8 != 0)
            throw new NotSupportedException($"{model.Checkpoint.Path}: {backend.Name} has attention for heads of a multiple of 8 only, found {model.Config.HeadSize}");
        if (model.Config.Alibi)
            throw new NotSupportedException($"{model.Checkpoint.Path}: {backend.Name} has no biases by position (ALiBi); use cpu, reference or a vulkan device");
        _graphs = new(model, backend);
        ModelConfig config = model.Config;
        int Order(Piece piece) => _graphs.ShapeOf(piece.Path).IsPlain ? int.MinValue : RuntimeHelpers.GetHashCode(piece.Path);
        _byPath = (a, b) => Order(a).CompareTo(Order(b)) is not 0 and int order ? order : a.Start.CompareTo(b.Start);
        if (backend.KeepsCaches)
            using (SessionOptions options = OnnxDevices.Options(backend.Name, backend.Threads))
                _caches = new(options, backend.Memory, backend.Options.Activations, config.KvHeads);
        _valueOf = tensor => (tensor as DeviceCache)?.Value ?? _cacheValues.GetValue(tensor, t => GraphTensor.Of((HostTensor)t, [1, config.KvHeads, t.Shape[0] / config.KvHeads, config.HeadSize])).Value;
    }

    /// <inheritdoc/>
    public ModelConfig Config => _model.Config;

    /// <inheritdoc/>
    public SiteCatalog Sites => _model.Sites;

    /// <summary>Graphs that were recorded and opened since the model was loaded.</summary>
    public long GraphsOpened => _graphs.Opened;

    /// <summary>Paths, and mixtures of paths, that were bound to a graph since the model was loaded.</summary>
    public long PathsBound => _graphs.Bound;

    /// <summary>Paths, and mixtures of paths, that are bound now.</summary>
    internal int PathsHeld => _graphs.Held;

    /// <inheritdoc/>
    public KvBuffer CreateCache(int capacity) => new((IComputeBackend?)_caches ?? _backend, Config.Layers, Config.KvHeads * Config.HeadSize, _caches is null ? capacity : Config.ContextLength, Config.KvHeads,
        _backend.Options.Half ? DType.F16 : DType.F32);

    /// <inheritdoc/>
    public void Forward(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits, HiddenObserver? observer = null)
    {
        float[][]? hidden = observer is null ? null : [.. Enumerable.Range(0, Config.Layers + 1).Select(_ => new float[batch.Rows * Config.HiddenSize])];
        try
        {
            Cut(batch, together: observer is null && _caches is null);
            foreach (Piece piece in _pieces)
                RunRows(batch, piece, logitRows, logits, hidden);
            RunSteps(batch, logitRows, logits);
        }
        finally
        {
            // Between steps nothing holds on to paths, and one that failed leaves nothing to the next.
            _pieces.Clear();
            _steps.Clear();
        }
        for (int i = 0; i < (hidden?.Length ?? 0); i++)
            observer!(i, hidden![i]);
    }

    /// <summary>Runs a batch of one sequence on one path and gives every op's result, with the logits of all rows behind them.</summary>
    internal IReadOnlyList<OpResult> Trace(BatchLayout batch)
    {
        SiteTable path = batch.Groups[0].Path;
        PathBinding binding = _graphs.Bind(new([_graphs.ShapeOf(path)], path, 0, Trace: true), [path]);
        SequenceSpan sequence = batch.Sequences[0];
        binding.Graph.WriteRows(batch.Tokens, batch.Positions, [sequence.Length]);
        WriteSequence(binding, 0, new(0, batch.Rows, sequence.Past, sequence.Length, sequence.Cache, path));
        binding.Graph.WriteLogitRows([.. Enumerable.Range(0, batch.Rows)], 0);
        binding.Run(_run);
        return [.. binding.ReadOutputs().Select(o => new OpResult(o.Name[(o.Name.IndexOf(':') + 1)..], o.Values))];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _graphs.Dispose();
        _caches?.Dispose();
        _run.Dispose();
    }

    // Rows of one sequence on one path each; sequences of a single row stand apart.
    private void Cut(BatchLayout batch, bool together)
    {
        ReadOnlySpan<RowGroup> groups = batch.Groups;
        int group = 0;
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            Config.Rope?.Take(sequence);
            for (int row = sequence.Start; row < sequence.Start + sequence.Count;)
            {
                while (groups[group].Start + groups[group].Count <= row)
                    group++;
                int end = Math.Min(sequence.Start + sequence.Count, groups[group].Start + groups[group].Count);
                Piece piece = new(row, end - row, sequence.Past + row - sequence.Start, sequence.Length, sequence.Cache, groups[group].Path);
                (together && sequence.Count == 1 ? _steps : _pieces).Add(piece);
                row = end;
            }
        }
    }

    private void RunRows(BatchLayout batch, Piece piece, ReadOnlySpan<int> logitRows, Span<float> logits, float[][]? hidden)
    {
        // DirectML's attention takes several rows only where nothing stands before them.
        int most = _caches is not null && piece.Past > 0 ? 1 : piece.Count;
        for (int done = 0; done < piece.Count; done += most)
            RunSequence(batch, piece with { Start = piece.Start + done, Count = most, Past = piece.Past + done }, logitRows, logits, hidden);
    }

    private void RunSequence(BatchLayout batch, Piece piece, ReadOnlySpan<int> logitRows, Span<float> logits, float[][]? hidden)
    {
        GraphPlan plan = new([_graphs.ShapeOf(piece.Path)], piece.Path, 0, Hidden: hidden is not null);
        PathBinding binding = _graphs.Bind(plan, [piece.Path]);
        GraphSession graph = binding.Graph;
        graph.WriteRows(batch.Tokens.Slice(piece.Start, piece.Count), batch.Positions.Slice(piece.Start, piece.Count), [piece.Length]);
        WriteSequence(binding, 0, piece);
        int wanted = 0;
        if (_rows.Length < logitRows.Length)
            _rows = new int[logitRows.Length];
        foreach (int row in logitRows)
            if (row >= piece.Start && row < piece.Start + piece.Count)
                _rows[wanted++] = row;
        graph.WriteLogitRows(_rows.AsSpan(0, wanted), piece.Start);
        binding.Run(_run);
        int next = 0;
        for (int i = 0; i < logitRows.Length; i++)
            if (logitRows[i] >= piece.Start && logitRows[i] < piece.Start + piece.Count)
                Take(graph, next++, logits, i);
        if (hidden is null)
            return;
        foreach ((string name, float[] values) in binding.ReadOutputs())
            values.CopyTo(hidden[int.Parse(name.AsSpan("hidden.".Length), System.Globalization.CultureInfo.InvariantCulture)], piece.Start * Config.HiddenSize);
    }

    // Sequences of one row: plain paths together, others with those on the same path.
    private void RunSteps(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits)
    {
        if (!SamePath(0, _steps.Count))
            _steps.Sort(_byPath);
        for (int done = 0; done < _steps.Count;)
        {
            int count = 1;
            while (count < MostSequences && done + 2 * count <= _steps.Count && (SamePath(done, 2 * count) || AllPlain(done, 2 * count)))
                count *= 2;
            if (count == 1)
                RunSequence(batch, _steps[done], logitRows, logits, null);
            else
                RunTogether(batch, done, count, SamePath(done, count), logitRows, logits);
            done += count;
        }
    }

    private bool AllPlain(int start, int count)
    {
        for (int i = start; i < start + count; i++)
            if (!_graphs.ShapeOf(_steps[i].Path).IsPlain)
                return false;
        return true;
    }

    private bool SamePath(int start, int count)
    {
        for (int i = start + 1; i < start + count; i++)
            if (!ReferenceEquals(_steps[i].Path, _steps[start].Path))
                return false;
        return true;
    }

    private void RunTogether(BatchLayout batch, int start, int count, bool samePath, ReadOnlySpan<int> logitRows, Span<float> logits)
    {
        SiteTable[] paths = new SiteTable[samePath ? 1 : count];
        PathShape[] shapes = new PathShape[paths.Length];
        for (int i = 0; i < paths.Length; i++)
            (paths[i], shapes[i]) = (_steps[start + i].Path, _graphs.ShapeOf(_steps[start + i].Path));
        PathBinding binding = _graphs.Bind(new(shapes, paths[0], count), paths);
        if (_tokens.Length < count)
            (_tokens, _positions, _lengths) = (new int[MostSequences], new int[MostSequences], new int[MostSequences]);
        for (int i = 0; i < count; i++)
        {
            Piece step = _steps[start + i];
            (_tokens[i], _positions[i], _lengths[i]) = (batch.Tokens[step.Start], batch.Positions[step.Start], step.Length);
            WriteSequence(binding, i, step);
        }
        binding.Graph.WriteRows(_tokens.AsSpan(0, count), _positions.AsSpan(0, count), _lengths.AsSpan(0, count));
        binding.Graph.Logits.Resize(count, Config.Vocabulary);
        binding.Run(_run);
        for (int i = 0; i < count; i++)
            for (int wanted = 0; wanted < logitRows.Length; wanted++)
                if (logitRows[wanted] == _steps[start + i].Start)
                    Take(binding.Graph, i, logits, wanted);
    }

    private void WriteSequence(PathBinding binding, int sequence, Piece piece)
    {
        int tokens = piece.Past + piece.Count;
        binding.BindCache(sequence, piece.Cache, _valueOf);
        // A shared cache on DirectML is said to be as long as its memory; the length of its content is the other number.
        binding.Graph.WriteLength(sequence, tokens, _caches is not null ? piece.Cache.Capacity : tokens);
    }

    private void Take(GraphSession graph, int from, Span<float> logits, int to) =>
        graph.Logits.Span.Slice(from * Config.Vocabulary, Config.Vocabulary).CopyTo(logits[(to * Config.Vocabulary)..]);

    // Rows of one sequence that stand on one path; Length: its tokens as far as they are known.
    private readonly record struct Piece(int Start, int Count, int Past, int Length, KvBuffer Cache, SiteTable Path);
}
