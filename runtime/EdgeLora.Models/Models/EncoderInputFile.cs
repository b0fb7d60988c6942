using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Inputs of encoders in a file, under the reference library's names: <c>input_ids</c> [N, T] or [T] with <c>attention_mask</c> and <c>token_type_ids</c> of the same shape beside it, or
/// <c>pixel_values</c> [N, C, H, W] or [C, H, W], already normalised. In safetensors as tensors, in JSON as nested arrays in one object, where rows may differ in length.
/// </summary>
public static class EncoderInputFile
{
    private const string Ids = "input_ids", Mask = "attention_mask", Types = "token_type_ids", Pixels = "pixel_values";

    /// <summary>Reads a .safetensors or .json file. Throws <see cref="ModelFileException"/> naming what was expected.</summary>
    public static EncoderInput[] Read(string path)
    {
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
            return ReadJson(path);
        using TensorFile file = Safetensors.Open(path);
        return Read(file);
    }

    /// <summary>Reads an opened file.</summary>
    public static EncoderInput[] Read(TensorFile file)
    {
        if (file.Tensors.TryGetValue(Pixels, out Tensor? pixels))
        {
            float[] values = pixels.ToFloats();
            if (values.Length == 0 || pixels.Shape.Rank is not (3 or 4))
                throw new ModelFileException(file.FilePath, $"{Pixels}: expected [N, C, H, W] or [C, H, W], found {pixels.Shape}");
            return [.. values.Chunk(pixels.Shape.Rank == 3 ? values.Length : values.Length / (int)pixels.Shape[0]).Select(EncoderInput.Image)];
        }
        int[][]? ids = Rows(file, Ids);
        return ids is null ? throw Nothing(file.FilePath) : Join(file.FilePath, ids, Rows(file, Mask), Rows(file, Types));
    }

    private static EncoderInput[] ReadJson(string path)
    {
        using JsonDocument document = SafeJson.ReadFile(path);
        JsonElement root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object)
            throw new ModelFileException(path, $"expected an object with {Ids} or {Pixels}, found {SafeJson.Kind(root.ValueKind)}");
        if (root.TryGetProperty(Pixels, out JsonElement pixels))
        {
            bool many = Depth(pixels) == 4;
            return [.. (many ? pixels.EnumerateArray() : Enumerable.Repeat(pixels, 1)).Select(image => EncoderInput.Image(Flat(path, image)))];
        }
        int[][]? ids = Rows(path, root, Ids);
        return ids is null ? throw Nothing(path) : Join(path, ids, Rows(path, root, Mask), Rows(path, root, Types));
    }

    private static EncoderInput[] Join(string path, int[][] ids, int[][]? masks, int[][]? types)
    {
        foreach ((string name, int[][]? rows) in (ReadOnlySpan<(string, int[][]?)>)[(Mask, masks), (Types, types)])
            if (rows is not null && rows.Length != ids.Length)
                throw new ModelFileException(path, $"{name}: expected {ids.Length} rows as {Ids} has, found {rows.Length}");
        return [.. ids.Select((row, i) => EncoderInput.Tokens(row, masks?[i], types?[i]))];
    }

    private static int[][]? Rows(TensorFile file, string name)
    {
        if (!file.Tensors.TryGetValue(name, out Tensor? tensor))
            return null;
        if (tensor.Shape.Rank is not (1 or 2) || tensor.Shape.Elements == 0 || tensor.Type is not (DType.I64 or DType.I32))
            throw new ModelFileException(file.FilePath, $"{name}: expected whole numbers [N, T] or [T], found {tensor.Type} {tensor.Shape}");
        return [.. tensor.ToInts().Chunk(tensor.Shape.Columns).Select(row => Array.ConvertAll(row, x => x is >= 0 and <= int.MaxValue ? (int)x : throw new ModelFileException(file.FilePath, $"{name}: expected ids from 0 on, found {x}")))];
    }

    private static int[][]? Rows(string path, JsonElement root, string name)
    {
        if (!root.TryGetProperty(name, out JsonElement rows))
            return null;
        int[] Row(JsonElement row) => row.ValueKind == JsonValueKind.Array
            ? [.. row.EnumerateArray().Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int id) ? id : throw new ModelFileException(path, $"{name}: expected whole numbers, found {SafeJson.Excerpt(e)}"))]
            : throw new ModelFileException(path, $"{name}: expected an array, found {SafeJson.Kind(row.ValueKind)}");
        return Depth(rows) == 2 ? [.. rows.EnumerateArray().Select(Row)] : [Row(rows)];
    }

    private static float[] Flat(string path, JsonElement image)
    {
        List<float> values = [];
        void Add(JsonElement e)
        {
            if (e.ValueKind == JsonValueKind.Array)
                foreach (JsonElement inner in e.EnumerateArray())
                    Add(inner);
            else
                values.Add(e.ValueKind == JsonValueKind.Number && e.TryGetSingle(out float value) ? value : throw new ModelFileException(path, $"{Pixels}: expected numbers, found {SafeJson.Excerpt(e)}"));
        }
        if (Depth(image) != 3)
            throw new ModelFileException(path, $"{Pixels}: expected arrays nested as [N, C, H, W] or [C, H, W]");
        Add(image);
        return [.. values];
    }

    private static int Depth(JsonElement e) => e.ValueKind != JsonValueKind.Array ? 0 : e.GetArrayLength() == 0 ? 1 : 1 + Depth(e[0]);

    private static ModelFileException Nothing(string path) => new(path, $"expected {Ids} or {Pixels}");
}
