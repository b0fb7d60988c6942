using EdgeLora.Models;

namespace EdgeLora;

/// <summary>Where a pushed adapter goes.</summary>
/// <param name="Parent">What it builds on; empty: the base.</param>
/// <param name="Name">Its name there.</param>
/// <param name="Mode">Whether it may take another's place.</param>
internal sealed record PushTarget(string Parent, string Name, PushMode Mode)
{
    /// <summary>Path in the tree.</summary>
    public string Path => Parent.Length == 0 ? Name : $"{Parent}/{Name}";

    /// <summary>The node that is there; null: none. Throws <see cref="KeyNotFoundException"/> and <see cref="ArgumentException"/> where the mode or the parent forbids it.</summary>
    public AdapterNode? Find(AdapterTree tree)
    {
        tree.Get(Parent);
        if (Name.Length is 0 or > 128 || Name is "." or ".." || System.IO.Path.GetFileName(Name) != Name || Name.Contains('\\'))
            throw new ArgumentException($"'{LinkText.Short(Name)}' is no name of a node: expected 1 to 128 letters without slashes");
        AdapterNode? node = tree.Find(Path);
        if (node is not null && Mode == PushMode.New)
            throw new ArgumentException($"'{Path}' is mounted already");
        return node is null && Mode == PushMode.Replace ? tree.Get(Path) : node;
    }
}
