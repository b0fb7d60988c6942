using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// adapter_config.json of mlx-lm: all arguments of a run, of which these count: fine_tune_type (lora where absent; dora, full; <c>use_dora</c> before it), num_layers (<c>lora_layers</c> before it; counted from the last
/// layer; 0 or less: all), lora_parameters {rank, scale, dropout, keys}. alpha took part until June 2024 (scale·alpha/rank) and stood in files, without a meaning, until April 2025.
/// </summary>
internal sealed record MlxConfig(int Rank, double Scale, double Dropout, int Layers, HashSet<string>? Keys, bool IsDora, bool IsFull)
{
    private static readonly string[] s_read = ["fine_tune_type", "use_dora", "lora_parameters", "num_layers", "lora_layers", "model"];

    /// <summary>model: the base's name or folder; null where it is not there.</summary>
    public string? BaseModel { get; private init; }

    /// <summary>Settings of the training run, which say nothing of the adapter.</summary>
    public IReadOnlyList<string> Unread { get; private init; } = [];

    /// <summary>Reads a folder's. Throws <see cref="ModelFileException"/> with every fault.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="alpha">Scale times rank, where the file leaves it open; else it is not used.</param>
    public static MlxConfig Read(string folder, double? alpha)
    {
        string path = Path.Combine(folder, PeftConfigReader.FileName);
        if (!File.Exists(path))
            throw new ModelFileException(folder, $"{PeftConfigReader.FileName} is missing");
        using JsonDocument document = PeftFormat.Naming(folder, PeftConfigReader.FileName, () => SafeJson.ReadFile(path));
        FaultList faults = new(folder);
        if (document.RootElement.ValueKind != JsonValueKind.Object)
            throw new ModelFileException(folder, $"{PeftConfigReader.FileName}: expected an object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
        MlxConfig config = Read(document.RootElement, alpha, faults);
        faults.ThrowIfAny();
        return config with
        {
            BaseModel = document.RootElement.TryGetProperty("model", out JsonElement model) && model.ValueKind == JsonValueKind.String ? model.GetString() : null,
            Unread = [.. document.RootElement.EnumerateObject().Select(p => p.Name).Where(n => !s_read.Contains(n)).Order(StringComparer.Ordinal)],
        };
    }

    /// <summary>Why mlx-lm would not take the pair of a module, by its keys; null where it would.</summary>
    public string? Fault(string module) => Keys is null || Keys.Contains(module) || Keys.Contains(Within(module).Inner)
        ? null : $"{module}: lora_parameters.keys does not name it, so mlx-lm would refuse it or pass over it";

    /// <summary>Adds a fault where the last <see cref="Layers"/> layers cannot be all that have pairs.</summary>
    public void CheckLayers(IEnumerable<string> modules, FaultList faults)
    {
        int[] layers = [.. modules.Where(m => Keys?.Contains(m) != true).Select(m => Within(m).Layer).Where(l => l >= 0).Distinct()];
        if (Layers > 0 && layers.Length > 0 && layers.Max() - layers.Min() + 1 > Layers)
            faults.Add($"{PeftConfigReader.FileName}: num_layers: the last {Layers}, but there are pairs in layers {layers.Min()} to {layers.Max()}");
    }

    /// <summary>The text for an adapter: keys are the modules' names in their layer, or whole ones outside the layers.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="pairs">Its pairs.</param>
    /// <param name="named">mlx-lm's name of a module.</param>
    /// <param name="rank">The largest rank.</param>
    /// <param name="scale">The factor.</param>
    /// <param name="model">Its base, where known: then num_layers is counted from its last layer; else it is −1, all.</param>
    public static string Text(PeftAdapter adapter, List<LowRankPair> pairs, Func<string, string> named, int rank, double scale, AdapterBase? model)
    {
        int first = pairs.Select(p => Within(p.Module).Layer).Where(l => l >= 0).DefaultIfEmpty(0).Min();
        int total = model?.Config.FirstOf("num_hidden_layers", "n_layer", "num_layers") is { } field ? model.Config.GetInt(field, 1, 1 << 16) : 0;
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter writer = new(text, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteString("fine_tune_type", adapter.Config.UseDora ? "dora" : "lora");
            if (adapter.Config.BaseModel is { Length: > 0 } name)
                writer.WriteString("model", name);
            writer.WriteNumber("num_layers", total > first ? total - first : -1);
            writer.WriteStartObject("lora_parameters");
            writer.WriteNumber("rank", rank);
            writer.WritePropertyName("scale");
            writer.WriteRawValue(Float(scale));
            writer.WritePropertyName("dropout");
            writer.WriteRawValue(Float(adapter.Config.Dropout));
            writer.WriteStartArray("keys");
            foreach (string key in pairs.Select(p => Within(named(p.Module)).Inner).Distinct().Order(StringComparer.Ordinal))
                writer.WriteStringValue(key);
            writer.WriteEndArray();
            writer.WriteEndObject();
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    private static MlxConfig Read(JsonElement root, double? alpha, FaultList faults)
    {
        void Fault(string field, string fault) => faults.Add($"{PeftConfigReader.FileName}: {field}: {fault}");
        JsonElement Field(JsonElement of, string name) => of.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : default;
        double Number(JsonElement value, string field, double absent) => value.ValueKind == JsonValueKind.Undefined ? absent
            : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number : Refused(field, "a finite number", value);
        double Refused(string field, string expected, JsonElement value)
        {
            Fault(field, $"expected {expected}, found {(value.ValueKind == JsonValueKind.Undefined ? "nothing" : SafeJson.Excerpt(value))}");
            return double.NaN;
        }
        JsonElement type = Field(root, "fine_tune_type"), old = Field(root, "use_dora"), parameters = Field(root, "lora_parameters");
        string method = type.ValueKind switch { JsonValueKind.Undefined => old.ValueKind == JsonValueKind.True ? "dora" : "lora", JsonValueKind.String => type.GetString()!, _ => "" };
        if (method is not ("lora" or "dora" or "full"))
            Refused("fine_tune_type", "lora, dora or full", type);
        if (method == "full")
            return new(0, 0, 0, 0, null, false, true);
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            Refused("lora_parameters", "an object", parameters);
            return new(0, 0, 0, 0, null, false, false);
        }
        bool renamed = Field(root, "num_layers").ValueKind != JsonValueKind.Undefined || type.ValueKind != JsonValueKind.Undefined;
        double layers = Number(Field(root, Field(root, "num_layers").ValueKind != JsonValueKind.Undefined ? "num_layers" : "lora_layers"), "num_layers", -1);
        double rank = Number(Field(parameters, "rank"), "lora_parameters.rank", double.NaN);
        if (!(rank is >= 1 and <= 65536 && rank == Math.Floor(rank)))
            Refused("lora_parameters.rank", "a whole number from 1 to 65536", Field(parameters, "rank"));
        double scale = Number(Field(parameters, "scale"), "lora_parameters.scale", double.NaN);
        if (double.IsNaN(scale) && Field(parameters, "scale").ValueKind == JsonValueKind.Undefined)
            Refused("lora_parameters.scale", "a number: the factor itself", default);
        double oldAlpha = Number(Field(parameters, "alpha"), "lora_parameters.alpha", rank);
        // Both names came with the release that had long stopped to read alpha.
        if (!renamed && oldAlpha != rank && alpha is { } told)
            scale = told / rank;
        else if (!renamed && oldAlpha != rank)
            Fault("lora_parameters.alpha", string.Create(CultureInfo.InvariantCulture, $"was part of the scale until June 2024 ({scale * oldAlpha / rank}) and is not since ({scale}), and nothing here tells which: give scale times rank with --alpha"));
        HashSet<string>? keys = Field(parameters, "keys") is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().All(k => k.ValueKind == JsonValueKind.String)
            ? [.. list.EnumerateArray().Select(k => k.GetString()!)] : null;
        if (keys is null && Field(parameters, "keys").ValueKind != JsonValueKind.Undefined)
            Refused("lora_parameters.keys", "a list of names", Field(parameters, "keys"));
        double dropout = Number(Field(parameters, "dropout"), "lora_parameters.dropout", 0);
        return new((int)(double.IsNaN(rank) ? 0 : rank), scale, dropout is >= 0 and < 1 ? dropout : 0, (int)Math.Clamp(double.IsNaN(layers) ? 0 : layers, -1, 1 << 16), keys, method == "dora", false);
    }

    // model.layers.3.self_attn.q_proj: layer 3, self_attn.q_proj; a module outside the layers: -1, its whole name.
    private static (int Layer, string Inner) Within(string module)
    {
        string[] parts = module.Split('.');
        for (int i = 1; i < parts.Length - 1; i++)
            if (int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out int layer))
                return (layer, string.Join('.', parts[(i + 1)..]));
        return (-1, module);
    }

    // As Python writes a float: 2.0, not 2.
    private static string Float(double number)
    {
        string text = number.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant();
        return text.AsSpan().ContainsAny('.', 'e') ? text : text + ".0";
    }
}
