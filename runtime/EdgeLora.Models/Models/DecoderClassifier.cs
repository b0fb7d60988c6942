using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A decoder with a linear score [classes, D] in place of its output head, read at a text's last token that is no padding (LlamaForSequenceClassification, GPT2ForSequenceClassification
/// and their kin): of any architecture that <see cref="DecoderModel"/> runs. One forward at a time. Source: transformers, GenericForSequenceClassification.
/// </summary>
public sealed class DecoderClassifier : IClassifier
{
    private readonly BaseCheckpoint _checkpoint;
    private readonly DecoderWeights _weights;
    private readonly IReadOnlyList<LinearSite> _missing;
    private readonly DecoderPass _pass;
    private readonly int? _padding;
    private readonly BatchLayout _batch = new();
    private readonly BatchLayout _headRows = new();
    private readonly List<KvBuffer> _caches = [];

    private DecoderClassifier(BaseCheckpoint checkpoint, IComputeBackend backend, ModelConfig config, DecoderWeights weights, SiteBuilder build, IReadOnlyList<LinearSite> missing)
    {
        (_checkpoint, Backend, Config, _weights, _missing) = (checkpoint, backend, config, weights, missing);
        ByteLength = build.ByteLength;
        Sites = new(build.Sites, weights.Head.Name, weights.Tokens.Name, tiedHead: false, config.Layers) { ModelType = config.ModelType };
        Labels = ClassLabels.Read(checkpoint.Config, Classes, ofAdapters: missing.Count > 0);
        _padding = checkpoint.Config.TryGetInt("pad_token_id", 0, int.MaxValue, out int padding) ? padding : null;
        _pass = (DecoderPass)CreatePass(backend, 16);
    }

    /// <inheritdoc/>
    public IComputeBackend Backend { get; }

    /// <inheritdoc/>
    public ModelConfig Config { get; }

    /// <inheritdoc/>
    public SiteCatalog Sites { get; }

    /// <inheritdoc/>
    public bool Classifies => true;

    /// <inheritdoc/>
    public int Classes => _weights.Head.Outputs;

    /// <inheritdoc/>
    public IReadOnlyList<string> Labels { get; }

