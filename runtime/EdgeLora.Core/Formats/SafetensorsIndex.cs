using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// <c>model.safetensors.index.json</c>: <c>{ "metadata": {...}, "weight_map": { tensor name: shard file name } }</c>. Shards are plain
/// .safetensors files in the same folder. The index must say exactly what the shards hold: a tensor missing, listed in the wrong shard, unlisted or
/// held twice is refused. <c>metadata.total_size</c> is not checked: published checkpoints often have it wrong.
/// </summary>
internal static class SafetensorsIndex
{
    private static readonly string[] Devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

    /// <summary>Opens the index at <paramref name="path"/> and every shard it names.</summary>
    public static TensorFile Open(string path)
    {
        Dictionary<string, string> map = ReadMap(path);
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        FaultList faults = new(path);
        SortedSet<string> shards = new(map.Values, StringComparer.Ordinal);
        foreach (string shard in shards)
            if (FaultOf(shard) is string fault)
                faults.Add($"weight_map: shard '{shard}' {fault}");
            else if (!File.Exists(Path.Combine(folder, shard)))
                faults.Add($"weight_map: shard {shard} does not exist");
        faults.ThrowIfAny();

        List<TensorStorage> files = [];
        try
        {
            Dictionary<string, Tensor> tensors = new(map.Count);
            Dictionary<string, string> metadata = [];
            foreach (string shard in shards)
            {
                string shardPath = Path.Combine(folder, shard);
                MappedFile file = Safetensors.Map(shardPath);
                files.Add(file);
                (Dictionary<string, Tensor> held, Dictionary<string, string> own) = Safetensors.Read(shardPath, file);
                Join(shard, held, map, tensors, faults);
                foreach ((string key, string value) in own)
                    metadata.TryAdd(key, value);
            }
            foreach ((string name, string shard) in map)
                if (!tensors.ContainsKey(name))
                    faults.Add($"{name}: is in no shard; the index puts it in {shard}");
            faults.ThrowIfAny();
            return new TensorFile(path, tensors, metadata, files);
        }
        catch
        {
            files.ForEach(f => f.Dispose());
            throw;
        }
    }

    private static void Join(string shard, Dictionary<string, Tensor> held, Dictionary<string, string> map, Dictionary<string, Tensor> tensors, FaultList faults)
    {
        foreach ((string name, Tensor tensor) in held)
        {
            if (!tensors.TryAdd(name, tensor))
                faults.Add($"{name}: is in {shard} and in another shard");
            else if (!map.TryGetValue(name, out string? listed))
                faults.Add($"{name}: is in {shard} but not in the index's weight_map");
            else if (listed != shard)
                faults.Add($"{name}: is in {shard}; the index puts it in {listed}");
        }
    }

    private static Dictionary<string, string> ReadMap(string path)
    {
        using JsonDocument document = SafeJson.ReadFile(path);
        if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("weight_map", out JsonElement map))
            throw new ModelFileException(path, "weight_map is missing");
        if (map.ValueKind != JsonValueKind.Object)
            throw new ModelFileException(path, $"weight_map: expected an object of file names, found {SafeJson.Kind(map.ValueKind)}");
        FaultList faults = new(path);
        Dictionary<string, string> result = [];
        foreach (JsonProperty property in map.EnumerateObject())
        {
            if (property.Value.ValueKind == JsonValueKind.String)
                result[property.Name] = property.Value.GetString()!;
            else
                faults.Add($"weight_map: {property.Name}: expected a file name, found {SafeJson.Excerpt(property.Value)}");
        }
        if (result.Count == 0 && faults.Count == 0)
            faults.Add("weight_map is empty");
        faults.ThrowIfAny();
        return result;
    }

    // Judged the same on every system: an index made for one must not reach outside its folder on another.
    private static string? FaultOf(string shard)
    {
        if (shard.Length is 0 or > 255)
            return "is no file name";
        if (shard.AsSpan().ContainsAny("/\\:") || shard.Contains("..") || shard[0] == '~')
            return "is no plain file name in the index's folder";
        foreach (char c in shard)
            if (char.IsControl(c) || c is '<' or '>' or '"' or '|' or '?' or '*')
                return "holds a character that file names may not have";
        string stem = shard.Split('.')[0].TrimEnd().ToUpperInvariant();
        if (Devices.Contains(stem) || (stem.Length == 4 && (stem.StartsWith("COM", StringComparison.Ordinal) || stem.StartsWith("LPT", StringComparison.Ordinal))))
            return "is the name of a device";
        return shard.EndsWith(".safetensors", StringComparison.Ordinal) ? null : "does not end with .safetensors";
    }
}
