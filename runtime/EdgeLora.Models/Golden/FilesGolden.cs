using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Compares files of one model in several types with their reference, expected_logits.safetensors: <c>ids</c> [T], and for each file logits [T, V] under the end of its name (<c>Q8_0</c> for my-model-Q8_0.gguf,
/// also where it is split; <c>hf</c> for the folder hf).
/// </summary>
public static class FilesGolden
{
    /// <summary>The reference's file.</summary>
    public const string ExpectedName = "expected_logits.safetensors";

    private const string Folder = "hf", Swapped = "-big-endian", Ids = "ids";

    /// <summary>The reference of a folder or .gguf file: <paramref name="given"/> where it is one of this kind, else what lies beside; null where there is none, or <see cref="ModelGolden"/>'s.</summary>
    public static string? ReferenceOf(string path, string? given)
    {
        if (given is null)
        {
            string usual = ModelGolden.ExpectedOf(path), beside = Path.Combine(Path.GetDirectoryName(usual)!, ExpectedName);
            return !File.Exists(usual) && File.Exists(beside) ? beside : null;
        }
        if (!File.Exists(given))
            return null;
        using TensorFile file = Safetensors.Open(given);
        return file.Tensors.ContainsKey(Ids) ? given : null;
    }

    /// <summary>Runs every file that the reference has logits of.</summary>
    /// <param name="path">The files' folder, or one .gguf file.</param>
    /// <param name="backend">Where they run.</param>
    /// <param name="reference">The reference's file: see <see cref="ReferenceOf"/>.</param>
    public static IReadOnlyList<GoldenError> Verify(string path, IComputeBackend backend, string reference)
    {
        using TensorFile expected = Safetensors.Open(reference);
        if (!expected.Tensors.TryGetValue(Ids, out Tensor? tokens))
            throw new ModelFileException(reference, $"{Ids} is missing");
        int[] ids = Array.ConvertAll(tokens.ToInts(), x => (int)x);
        List<GoldenError> errors = [];
        foreach ((string file, string name) in Models(path))
            if (expected.Tensors.Keys.FirstOrDefault(k => name == k || name.EndsWith("-" + k, StringComparison.Ordinal)) is { } column)
            {
                using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(file), backend);
                errors.Add(new(Path.GetFileName(file), GoldenError.Relative(ModelGolden.Logits(model, AdapterPath.Root, ids), expected.Tensors[column].ToFloats()), ModelGolden.Tolerance));
            }
        return errors;
    }

    // Of a split model its first piece stands for all.
    private static IEnumerable<(string Path, string Name)> Models(string path)
    {
        IEnumerable<string> files = File.Exists(path) ? [path] : Directory.EnumerateFiles(path, "*.gguf").Where(f => GgufPieceName.Parse(f) is not { Number: > 1 }).Order(StringComparer.Ordinal);
        foreach (string file in files)
            yield return (file, (GgufPieceName.Parse(file) is { } piece ? Path.GetFileName(piece.Stem) : Path.GetFileNameWithoutExtension(file)).Replace(Swapped, "", StringComparison.Ordinal));
        if (File.Exists(Path.Combine(path, Folder, "config.json")))
            yield return (Path.Combine(path, Folder), Folder);
    }
}
