using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>The smallest Llama that adapters are fitted to: made here, so that the tool needs no data.</summary>
internal static class TinyBase
{
    /// <summary>D 32 (GGUF's blocks are 32 long), F 32, one layer, H 2, K 1, V 16.</summary>
    public static LlamaShape Shape { get; } = new("tiny", 32, 32, 1, 2, 1, 16);

    private static readonly Lazy<(DecoderModel Model, string Folder)> s_open = new(() =>
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-fuzz-base-").FullName;
        RandomModel.WriteFolder(folder, Shape, DType.BF16);
        DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), new ReferenceBackend());
        return (model, folder);
    });

    /// <summary>Its places for adapters.</summary>
    public static SiteCatalog Sites => s_open.Value.Model.Sites;

    /// <summary>Its config.json.</summary>
    public static string Config => Shape.Config(DType.BF16);

    /// <summary>The bytes of a file that <paramref name="write"/> makes in a folder of its own.</summary>
    public static byte[] Bytes(string name, Action<string> write)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-fuzz-seed-").FullName;
        try
        {
            write(folder);
            return File.ReadAllBytes(Path.Combine(folder, name));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Writes its weights and its config into a folder.</summary>
    public static void Write(string folder) => RandomModel.WriteFolder(folder, Shape, DType.BF16);

    /// <summary>Writes a LoRA for it as a PEFT folder: rank 1 on the queries and values.</summary>
    public static void WriteAdapter(string folder) =>
        RandomAdapter.Write(folder, RandomAdapter.LayersOf(HfConfig.Parse("tiny", Encoding.UTF8.GetBytes(Config))).Where(l => l.Module.EndsWith("q_proj", StringComparison.Ordinal) || l.Module.EndsWith("v_proj", StringComparison.Ordinal)), 1, 7);
}
