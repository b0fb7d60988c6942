using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>A base on a device, with the random adapters in one store and the sessions that all cases of decoding share.</summary>
internal sealed class MeasuredModel : IDisposable
{
    private readonly BenchSubject _subject;
    private readonly Dictionary<string, AdapterPath> _places = [];
    private readonly List<Session> _sessions = [];
    private readonly AdapterStore _store;

    /// <summary>Opens the base. Throws as <see cref="EdgeHost.Open"/>.</summary>
    public MeasuredModel(BenchSubject subject, string device, int threads, bool int8Activations, CancellationToken cancellation)
    {
        _subject = subject;
        Host = EdgeHost.Open(subject.Path, new EdgeHostOptions { Device = device, Threads = threads, Int8Activations = int8Activations });
        try
        {
            subject.WriteAdapters(Model.Sites, cancellation);
            Tree = AdapterTree.Open(subject.Adapters);
            _store = new(Model);
            Batch = new(Model);
        }
        catch
        {
            Host.Dispose();
            throw;
        }
    }

    /// <summary>The host.</summary>
    public EdgeHost Host { get; }

    /// <summary>The base.</summary>
    public DecoderModel Model => Host.Model;

    /// <summary>The random adapters.</summary>
    public AdapterTree Tree { get; }

    /// <summary>Runs sessions.</summary>
    public Batch Batch { get; }

    /// <summary>Tokens that stand before those which are decoded.</summary>
    public int Context => Math.Min(BenchSettings.Context, Model.Config.ContextLength / 2);

    /// <summary>Tokens that are decoded before the context is taken up again.</summary>
    public int DecodeTokens => Math.Min(BenchSettings.DecodeTokens, Model.Config.ContextLength - Context);

    /// <summary>A store of its own over a tree of its own: nodes know the store that has them.</summary>
    public (AdapterStore Store, AdapterTree Tree) OpenStore(long budgetBytes, long stagedBudgetBytes) => (new(Model, budgetBytes, stagedBudgetBytes), AdapterTree.Open(_subject.Adapters));

    /// <summary>The same over a tree of one node, a copy of one of the random adapters as an .elora file that is taken as it is.</summary>
    public (AdapterStore Store, AdapterTree Tree) OpenTrusted(string node)
    {
        string folder = _subject.Adapters + "-elora";
        AdapterNode from = Tree.Get(node);
        string to = Path.Combine(folder, from.Name);
        Directory.CreateDirectory(to);
        using (PeftAdapter adapter = PeftAdapter.Open(from.Folder))
            adapter.WriteElora(Path.Combine(to, PeftAdapter.EdgeName), from.Name);
        return (new(Model, 0, 0) { TrustElora = true }, AdapterTree.Open(folder));
    }

    /// <summary>The path of a random adapter's node, resident from then on; empty: the base.</summary>
    public AdapterPath Place(string node)
    {
        if (!_places.TryGetValue(node, out AdapterPath? path))
            _places[node] = path = _store.Acquire(node.Length == 0 ? Tree.Root : Tree.Get(node));
        return path;
    }

    /// <summary>A node's bytes and those of its ancestors, on the device.</summary>
    public long BytesOfPath(string node) => node.Length == 0 ? 0 : Tree.Get(node).Chain().Sum(n => _store.Resident(n).ByteLength);

    /// <summary>Bytes of weights that a token of the bare base reads: all, but of a table that is no head one row.</summary>
    public long BytesPerToken => Model.ByteLength - (Model.Config.TiedHead ? 0 : Model.Sites.Find(Model.Sites.EmbeddingName)!.Embedding!.Table.ByteLength);

    /// <summary>Bytes of one adapter of each kind. Needs <see cref="Place"/> of its first node.</summary>
    public ResidentBytes Bytes() => new(Model.ByteLength, [.. AdapterStack.All.Select(s =>
    {
        AdapterNode node = Tree.Get(s.Node(1));
        return new AdapterBytes(s.Label, _places.ContainsKey(node.Path) ? _store.Resident(node).ByteLength : 0, new FileInfo(Path.Combine(node.Folder, "adapter_model.safetensors")).Length);
    })]);

    /// <summary>So many sessions, the first <see cref="Context"/> tokens of each run.</summary>
    public Session[] Sessions(int count)
    {
        while (_sessions.Count < count)
        {
            Session session = Host.CreateSession(AdapterPath.Root, Context + DecodeTokens);
            _sessions.Add(session);
            session.Append(RandomTraining.Row(_sessions.Count, Context, Model.Config.Vocabulary));
            Batch.Run(session);
        }
        return [.. _sessions.Take(count)];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Session session in _sessions)
            session.Dispose();
        _store.Dispose();
        Host.Dispose();
    }
}
