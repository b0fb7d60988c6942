using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// An encoder with a classifier over <see cref="IComputeBackend"/>: BERT, RoBERTa, DistilBERT, ViT. The base, instantiated once and never written; adapters are paths of a
/// tree, and rows of one batch may stand on different nodes. One forward at a time.
/// </summary>
public sealed class EncoderModel : IClassifier
{
    private readonly BaseCheckpoint _checkpoint;
    private readonly EncoderWeights _weights;
    private readonly IReadOnlyList<LinearSite> _missing;
    private readonly EncoderPass _pass;
    private readonly BatchLayout _batch = new();
    private readonly BatchLayout _headRows = new();
    private readonly List<KvBuffer> _caches = [];
    private DeviceTensor _first, _scratch, _pooled, _logits;

    private EncoderModel(BaseCheckpoint checkpoint, IComputeBackend backend, ModelConfig config, EncoderWeights weights, SiteBuilder build, IReadOnlyList<LinearSite> missing)
    {
        (_checkpoint, Backend, Config, _weights, _missing) = (checkpoint, backend, config, weights, missing);
        ByteLength = build.ByteLength;
        Sites = new(build.Sites, weights.Classifier.Name, weights.Tokens?.Name ?? "", tiedHead: false, config.Layers, bottlenecks: false) { ModelType = config.ModelType };
        Labels = ClassLabels.Read(checkpoint.Config, Classes, ofAdapters: missing.Contains(weights.Classifier));
        _pass = new(weights, config, backend, 16);
        (_first, _scratch, _pooled, _logits) = AllocateHead(4);
    }

    /// <inheritdoc/>
    public IComputeBackend Backend { get; }

    /// <inheritdoc/>
    public ModelConfig Config { get; }

    /// <inheritdoc/>
    public SiteCatalog Sites { get; }

    /// <inheritdoc/>
    public bool Classifies => true;

    /// <summary>Classes.</summary>
    public int Classes => _weights.Classifier.Outputs;

    /// <summary>The classes' names, config.json's id2label.</summary>
    public IReadOnlyList<string> Labels { get; }

    /// <summary>True where images are read, not tokens.</summary>
    public bool ReadsImages => _weights.Patches is not null;

    /// <summary>Token types that are told apart; 1 where a token has none.</summary>
    public int TokenTypes => _weights.Types is { } types ? (int)types.Table.Shape[0] : 1;

    /// <summary>[C, H, W] of an image; null where tokens are read.</summary>
    public Shape? ImageShape => _weights.Patches is { } p ? new(p.Channels, p.ImageSize, p.ImageSize) : null;

    /// <summary>Modules of the head that the checkpoint lacks: classes come only from a path that replaces each of them.</summary>
    public IReadOnlyList<string> MissingHead => [.. _missing.Select(s => s.Name)];

    /// <summary>The checkpoint, open for the model's life.</summary>
    public BaseCheckpoint Checkpoint => _checkpoint;

    /// <summary>Bytes of the base's weights in their stored form.</summary>
    public long ByteLength { get; }