    /// <inheritdoc/>
    public long ByteLength { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> MissingHead => [.. _missing.Select(s => s.Name)];

    /// <summary>Whether a config is that of a decoder with a score head.</summary>
    public static bool IsNamed(HfConfig config) =>
        !EncoderRegistry.Knows(config) && config.TryGetStrings("architectures", out IReadOnlyList<string> names) && names.Count > 0 && names[0].EndsWith(ClassifierHead.OfSequences, StringComparison.Ordinal);

    /// <summary>Instantiates it. Takes ownership of <paramref name="checkpoint"/> also when it throws <see cref="ModelFileException"/> with every fault, or <see cref="NotSupportedException"/> for a device that runs whole language models.</summary>
    /// <param name="checkpoint">The base.</param>
    /// <param name="backend">What it runs on; stays the caller's.</param>
    /// <param name="classes">For a base without a score head: how many classes its adapters tell apart; null: as many as config.json says.</param>
    public static DecoderClassifier Load(BaseCheckpoint checkpoint, IComputeBackend backend, int? classes = null)
    {
        try
        {
            IArchitecture architecture = ArchitectureRegistry.For(checkpoint.Config);
            if (backend is IWholeModelBackend)
                throw new NotSupportedException($"{checkpoint.Path}: device '{backend.Name}' runs language models only, no classifier; use cpu, reference or a vulkan device");
            // What belongs to the output head does not belong to the score.
            ModelConfig config = architecture.ReadConfig(checkpoint) with { TiedHead = false, LogitScale = 1, LogitCap = 0 };
            SiteBuilder build = new(checkpoint, backend);
            ClassifierHead head = new(build, backend, ClassifierHead.OfSequences, classes);
            build.Head = inputs => head.Classifier("score", inputs, bias: false);
            DecoderWeights weights = architecture.Load(config, build);
            build.Store.ThrowIfFaulty();
            return new(checkpoint, backend, config, weights, build, head.Missing);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IForwardPass CreatePass(IComputeBackend backend, int rows) => new DecoderPass(_weights, Config, Sites, Config.Pairs ?? _checkpoint.Pairs, backend, rows);

    /// <inheritdoc/>
    public KvBuffer CreateCache(int capacity) => new(Backend, Config.Layers, Config.KvHeads * Config.HeadSize, capacity);

    /// <inheritdoc/>
    public EncoderInput Read(Encoding encoding) => EncoderInput.Tokens(encoding.Ids, encoding.AttentionMask);

    /// <inheritdoc/>
    public float[][] Classify(params ReadOnlySpan<EncoderRow> rows)
    {
        if (rows.IsEmpty)
            return [];
        int[] last = Fill(rows);
        _pass.Reserve(_batch.Rows);
        _pass.Embed(_batch);
        for (int i = 0; i < _pass.Layers; i++)
            _pass.RunLayer(_batch, i);
        using DeviceTensor hidden = Backend.Allocate("last rows", DType.F32, new Shape(rows.Length, Config.HiddenSize)), scores = Backend.Allocate("scores", DType.F32, new Shape(rows.Length, Classes));
        using DeviceTensor? projected = _weights.ProjectOut is { } project ? Backend.Allocate("projected", DType.F32, new Shape(rows.Length, project.Outputs)) : null;
        for (int i = 0; i < rows.Length; i++)
            Backend.Copy(_pass.Hidden, last[i], hidden, i, 1);
        _pass.Finish(_headRows, hidden, hidden, projected ?? hidden);
        Backend.Linear(_headRows, _weights.Head, projected ?? hidden, scores);
        float[] logits = new float[rows.Length * Classes];
        Backend.Read(scores, 0, logits);
        return [.. logits.Chunk(Classes)];
    }

    /// <inheritdoc/>
    public float[] Classify(EncoderInput input, AdapterPath path) => Classify(new EncoderRow(input, path))[0];

    /// <inheritdoc/>
    public void Dispose()
    {
        _pass.Dispose();
        foreach (KvBuffer cache in _caches)
            cache.Dispose();
        _checkpoint.Dispose();
    }

    // Adds the rows; gives each one's last token that is no padding, from which its class is read.
    private int[] Fill(ReadOnlySpan<EncoderRow> rows)
    {
        int[] last = new int[rows.Length];
        _batch.Clear();
        _headRows.Clear();
        for (int i = 0; i < rows.Length; i++)
        {
            AdapterPath path = rows[i].Path;
            ClassifierHead.Require(_missing, path, _checkpoint.Path);
            ReadOnlySpan<int> ids = Tokens(rows[i].Input, i);
            if (i == _caches.Count)
                _caches.Add(CreateCache(ids.Length));
            _caches[i].Reserve(ids.Length);
            _batch.BeginSequence(_caches[i], 0);
            int active = path.ActivationStart(ids), read = _padding is { } padding ? Math.Max(0, ids.LastIndexOfAnyExcept(padding)) : ids.Length - 1;
            last[i] = _batch.Rows + read;
            _headRows.AddRow(read >= active ? path.Table : path.BeforeInvocation);
            for (int t = 0; t < ids.Length; t++)
                _batch.Add(ids[t], t >= active ? path.Table : path.BeforeInvocation);
        }
        return last;
    }

    // What follows the last token changes nothing before it, so padding behind is cut off; padding elsewhere would move positions.
    private ReadOnlySpan<int> Tokens(EncoderInput input, int row)
    {
        if (input.Pixels is not null)
            throw new ArgumentException($"row {row}: {Config.ModelType} reads tokens, found an image");
        int[] ids = input.Ids;
        int count = input.Mask is null ? ids.Length : Array.LastIndexOf(input.Mask, 1) + 1;
        if (input.Mask is { } mask && (mask.Length != ids.Length || Array.IndexOf(mask, 1) < 0 || mask.AsSpan(0, count).ContainsAnyExcept(1)))
            throw new ArgumentException($"row {row}: attention mask: expected {ids.Length} entries, 1 for every token and then 0: {Config.ModelType} takes padding behind the tokens only");
        if (input.Types is { } types && types.AsSpan().ContainsAnyExcept(0))
            throw new ArgumentException($"row {row}: token types: {Config.ModelType} knows none");
        if (count == 0)
            throw new ArgumentException($"row {row}: no tokens: give at least one");
        if (count > Config.ContextLength)
            throw new ArgumentException($"row {row}: {count} tokens do not fit the context of {Config.ContextLength}");
        foreach (int id in ids)
            if ((uint)id >= (uint)Config.Vocabulary)
                throw new ArgumentException($"row {row}: token id {id}: expected 0..{Config.Vocabulary - 1}");
        return ids.AsSpan(0, count);
    }
}
