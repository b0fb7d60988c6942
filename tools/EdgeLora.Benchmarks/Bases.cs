using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>The bases that are measured: trees in a temporary folder, made when first asked for. Each holds the nodes <c>one</c>, <c>one/two</c> and <c>other</c>, all r 8 on every linear layer.</summary>
internal static class Bases
{
    private const string Stories = "stories260K F32", Bf16 = "135M BF16", Q8 = "135M Q8_0";
    private static readonly string s_folder = Directory.CreateTempSubdirectory("edgelora-benchmarks-").FullName;
    private static readonly string? s_stories = Find("shared/data/lm-stories260k");

    /// <summary>Their names, as the tables show them.</summary>
    public static IEnumerable<string> Names => s_stories is null ? [Bf16, Q8] : [Stories, Bf16, Q8];

    /// <summary>What is not measured, and why.</summary>
    public static string? Skipped => s_stories is null ? $"{Stories} is skipped: ../shared/data/lm-stories260k is not beside this checkout" : null;

    /// <summary>Opens a base's tree.</summary>
    public static EdgeHost Open(string name, EdgeHostOptions? options = null) => EdgeHost.Open(Tree(name), options);

    /// <summary>Folder of a base's tree.</summary>
    public static string Tree(string name)
    {
        string tree = Path.Combine(s_folder, name.Replace(' ', '-'));
        if (Directory.Exists(tree))
            return tree;
        Directory.CreateDirectory(tree);
        string folder = Path.Combine(tree, "base");
        switch (name)
        {
            case Stories:
                Llama2cConvert.ToHuggingFace(Path.Combine(s_stories!, "stories260K.bin"), Path.Combine(s_stories!, "tok512.bin"), folder);
                break;
            case Bf16:
                RandomModel.WriteFolder(folder, LlamaShape.Of135M, DType.BF16);
                break;
            case Q8:
                RandomModel.WriteGguf(folder + ".gguf", LlamaShape.Of135M, DType.Q8_0);
                break;
            default:
                throw new ArgumentException($"{name}: expected one of {string.Join(", ", Names)}");
        }
        int seed = 0;
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(name == Q8 ? folder + ".gguf" : folder);
        foreach (string node in new[] { "one", "one/two", "other" })
            RandomAdapter.Write(Path.Combine(tree, node), RandomAdapter.LayersOf(checkpoint.Config), rank: 8, seed += 1000);
        return tree;
    }

    /// <summary>Removes what was made.</summary>
    public static void Delete() => Directory.Delete(s_folder, recursive: true);

    // Beside the checkout: the folder of EdgeLora.sln.
    private static string? Find(string relative)
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "EdgeLora.sln")) && Path.GetFullPath(Path.Combine(d.FullName, "..", relative)) is string path && Directory.Exists(path))
                return path;
        return null;
    }
}
