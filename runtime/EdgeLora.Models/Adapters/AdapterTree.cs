using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Adapters as they lie on disk: a folder is a node, a nested folder its child. Reading the tree reads no tensor. Snapshots are swapped, so that it may be read on any thread while it changes.</summary>
public sealed class AdapterTree
{
    private const int DeepestLevel = 64;

    private readonly Lock _lock = new();
    private Dictionary<string, AdapterNode> _byPath = new(StringComparer.Ordinal);
    private List<AdapterNode> _nodes = [];
    private Action<AdapterNode, AdapterState, AdapterState>? _observer;
    private readonly Dictionary<string, int> _gone = new(StringComparer.Ordinal);

    private AdapterTree(string folder)
    {
        Folder = folder;
        Root = Add("", folder, null);
    }

    /// <summary>The tree's folder.</summary>
    public string Folder { get; }

    /// <summary>The bare base.</summary>
    public AdapterNode Root { get; }

    /// <summary>All nodes, the root first, parents before children.</summary>
    public IReadOnlyList<AdapterNode> Nodes => _nodes;

    /// <summary>Scans a folder. A sub-folder that holds neither an adapter nor nodes is passed over; <c>base</c> is the base.</summary>
    public static AdapterTree Open(string folder)
    {
        AdapterTree tree = new(folder);
        tree.Scan(tree.Root);
        return tree;
    }

    /// <summary>A tree of its own from adapter folders that build on each other in this order: a path without a tree on disk.</summary>
    public static AdapterTree FromPath(string folder, IReadOnlyList<string> adapterFolders)
    {
        AdapterTree tree = new(folder);
        AdapterNode parent = tree.Root;
        foreach (string adapter in adapterFolders)
        {
            string full = Path.GetFullPath(adapter);
            if (!Directory.Exists(full) && !File.Exists(full))
                throw new ModelFileException(adapter, "no such adapter folder or file");
            parent = tree.Add(Path.GetFileName(full.TrimEnd(Path.DirectorySeparatorChar)), full, parent);
        }
        return tree;
    }

    /// <summary>The file that makes a folder a checkpoint of a training run, here and in transformers.</summary>
    public const string TrainerStateName = "trainer_state.json";

    /// <summary>True for a folder that holds an adapter.</summary>
    public static bool IsAdapter(string folder) => AdapterFormats.NodeFiles.Any(name => File.Exists(Path.Combine(folder, name)));

    /// <summary>The node of this path; empty or <c>/</c> is the root.</summary>
    public AdapterNode? Find(string path) => _byPath.GetValueOrDefault(path.Trim('/'));

    /// <summary>The node of this path. Throws <see cref="KeyNotFoundException"/> naming the nodes there are.</summary>
    public AdapterNode Get(string path) => Find(path) ??
        throw new KeyNotFoundException($"{Folder}: no node '{path}'; there {(_nodes.Count == 1 ? "is none" : $"are: {string.Join(", ", _nodes.Skip(1).Take(20).Select(n => n.Path))}{(_nodes.Count > 21 ? ", …" : "")}")}");

    /// <summary>From now on <paramref name="observer"/> is told of every change of a node's state, from and to, on the thread that made it.</summary>
    public void Observe(Action<AdapterNode, AdapterState, AdapterState> observer)
    {
        lock (_lock)
        {
            _observer = observer;
            foreach (AdapterNode node in _nodes)
                node.Observer = observer;
        }
    }

    /// <summary>Adds a node. Throws <see cref="ArgumentException"/> where the path is taken, and for a name that is none.</summary>
    /// <param name="parent">What it builds on.</param>
    /// <param name="name">Its name there.</param>
    /// <param name="folder">Its folder or file.</param>
    public AdapterNode Mount(AdapterNode parent, string name, string folder)
    {
        if (name.Length == 0 || name is "." or ".." || name.Contains('/') || name.Contains('\\'))
            throw new ArgumentException($"'{name}' is no name of a node: it may not be empty nor contain slashes");
        lock (_lock)
        {
            if (parent.Depth >= DeepestLevel)
                throw new ArgumentException($"{parent}: is at depth {DeepestLevel}, the deepest");
            string path = parent.Path.Length == 0 ? name : $"{parent.Path}/{name}";
            if (_byPath.ContainsKey(path))
                throw new ArgumentException($"'{path}' is mounted already");
            // Readers keep the snapshot that they have.
            _byPath = new(_byPath, StringComparer.Ordinal);
            _nodes = [.. _nodes];
            AdapterNode node = Add(name, folder, parent);
            // A path that comes back has generations of its own: a handle never means two contents.
            node.Generation = _gone.GetValueOrDefault(path);
            return node;
        }
    }

    /// <summary>Takes a node and all that builds on it out. Returns them, children before parents. Throws <see cref="ArgumentException"/> for the root.</summary>
    public IReadOnlyList<AdapterNode> Unmount(AdapterNode node)
    {
        if (node.Parent is null)
            throw new ArgumentException("the root cannot be unmounted");
        lock (_lock)
        {
            List<AdapterNode> gone = [.. _nodes.Where(n => n == node || n.Path.StartsWith(node.Path + "/", StringComparison.Ordinal))];
            _nodes = [.. _nodes.Except(gone)];
            _byPath = _nodes.ToDictionary(n => n.Path, StringComparer.Ordinal);
            foreach (AdapterNode each in gone)
                _gone[each.Path] = each.Generation + 2;
            node.Parent.RemoveChild(node);
            gone.Reverse();
            return gone;
        }
    }

    private void Scan(AdapterNode parent)
    {
        if (parent.Depth >= DeepestLevel)
            return;
        foreach (string folder in Directory.GetDirectories(parent.Folder).Order(StringComparer.Ordinal))
        {
            string name = Path.GetFileName(folder);
            if (IsNoNode(folder) || (parent.Parent is null && name == "base") || !(IsAdapter(folder) || HasNodes(folder, parent.Depth)))
                continue;
            AdapterNode node = Add(name, folder, parent);
            if (!IsAdapter(folder))
                Fault(node, $"{folder}: holds nodes but no adapter: expected one of {string.Join(", ", AdapterFormats.NodeFiles)}");
            Scan(node);
        }
    }

    private static bool HasNodes(string folder, int depth) =>
        depth < DeepestLevel && Directory.GetDirectories(folder).Any(f => !IsNoNode(f) && (IsAdapter(f) || HasNodes(f, depth + 1)));

    // A checkpoint of the run that makes a node lies in the node's folder, and is none of its children.
    private static bool IsNoNode(string folder) => Path.GetFileName(folder).StartsWith('.') || File.Exists(Path.Combine(folder, TrainerStateName));

    private static void Fault(AdapterNode node, string fault)
    {
        node.State = AdapterState.Faulted;
        node.Faults = [fault];
    }

    private AdapterNode Add(string name, string folder, AdapterNode? parent)
    {
        AdapterNode node = new(name, folder, parent) { Observer = _observer };
        parent?.AddChild(node);
        _byPath[node.Path] = node;
        _nodes.Add(node);
        return node;
    }
}
