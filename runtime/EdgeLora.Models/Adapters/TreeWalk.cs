namespace EdgeLora.Models;

/// <summary>The plan of a switch: leave edges up to the lowest common ancestor, enter edges down. Cost is the edges, never the base.</summary>
/// <param name="From">Where the walk starts.</param>
/// <param name="To">Where it ends.</param>
/// <param name="Ancestor">Their lowest common ancestor.</param>
public readonly record struct TreeWalk(AdapterNode From, AdapterNode To, AdapterNode Ancestor)
{
    /// <summary>Nodes left, innermost first.</summary>
    public IReadOnlyList<AdapterNode> Leave => From.Chain().Skip(Ancestor.Depth).Reverse().ToArray();

    /// <summary>Nodes entered, outermost first.</summary>
    public IReadOnlyList<AdapterNode> Enter => To.Chain().Skip(Ancestor.Depth).ToArray();

    /// <summary>Edges walked.</summary>
    public int Edges => From.Depth + To.Depth - 2 * Ancestor.Depth;

    /// <summary>The walk between two nodes of one tree; allocates nothing. Throws <see cref="ArgumentException"/> when they are of different trees.</summary>
    public static TreeWalk Between(AdapterNode from, AdapterNode to)
    {
        AdapterNode? a = from, b = to;
        while (!ReferenceEquals(a, b))
        {
            if (a is null || b is null)
                throw new ArgumentException($"{from} and {to} are in different trees");
            if (a.Depth >= b.Depth)
                a = a.Parent;
            else
                b = b.Parent;
        }
        return new(from, to, a!);
    }
}
