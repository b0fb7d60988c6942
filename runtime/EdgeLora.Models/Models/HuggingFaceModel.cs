using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A base as a Hugging Face folder of plain safetensors: a GGUF file, with q and k in that order of rows and Conv1D turned back, config.json, generation_config.json and the tokenizer's files; or a folder, of
/// other types, and without what its config says of quantisation.
/// </summary>
public sealed class HuggingFaceModel
{
    private readonly GgufFile? _file;
    private readonly string _path;
    private readonly JsonObject _config;
    private readonly DType _type;

    private HuggingFaceModel(BaseCheckpoint checkpoint, JsonObject config, DType type, IReadOnlyList<TensorOutput> tensors) =>
        (_path, _file, _config, _type, Tensors) = (checkpoint.Path, checkpoint.Container as GgufFile, config, type, tensors);

    /// <summary>The tensors, under Hugging Face names.</summary>
    public IReadOnlyList<TensorOutput> Tensors { get; }

    /// <summary>Bytes of all tensors.</summary>
    public long ByteLength => Tensors.Sum(t => t.ByteLength);

    /// <summary>Plans the folder. Throws <see cref="ModelFileException"/> for what a Hugging Face model cannot say.</summary>
    /// <param name="checkpoint">An opened base.</param>
    /// <param name="type">F32, F16 or BF16 for every tensor; null: floats stay what they are, quantised tensors become F32, which holds them exactly.</param>
    public static HuggingFaceModel Of(BaseCheckpoint checkpoint, DType? type)
    {
        if (checkpoint.Container is not GgufFile file)
            return OfFolder(checkpoint, type);
        GgufCheckpoint gguf = new(file);
        if (gguf.UnmappedTensors.Count > 0)
            throw new ModelFileException(file.FilePath, [.. gguf.UnmappedTensors.Select(t => $"tensor '{t}': Hugging Face's {gguf.Architecture} has no name for it")]);
        ModelConfig numbers = ArchitectureRegistry.For(checkpoint.Config).ReadConfig(checkpoint);
        bool copied = HeadIsCopy(file, gguf);
        List<TensorOutput> tensors = [];
        foreach ((string name, Tensor tensor) in checkpoint.Weights.Tensors)
        {
            if (copied && gguf.Names[name] == "output.weight")
                continue;
            bool turned = gguf.StoresConv1DAsLinear && tensor.Shape.Rank == 2 && name.Contains(".c_", StringComparison.Ordinal);
            bool shifted = GgufNames.ShiftsGains(gguf.Architecture) && name.EndsWith("norm.weight", StringComparison.Ordinal);
            tensors.Add(new(name, type ?? (tensor.Type is DType.F16 or DType.BF16 ? tensor.Type : DType.F32), tensor, RowOrder(gguf.Architecture, name, tensor, numbers), turned) { Shift = shifted ? -1 : 0 });
        }
        JsonObject config = JsonNode.Parse(gguf.ConfigJson.ToJsonString())!.AsObject();
        SpellRope(file, config, numbers);
        if (copied)
            config["tie_word_embeddings"] = true;
        return new(checkpoint, config, type ?? Most(tensors), tensors);
    }

    private static int[]? RowOrder(string architecture, string name, Tensor tensor, ModelConfig numbers)
    {
        if (GgufNames.SplitsQueryKeyValue(architecture))
            return name.Contains(".query_key_value.", StringComparison.Ordinal) && numbers.KvHeads > 1 ? QueryKeyValueRows.FromPieces(numbers.Heads * numbers.HeadSize, numbers.KvHeads * numbers.HeadSize, numbers.KvHeads) : null;
        int heads = !GgufNames.PermutesQueryKeyRows(architecture) ? 0 : name.Contains(".q_proj.", StringComparison.Ordinal) ? numbers.Heads : name.Contains(".k_proj.", StringComparison.Ordinal) ? numbers.KvHeads : 0;
        return heads > 0 ? QueryKeyPermutation.ToAdjacent((int)tensor.Shape[0], heads) : null;
    }

    // Where files must hold a head, a tied one is the table once more.
    private static bool HeadIsCopy(GgufFile file, GgufCheckpoint gguf) => GgufMetadata.NeedsHead(gguf.Architecture) && file.Contains("output.weight")
        && file.Tensor("output.weight") is { } head && file.Tensor("token_embd.weight") is { } table && head.Type == table.Type && head.Shape == table.Shape && head.Bytes.SequenceEqual(table.Bytes);

