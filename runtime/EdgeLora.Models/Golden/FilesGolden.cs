using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Compares files of one model in several types with their reference beside them, expected_logits.safetensors: <c>ids</c> [T], and for each file logits [T, V] under the end of its name (<c>Q8_0</c> for my-model-Q8_0.gguf;
/// <c>hf</c> for the folder hf).
/// </summary>
public static class FilesGolden
{
    /// <summary>The reference's file.</summary>
    public const string ExpectedName = "expected_logits.safetensors";

    private const string Folder = "hf", Swapped = "-big-endian";

    /// <summary>Runs every file that the reference has logits of.</summary>
    /// <param name="folder">The files' folder.</param>
    /// <param name="backend">Where they run.</param>
    public static IReadOnlyList<GoldenError> Verify(string folder, IComputeBackend backend)
    {
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, ExpectedName));
        if (!expected.Tensors.TryGetValue("ids", out Tensor? tokens))
            throw new ModelFileException(folder, $"{ExpectedName}: ids is missing");
        int[] ids = Array.ConvertAll(tokens.ToInts(), x => (int)x);
        List<GoldenError> errors = [];
        foreach ((string path, string name) in Models(folder))
            if (expected.Tensors.Keys.FirstOrDefault(k => name == k || name.EndsWith("-" + k, StringComparison.Ordinal)) is { } column)
            {
                using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), backend);
                errors.Add(new(Path.GetFileName(path), GoldenError.Relative(ModelGolden.Logits(model, AdapterPath.Root, ids), expected.Tensors[column].ToFloats()), ModelGolden.Tolerance));
            }
        return errors;
    }

    private static IEnumerable<(string Path, string Name)> Models(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*.gguf").Order(StringComparer.Ordinal))
            yield return (file, Path.GetFileNameWithoutExtension(file).Replace(Swapped, "", StringComparison.Ordinal));
        if (File.Exists(Path.Combine(folder, Folder, "config.json")))
            yield return (Path.Combine(folder, Folder), Folder);
    }
}
