using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Converting;

/// <summary>The types that a whole model is written in, by the names that are typed.</summary>
internal static class ModelTypes
{
    private static readonly DType[] s_folder = [DType.F32, DType.F16, DType.BF16];

    /// <summary>Names of those of a GGUF file.</summary>
    public static string Gguf { get; } = Names(GgufWeightTypes.Writable);

    /// <summary>The type of that name, in either case. Throws <see cref="UsageException"/> naming those that there are.</summary>
    public static DType Parse(string name, bool gguf)
    {
        IReadOnlyList<DType> types = gguf ? GgufWeightTypes.Writable : s_folder;
        foreach (DType type in types)
            if (type.ToString().Equals(name, StringComparison.OrdinalIgnoreCase))
                return type;
        throw new UsageException($"--type {name}: expected {Names(types)} for {(gguf ? "a .gguf file" : "a folder")}");
    }

    private static string Names(IEnumerable<DType> types) => string.Join(", ", types.Select(t => t.ToString().ToLowerInvariant()));
}
