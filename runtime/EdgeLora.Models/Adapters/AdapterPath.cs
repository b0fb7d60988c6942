using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A place to stand: the resolved sum of the nodes from the root to one node (or a blend). Immutable; two sessions on one node share one path.
/// Its identity is the key of keys and values: a reload, another scale or another blend gives another path object. A fused path is closed when its overlay is dropped.
/// </summary>
public sealed class AdapterPath
{
    internal const string DroppedMessage = "its fused overlay was dropped when the last session and holder left: fuse the node again";
    private static long s_next;
    private readonly SiteTable? _before;
    private SiteTable? _table;

    /// <summary>A path named <paramref name="name"/> that does what <paramref name="table"/> says.</summary>
    /// <param name="name">Path in the tree, <c>support/alice</c>; empty for the root.</param>
    /// <param name="table">What the path does at each site, every adapter active.</param>
    /// <param name="invocation">aLoRA: tokens from whose last occurrence on the activated adapters act; null without one.</param>
    /// <param name="beforeInvocation">What the path does before that; ignored without invocation tokens.</param>
    public AdapterPath(string name, SiteTable table, int[]? invocation = null, SiteTable? beforeInvocation = null)
    {
        Name = name;
        _table = table;
        Invocation = invocation;
        _before = invocation is null ? null : beforeInvocation ?? SiteTable.Base;
        Id = Interlocked.Increment(ref s_next);
    }

    internal AdapterPath(string name, SiteTable table, FusedOverlay overlay) : this(name, table) => Overlay = overlay;

    /// <summary>The root: the untouched base.</summary>
    public static AdapterPath Root { get; } = new("", SiteTable.Base);

    /// <summary>Path in the tree; empty for the root.</summary>
    public string Name { get; }

    /// <summary>Unique for the life of the process.</summary>
    public long Id { get; }

    /// <summary>What the path does once everything on it is active. Throws <see cref="ObjectDisposedException"/> when the path was fused and its overlay is dropped.</summary>
    public SiteTable Table => _table ?? throw new ObjectDisposedException(ToString(), DroppedMessage);

    /// <summary>aLoRA's invocation tokens, or null.</summary>
    public int[]? Invocation { get; }

    /// <summary>What the path does before the invocation.</summary>
    public SiteTable BeforeInvocation => _before ?? Table;

    /// <summary>The weights of a fused path; null for every other.</summary>
    internal FusedOverlay? Overlay { get; }

    /// <summary>First position at which the whole path acts: 0 without invocation tokens, the start of their last complete occurrence with, past the end where there is none.</summary>
    public int ActivationStart(ReadOnlySpan<int> tokens)
    {
        if (Invocation is null)
            return 0;
        int at = tokens.LastIndexOf(Invocation);
        return at >= 0 ? at : int.MaxValue;
    }

    // Whoever still has the path lets go of the weights, and a late user fails instead of reading them.
    internal void Close() => _table = null;

    /// <inheritdoc/>
    public override string ToString() => Name.Length == 0 ? "(root)" : Name;
}
