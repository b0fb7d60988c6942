using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>
/// What an application opens for a classifier, an encoder or a decoder with a score head: one base that classifies texts or images, instantiated once, and the tree of adapters on it. Rows of one batch may stand on
/// different nodes. One call at a time.
/// </summary>
public sealed class ClassifierHost : IDisposable
{
    private ClassifierHost(string name, IClassifier model, Tokenizer? tokenizer, AdapterTree tree, EdgeHostOptions options)
    {
        (Name, Model, Tokenizer, Tree) = (name, model, tokenizer, tree);
        Store = new(model, options.AdapterBudgetBytes, options.StagedBudgetBytes);
    }

    /// <summary>What was opened.</summary>
    public string Name { get; }

    /// <summary>The base.</summary>
    public IClassifier Model { get; }

    /// <summary>The base's tokenizer; null where the model brings none.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>The tree.</summary>
    public AdapterTree Tree { get; }

    /// <summary>Resident adapters.</summary>
    public AdapterStore Store { get; }

    /// <summary>Whether a tree's base, or a model folder, classifies: an encoder, a decoder with a score head, or one on which an adapter for sequence classification builds.</summary>
    /// <param name="treeOrModel">As for <see cref="Open"/>.</param>
    /// <param name="adapters">For a plain model: its adapters.</param>
    public static bool Classifies(string treeOrModel, IReadOnlyList<string> adapters)
    {
        string place = HubCache.Resolve(treeOrModel), config = Path.Combine(EdgeHost.BaseOf(place) ?? place, "config.json");
        if (!File.Exists(config))
            return false;
        HfConfig read = HfConfig.Read(config);
        return EncoderRegistry.Knows(read) || DecoderClassifier.IsNamed(read) || adapters.Any(IsOfClasses);
    }

    /// <summary>Opens a tree (a folder with base/ or base.json), a model folder, or <c>hf:owner/name[@revision]</c> from the cache of <see cref="HubCache"/>; the options' adapters likewise. Throws <see cref="ModelFileException"/>, <see cref="ArgumentException"/> for an unknown device, <see cref="DeviceException"/> for one that cannot be used, <see cref="NotSupportedException"/> for one that runs language models only.</summary>
    /// <param name="treeOrModel">The tree or model. Where the base has no classifier, the first adapter with one says how many classes there are.</param>
    /// <param name="options">Device, adapters, budgets; what concerns sessions and watching is not looked at.</param>
    public static ClassifierHost Open(string treeOrModel, EdgeHostOptions? options = null)
    {
        options ??= new();
        string place = HubCache.Resolve(treeOrModel);
        string? basePath = EdgeHost.BaseOf(place);
        if (basePath is not null && options.Adapters.Count > 0)
            throw new ArgumentException($"{treeOrModel}: is a tree; its adapters are its folders, so none can be added to it");
        AdapterTree tree = basePath is not null ? AdapterTree.Open(place) : AdapterTree.FromPath(place, [.. options.Adapters.Select(a => HubCache.Resolve(a))]);
        IComputeBackend backend = ComputeDevices.Open(options.Device, options.Threads, options.DeviceReport, options.WatchShaders, options.Int8Activations);
        try
        {
            BaseCheckpoint checkpoint = BaseCheckpoint.Open(basePath ?? place);
            IClassifier model = Load(checkpoint, backend, ClassesOf(tree));
            return new(treeOrModel, model, EdgeHost.ReadTokenizer(basePath ?? place, checkpoint), tree, options);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>Instantiates a base that classifies, whichever it is: as <see cref="EncoderModel.Load"/> and <see cref="DecoderClassifier.Load"/>.</summary>
    public static IClassifier Load(BaseCheckpoint checkpoint, IComputeBackend backend, int? classes = null) =>
        EncoderRegistry.Knows(checkpoint.Config) ? EncoderModel.Load(checkpoint, backend, classes) : DecoderClassifier.Load(checkpoint, backend, classes);

    /// <summary>Makes a node resident, pins it and returns its path; empty for the root. Throws <see cref="KeyNotFoundException"/> naming the nodes there are, <see cref="ModelFileException"/> for a refused adapter.</summary>
    public AdapterPath Enter(string nodePath) => Store.Acquire(Tree.Get(nodePath));

    /// <summary>A weighted sum of nodes.</summary>
    public AdapterPath Blend(IReadOnlyList<(string Node, float Strength)> nodes) => Store.Blend([.. nodes.Select(n => (Tree.Get(n.Node), n.Strength))]);

    /// <summary>A text, or a pair of texts, as the model reads it. Throws <see cref="InvalidOperationException"/> where it has no tokenizer.</summary>
    public EncoderInput Read(string text, string? pair = null)
    {
        Tokenizer tokenizer = Tokenizer ?? throw new InvalidOperationException($"{Name}: has no tokenizer");
        return Model.Read(pair is null ? tokenizer.Encode(text) : tokenizer.EncodePair(text, pair));
    }

    /// <summary>The class logits of a text on a path.</summary>
    public float[] Classify(string text, AdapterPath path) => Model.Classify(Read(text), path);

    /// <summary>The class logits of each row, in one forward: as <see cref="IClassifier.Classify(ReadOnlySpan{EncoderRow})"/>.</summary>
    public float[][] Classify(params ReadOnlySpan<EncoderRow> rows) => Model.Classify(rows);

    /// <inheritdoc/>
    public void Dispose()
    {
        Store.Dispose();
        Model.Dispose();
        Model.Backend.Dispose();
    }

    // Of the formats only PEFT's and .elora name a task; MLX has a file of the same name with other fields.
    private static bool IsOfClasses(string adapter)
    {
        string place = HubCache.Resolve(adapter);
        return AdapterFormats.Find(place) is EdgeFormat or PeftFormat or PeftBinaryFormat && PeftAdapter.ReadConfig(place).TaskType == "SEQ_CLS";
    }

    private static int? ClassesOf(AdapterTree tree)
    {
        foreach (AdapterNode node in tree.Nodes.Skip(1))
        {
            try
            {
                using PeftAdapter adapter = PeftAdapter.Open(node.Folder);
                if (ClassifierHead.ClassesOf(adapter) is { } classes)
                    return classes;
            }
            catch (ModelFileException)
            {
                // A refused adapter tells its faults to who enters it.
            }
        }
        return null;
    }
}