    private static HuggingFaceModel OfFolder(BaseCheckpoint checkpoint, DType? type)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllBytes(Path.Combine(checkpoint.Path, "config.json")))!.AsObject();
        config.Remove("quantization_config");
        config.Remove("quantization");
        List<TensorOutput> tensors = [];
        foreach ((string name, Tensor tensor) in checkpoint.Weights.Tensors)
            tensors.Add(new(name, !tensor.Type.IsWeight() ? tensor.Type : type ?? (tensor.Type is DType.F16 or DType.BF16 ? tensor.Type : DType.F32), tensor));
        return new(checkpoint, config, type ?? Most(tensors), tensors);
    }

    private static DType Most(List<TensorOutput> tensors) => tensors.Where(t => t.Type.IsWeight()).GroupBy(t => t.Type).MaxBy(g => g.Sum(t => t.ByteLength))!.Key;

    /// <summary>Writes the files into an empty folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="written">Told the bytes of tensors written so far.</param>
    /// <param name="cancellation">Ends it.</param>
    public void Write(string folder, Action<long>? written, CancellationToken cancellation)
    {
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), Tensors, new Dictionary<string, string> { ["format"] = "pt" }, written, cancellation);
        HfConfig.SetType(_config, _type);
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), _config.ToJsonString(new() { WriteIndented = true }));
        if (_file is null)
        {
            Tokenizer.CopyFiles(_path, folder);
            if (File.Exists(Path.Combine(_path, "generation_config.json")))
                File.Copy(Path.Combine(_path, "generation_config.json"), Path.Combine(folder, "generation_config.json"));
            return;
        }
        JsonObject generation = [];
        foreach (string field in (string[])["bos_token_id", "eos_token_id"])
            if (_config[field] is { } id)
                generation[field] = id.DeepClone();
        if (generation.Count > 0)
            AtomicFile.WriteText(Path.Combine(folder, "generation_config.json"), generation.ToJsonString(new() { WriteIndented = true }));
        Tokenizer.WriteGgufAsFiles(_file.Metadata, _file.FilePath, folder);
    }

    // Divisors have no name there: they are llama3's, for some factor and original length, or cannot be said.
    private static void SpellRope(GgufFile file, JsonObject config, ModelConfig numbers)
    {
        if (config["rope_parameters"] is not JsonObject rope)
            return;
        if (rope["frequency_divisors"] is JsonArray stored)
        {
            float[] divisors = [.. stored.Select(d => (float)d!)];
            rope.Remove("frequency_divisors");
            if (divisors.Any(d => d != 1) && !TryLlama3(rope, divisors, numbers))
                throw new ModelFileException(file.FilePath, "tensor 'rope_freqs.weight': its divisors are those of no rope type that a Hugging Face config has");
        }
        // Older readers look here; the same says the same.
        if ((string)rope["rope_type"]! != "default")
            config["rope_scaling"] = rope.DeepClone();
    }

    private static bool TryLlama3(JsonObject rope, float[] divisors, ModelConfig numbers)
    {
        if ((string)rope["rope_type"]! != "default")
            return false;
        foreach ((double low, double high) in (ReadOnlySpan<(double, double)>)[(1, 4)])
            for (int original = 8; original <= 1 << 20; original *= 2)
            {
                JsonObject tried = new()
                {
                    ["rope_type"] = "llama3",
                    ["rope_theta"] = rope["rope_theta"]!.DeepClone(),
                    ["factor"] = (double)divisors.Max(),
                    ["low_freq_factor"] = low,
                    ["high_freq_factor"] = high,
                    ["original_max_position_embeddings"] = original,
                };
                JsonObject config = new() { ["model_type"] = "llama", ["rope_parameters"] = tried };
                RopeFrequencies frequencies = RopeFrequencies.Read(HfConfig.Parse("rope", System.Text.Encoding.UTF8.GetBytes(config.ToJsonString())), numbers.HeadSize, numbers.ContextLength);
                double theta = (double)tried["rope_theta"]!;
                if (!frequencies.Frequencies.Select((f, i) => Math.Pow(theta, -(double)i / divisors.Length) / f).Zip(divisors).All(p => Math.Abs(p.First / p.Second - 1) < 1e-6))
                    continue;
                foreach ((string field, JsonNode? value) in tried)
                    rope[field] = value!.DeepClone();
                return true;
            }
        return false;
    }
}
