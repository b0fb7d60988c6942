using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>Adapters of one kind, each the child of the one before.</summary>
/// <param name="Stem">Name of the first node without its number.</param>
/// <param name="Label">As tables show it.</param>
/// <param name="Rank">R.</param>
/// <param name="Modules">Last part of the names of the layers it acts on; null: all but the head.</param>
/// <param name="Depths">Adapters on a path.</param>
internal sealed record AdapterStack(string Stem, string Label, int Rank, IReadOnlyList<string>? Modules, IReadOnlyList<int> Depths)
{
    /// <summary>What is measured.</summary>
    public static IReadOnlyList<AdapterStack> All { get; } = [new("all", "r 16, all linear", 16, null, BenchSettings.Depths), new("qv", "r 8, q+v", 8, ["q_proj", "v_proj", "c_attn"], BenchSettings.Depths), new("wide", "r 64, all linear", 64, null, [1])];

    /// <summary>Path of the node that has <paramref name="depth"/> adapters on its path.</summary>
    public string Node(int depth) => string.Join('/', Enumerable.Range(1, depth).Select(i => FormattableString.Invariant($"{Stem}{i}")));
}

/// <summary>The adapters that are measured, in a folder: stacks of four, three more beside the first, one to train.</summary>
internal static class RandomTree
{
    /// <summary>Node of the adapter that training goes on from: r 8 on every linear layer.</summary>
    public const string Trained = "trained";

    /// <summary>R of <see cref="Trained"/>.</summary>
    public const int TrainedRank = 8;

    /// <summary>Four nodes of one kind, none on the path of another.</summary>
    public static IReadOnlyList<string> Siblings { get; } = ["all1", "beside2", "beside3", "beside4"];

    /// <summary>Writes them for the base that <paramref name="sites"/> are of, their tensors as <paramref name="type"/>.</summary>
    public static void Write(string folder, SiteCatalog sites, DType type, CancellationToken cancellation)
    {
        IReadOnlyList<(string Module, int Outputs, int Inputs)> layers = RandomAdapter.LayersOf(sites);
        bool conv1D = sites.Sites.Any(s => s.IsConv1D);
        List<(string Node, int Rank, IReadOnlyList<string>? Modules)> nodes = [.. from stack in AdapterStack.All from depth in Enumerable.Range(1, stack.Depths.Max()) select (stack.Node(depth), stack.Rank, stack.Modules)];
        nodes.AddRange(Siblings.Skip(1).Select(s => (s, AdapterStack.All[0].Rank, AdapterStack.All[0].Modules)));
        nodes.Add((Trained, TrainedRank, null));
        int seed = 0;
        foreach ((string node, int rank, IReadOnlyList<string>? modules) in nodes)
        {
            cancellation.ThrowIfCancellationRequested();
            RandomAdapter.Write(Path.Combine(folder, node), layers.Where(l => modules is null || modules.Any(m => l.Module.EndsWith("." + m, StringComparison.Ordinal))), rank, seed += 10_000, conv1D, type);
        }
    }
}
