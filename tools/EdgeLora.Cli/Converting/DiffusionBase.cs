using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Cli.Converting;

/// <summary>A diffusion model as a list of module names: what tells underscored names apart.</summary>
internal static class DiffusionBase
{
    private const string Weight = ".weight";

    /// <summary>Whether a path is a list of names (.txt), a .safetensors file, or the folder of a diffusers model, a CLIP text model or a T5 encoder.</summary>
    public static bool IsOne(string path)
    {
        if (File.Exists(path))
            return path.EndsWith(".txt", StringComparison.OrdinalIgnoreCase) || path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase);
        return ClassOf(path) is not null;
    }

    /// <summary>What the config of a diffusers model, a CLIP text model or a T5 encoder calls it: UNet2DConditionModel, clip_text_model; null for any other folder.</summary>
    public static string? ClassOf(string path)
    {
        string config = Path.Combine(path, "config.json");
        if (!File.Exists(config))
            return null;
        try
        {
            using JsonDocument document = SafeJson.ReadFile(config, allowDuplicates: true);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                return null;
            if (document.RootElement.TryGetProperty("_class_name", out JsonElement name) && name.ValueKind == JsonValueKind.String)
                return name.GetString();
            return document.RootElement.TryGetProperty("model_type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.GetString() is "clip_text_model" or "t5" or "t5_encoder" ? type.GetString() : null;
        }
        catch (ModelFileException)
        {
            // Its own reader says what is wrong with it.
            return null;
        }
    }

    /// <summary>Names of the modules that have a weight. Throws <see cref="ModelFileException"/> where there are none.</summary>
    public static IReadOnlyList<string> Modules(string path)
    {
        List<string> modules = [];
        if (path.EndsWith(".txt", StringComparison.OrdinalIgnoreCase))
            modules.AddRange(File.ReadLines(path).Select(l => l.Trim()).Where(l => l.Length > 0));
        else
            using (TensorFile file = Safetensors.Open(path))
                modules.AddRange(file.Tensors.Keys.Where(n => n.EndsWith(Weight, StringComparison.Ordinal)).Select(n => n[..^Weight.Length]));
        return modules.Count > 0 ? modules : throw new ModelFileException(path, "names no module");
    }
}