    /// <summary>Instantiates an encoder. Takes ownership of <paramref name="checkpoint"/> also when it throws <see cref="ModelFileException"/> with every fault, or <see cref="NotSupportedException"/> for a device that runs whole decoders.</summary>
    /// <param name="checkpoint">The base.</param>
    /// <param name="backend">What it runs on; stays the caller's.</param>
    /// <param name="classes">For a base without a classifier: how many classes its adapters tell apart; null: as many as config.json says.</param>
    public static EncoderModel Load(BaseCheckpoint checkpoint, IComputeBackend backend, int? classes = null)
    {
        try
        {
            IEncoderArchitecture architecture = EncoderRegistry.For(checkpoint.Config);
            if (backend is IWholeModelBackend)
                throw new NotSupportedException($"{checkpoint.Path}: device '{backend.Name}' runs decoders only, not {checkpoint.Config.ModelType}; use cpu, reference or a vulkan device");
            ModelConfig config = architecture.ReadConfig(checkpoint.Config);
            checkpoint.RequireLayers(config.Layers);
            SiteBuilder build = new(checkpoint, backend);
            ClassifierHead head = new(build, backend, architecture.ClassifierSuffix, classes);
            EncoderWeights weights = architecture.Load(config, build, head);
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
    public IForwardPass CreatePass(IComputeBackend backend, int rows) => new EncoderPass(_weights, Config, backend, rows);

    /// <inheritdoc/>
    public KvBuffer CreateCache(int capacity) => new(Backend, Config.Layers, Config.HiddenSize, capacity);

    /// <summary>A text, or a pair of texts, as the tokenizer cut it; its token types count only where the model tells them apart.</summary>
    public EncoderInput Read(Encoding encoding) => EncoderInput.Tokens(encoding.Ids, encoding.AttentionMask, TokenTypes > 1 ? encoding.TypeIds : null);

    /// <summary>The class logits of each row, in one forward.</summary>
    /// <param name="rows">What is read, each on its own path.</param>
    /// <returns>[classes] logits for each row.</returns>
    /// <exception cref="ArgumentException">A row that does not fit the model: named with what was expected. A row whose first token, from which the class is read, is padding.</exception>
    /// <exception cref="InvalidOperationException">The base has no classifier and a row's path brings none.</exception>
    public float[][] Classify(params ReadOnlySpan<EncoderRow> rows)
    {
        foreach (EncoderRow row in rows)
            ClassifierHead.Require(_missing, row.Path, _checkpoint.Path);
        int[] firsts = Fill(rows);
        for (int i = 0; i < firsts.Length; i++)
            if (firsts[i] < 0)
                throw new ArgumentException($"row {i}: its first token is padding, but the class is read from it; put padding behind the tokens");
        RunLayers(null);
        return Heads(rows, firsts);
    }

    /// <summary>The class logits of one row.</summary>
    public float[] Classify(EncoderInput input, AdapterPath path) => Classify(new EncoderRow(input, path))[0];

    /// <summary>What the model without its head returns for each row: [T, D], T the tokens that are no padding (of an image: the class token and the patches).</summary>
    /// <param name="rows">What is read, each on its own path.</param>
    /// <param name="observer">Optional: sees every layer's hidden state, all rows' tokens one behind the other.</param>
    public float[][] Encode(ReadOnlySpan<EncoderRow> rows, HiddenObserver? observer = null)
    {
        Fill(rows);
        RunLayers(observer);
        DeviceTensor last = _pass.LastHidden(_batch);
        float[][] hidden = new float[rows.Length][];
        for (int i = 0; i < hidden.Length; i++)
        {
            SequenceSpan sequence = _batch.Sequences[i];
            hidden[i] = new float[sequence.Count * Config.HiddenSize];
            Backend.Read(last, sequence.Start, hidden[i]);
        }
        return hidden;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pass.Dispose();
        DisposeHead();
        foreach (KvBuffer cache in _caches)
            cache.Dispose();
        _checkpoint.Dispose();
    }

    private int[] Fill(ReadOnlySpan<EncoderRow> rows)
    {
        int[] firsts = new int[rows.Length];
        _pass.Clear();
        _batch.Clear();
        for (int i = 0; i < rows.Length; i++)
        {
            if (i == _caches.Count)
                _caches.Add(CreateCache(1));
            try
            {
                firsts[i] = _pass.Add(_batch, rows[i].Input, rows[i].Path.Table, _caches[i]);
            }
            catch (ArgumentException e)
            {
                throw new ArgumentException($"row {i}: {e.Message}");
            }
        }
        return firsts;
    }

    private void RunLayers(HiddenObserver? observer)
    {
        _pass.Reserve(_batch.Rows);
        _pass.Embed(_batch);
        Observe(observer, 0);
        for (int i = 0; i < _pass.Layers; i++)
        {
            _pass.RunLayer(_batch, i);
            Observe(observer, i + 1);
        }
    }

    // The head sees the first rows only.
    private float[][] Heads(ReadOnlySpan<EncoderRow> rows, int[] firsts)
    {
        if (_first.Shape[0] < rows.Length)
        {
            DisposeHead();
            (_first, _scratch, _pooled, _logits) = AllocateHead(Math.Max(rows.Length, 2 * (int)_first.Shape[0]));
        }
        _headRows.Clear();
        for (int i = 0; i < firsts.Length; i++)
        {
            Backend.Copy(_pass.Hidden, firsts[i], _first, i, 1);
            _headRows.AddRow(rows[i].Path.Table);
        }
        float[] logits = new float[rows.Length * Classes];
        if (rows.Length > 0)
        {
            _pass.Finish(_headRows, _first, _scratch, _pooled);
            Backend.Linear(_headRows, _weights.Classifier, _pooled, _logits);
            Backend.Read(_logits, 0, logits);
        }
        return [.. logits.Chunk(Classes)];
    }

    private (DeviceTensor First, DeviceTensor Scratch, DeviceTensor Pooled, DeviceTensor Logits) AllocateHead(int rows)
    {
        DeviceTensor New(string name, int width) => Backend.Allocate(name, DType.F32, new Shape(rows, width));
        return (New("first rows", Config.HiddenSize), New("normed first rows", Config.HiddenSize), New("pooled", Config.HiddenSize), New("class logits", Classes));
    }

    private void DisposeHead()
    {
        foreach (DeviceTensor tensor in (DeviceTensor[])[_first, _scratch, _pooled, _logits])
            tensor.Dispose();
    }

    private void Observe(HiddenObserver? observer, int index)
    {
        if (observer is null)
            return;
        float[] hidden = new float[_batch.Rows * Config.HiddenSize];
        Backend.Read(_pass.Hidden, 0, hidden);
        observer(index, hidden);
    }
}
