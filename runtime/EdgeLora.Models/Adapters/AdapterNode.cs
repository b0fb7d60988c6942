namespace EdgeLora.Models;

/// <summary>Where an adapter is in its life.</summary>
public enum AdapterState
{
    /// <summary>Its folder was seen; nothing is read.</summary>
    Discovered,
    /// <summary>Validated, in RAM; some ancestor is not ready yet.</summary>
    Staged,
    /// <summary>Ready on the device, with all its ancestors.</summary>
    Resident,
    /// <summary>Resident and pinned by at least one user.</summary>
    Active,
    /// <summary>Was resident; left for others' room.</summary>
    Evicted,
    /// <summary>Refused: see the faults.</summary>
    Faulted,
}

/// <summary>One adapter in the tree: a folder; its parent is the folder around it. The root is the bare base.</summary>
public sealed class AdapterNode
{
    private AdapterNode[] _children = [];
    private volatile AdapterState _state;

    internal AdapterNode(string name, string folder, AdapterNode? parent)
    {
        Name = name;
        Folder = folder;
        Parent = parent;
        Depth = parent is null ? 0 : parent.Depth + 1;
        Path = parent is null ? "" : parent.Path.Length == 0 ? name : $"{parent.Path}/{name}";
    }

    /// <summary>Name of the folder; empty for the root.</summary>
    public string Name { get; }

    /// <summary>Path from the root, <c>support/alice</c>; empty for the root.</summary>
    public string Path { get; }

    /// <summary>Folder or file on disk; a reload from another place changes it.</summary>
    public string Folder { get; internal set; }

    /// <summary>The node it builds on; null for the root.</summary>
    public AdapterNode? Parent { get; }

    /// <summary>Nodes that build on it, by name. A mount or an unmount gives another list.</summary>
    public IReadOnlyList<AdapterNode> Children => _children;

    /// <summary>Edges to the root.</summary>
    public int Depth { get; }

    /// <summary>State now.</summary>
    public AdapterState State
    {
        get => _state;
        internal set
        {
            AdapterState before = _state;
            if (before == value)
                return;
            _state = value;
            Observer?.Invoke(this, before, value);
        }
    }

    /// <summary>Told of every change of the state, from and to, on the thread that made it.</summary>
    internal Action<AdapterNode, AdapterState, AdapterState>? Observer { get; set; }

    /// <summary>Why it was refused, all of it.</summary>
    public IReadOnlyList<string> Faults { get; internal set; } = [];

    /// <summary>Raised by each reload under the same name.</summary>
    public int Generation { get; internal set; }

    /// <summary>Bytes of its tensors; 0 until it was read.</summary>
    public long ByteLength { get; internal set; }

    /// <summary>Smallest rank among its sites; 0 until it was read.</summary>
    public int MinRank { get; internal set; }

    /// <summary>Largest rank among its sites.</summary>
    public int MaxRank { get; internal set; }

    /// <summary>lora_alpha.</summary>
    public float Alpha { get; internal set; }

    /// <summary>LoRA, rsLoRA, DoRA …; null until it was read.</summary>
    public string? Form { get; internal set; }

    /// <summary>A number that changes when the node's own files do: names, lengths and times of writing.</summary>
    public long FileStamp()
    {
        HashCode hash = new();
        try
        {
            IEnumerable<FileInfo> files = Directory.Exists(Folder) ? new DirectoryInfo(Folder).EnumerateFiles().OrderBy(f => f.Name, StringComparer.Ordinal) : [new(Folder)];
            foreach (FileInfo file in files)
            {
                hash.Add(file.Name, StringComparer.Ordinal);
                hash.Add(file.Exists ? file.Length : -1);
                hash.Add(file.LastWriteTimeUtc);
            }
        }
        catch (IOException)
        {
            // Files come and go under the enumeration: another number, and the next look will tell.
            hash.Add(DateTime.UtcNow);
        }
        return hash.ToHashCode();
    }

    internal void AddChild(AdapterNode child) => _children = Array.FindIndex(_children, c => string.CompareOrdinal(c.Name, child.Name) > 0) is >= 0 and int at ? [.. _children[..at], child, .. _children[at..]] : [.. _children, child];

    internal void RemoveChild(AdapterNode child) => _children = [.. _children.Where(c => c != child)];

    /// <summary>This node and its ancestors without the root, outermost first.</summary>
    public IReadOnlyList<AdapterNode> Chain()
    {
        AdapterNode[] chain = new AdapterNode[Depth];
        for (AdapterNode node = this; node.Parent is not null; node = node.Parent)
            chain[node.Depth - 1] = node;
        return chain;
    }

    /// <inheritdoc/>
    public override string ToString() => Path.Length == 0 ? "(root)" : Path;
}
