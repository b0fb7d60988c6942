using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Core;

/// <summary>
/// A <c>config.json</c> as transformers writes it: one JSON object, read field by field with a type and a range. Every refusal names the file, the
/// field (nested ones with dots: <c>rope_parameters.rope_theta</c>), what was expected and what was found. A field that is null counts as absent. Keys given twice
/// are refused. What the fields mean is the architecture's business; <see cref="ValidateDecoder"/> checks what all decoders share.
/// </summary>
public sealed class HfConfig
{
    private readonly JsonElement _element;
    private readonly string _prefix;

    private HfConfig(string path, JsonElement element, string prefix)
    {
        FilePath = path;
        _element = element;
        _prefix = prefix;
    }

    /// <summary>The file it was read from.</summary>
    public string FilePath { get; }

    /// <summary><c>model_type</c>. Throws when it is missing.</summary>
    public string ModelType => GetString("model_type");

    /// <summary>Reads <paramref name="path"/>: the file, or a folder that holds <c>config.json</c>.</summary>
    public static HfConfig Read(string path)
    {
        if (Directory.Exists(path))
            path = Path.Combine(path, "config.json");
        return Parse(path, SafeJson.ReadBytes(path, 16L << 20));
    }

    /// <summary>Parses <paramref name="utf8"/>; <paramref name="path"/> is what messages call it.</summary>
    public static HfConfig Parse(string path, ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument document = SafeJson.Parse(path, utf8);
        JsonElement root = document.RootElement;
        return root.ValueKind == JsonValueKind.Object
            ? new(path, root.Clone(), "")
            : throw new ModelFileException(path, $"expected a JSON object, found {SafeJson.Kind(root.ValueKind)}");
    }

    /// <summary>True when the field is there and not null.</summary>
    public bool Has(string field) => TryElement(field, out _);

    /// <summary>Names of all fields, in file order.</summary>
    public IEnumerable<string> Fields => _element.EnumerateObject().Select(p => p.Name);

    /// <summary>The first of <paramref name="fields"/> that is there and not null, or null: for fields whose name differs from family to family.</summary>
    public string? FirstOf(params ReadOnlySpan<string> fields)
    {
        foreach (string field in fields)
            if (Has(field))
                return field;
        return null;
    }

    /// <summary>A field's kind; <see cref="JsonValueKind.Undefined"/> when it is absent.</summary>
    public JsonValueKind KindOf(string field) => TryElement(field, out JsonElement e) ? e.ValueKind : JsonValueKind.Undefined;

    /// <summary>A whole number from <paramref name="min"/> to <paramref name="max"/>. Throws when it is missing.</summary>
    public int GetInt(string field, int min, int max) => TryGetInt(field, min, max, out int value) ? value : throw Missing(field);

    /// <summary>A whole number from <paramref name="min"/> to <paramref name="max"/>, or <paramref name="fallback"/> when absent.</summary>
    public int GetInt(string field, int min, int max, int fallback) => TryGetInt(field, min, max, out int value) ? value : fallback;

    /// <summary>False when absent. Throws for another type or a value out of range.</summary>
    public bool TryGetInt(string field, int min, int max, out int value)
    {
        value = 0;
        if (!TryElement(field, out JsonElement e))
            return false;
        value = Int(field, e, min, max);
        return true;
    }

    /// <summary>A finite number from <paramref name="min"/> to <paramref name="max"/>. Throws when it is missing.</summary>
    public double GetDouble(string field, double min, double max) => TryGetDouble(field, min, max, out double value) ? value : throw Missing(field);

    /// <summary>A finite number from <paramref name="min"/> to <paramref name="max"/>, or <paramref name="fallback"/> when absent.</summary>
    public double GetDouble(string field, double min, double max, double fallback) => TryGetDouble(field, min, max, out double value) ? value : fallback;

    /// <summary>False when absent. Throws for another type, no finite number or a value out of range.</summary>
    public bool TryGetDouble(string field, double min, double max, out double value)
    {
        value = 0;
        if (!TryElement(field, out JsonElement e))
            return false;
        value = Number(field, e, min, max);
        return true;
    }

    /// <summary>As <see cref="GetDouble(string, double, double)"/>, rounded to F32.</summary>
    public float GetFloat(string field, float min, float max) => (float)GetDouble(field, min, max);

    /// <summary>As <see cref="GetDouble(string, double, double, double)"/>, rounded to F32.</summary>
    public float GetFloat(string field, float min, float max, float fallback) => (float)GetDouble(field, min, max, fallback);

    /// <summary>A boolean. Throws when it is missing.</summary>
    public bool GetBool(string field) => TryGetBool(field, out bool value) ? value : throw Missing(field);

    /// <summary>A boolean, or <paramref name="fallback"/> when absent.</summary>
    public bool GetBool(string field, bool fallback) => TryGetBool(field, out bool value) ? value : fallback;

    /// <summary>False when absent. Throws for another type.</summary>
    public bool TryGetBool(string field, out bool value)
    {
        value = false;
        if (!TryElement(field, out JsonElement e))
            return false;
        if (e.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
            throw Refusal(field, "true or false", e);
        value = e.ValueKind == JsonValueKind.True;
        return true;
    }

    /// <summary>A string. Throws when it is missing.</summary>
    public string GetString(string field) => TryGetString(field, out string value) ? value : throw Missing(field);

    /// <summary>A string, or <paramref name="fallback"/> when absent.</summary>
    public string GetString(string field, string fallback) => TryGetString(field, out string value) ? value : fallback;

    /// <summary>False when absent. Throws for another type.</summary>
    public bool TryGetString(string field, out string value)
    {
        value = "";
        if (!TryElement(field, out JsonElement e))
            return false;
        value = Text(field, e);
        return true;
    }

    /// <summary>A list of strings. Throws when it is missing.</summary>
    public IReadOnlyList<string> GetStrings(string field) => TryGetStrings(field, out IReadOnlyList<string> values) ? values : throw Missing(field);

    /// <summary>False when absent. Throws for another type.</summary>
    public bool TryGetStrings(string field, out IReadOnlyList<string> values) => TryList(field, e => Text(field, e), out values);

    /// <summary>False when absent. A single number counts as a list of one (<c>eos_token_id</c>). Throws for another type or a value out of range.</summary>
    public bool TryGetInts(string field, int min, int max, out IReadOnlyList<int> values)
    {
        if (KindOf(field) != JsonValueKind.Number)
            return TryList(field, e => Int(field, e, min, max), out values);
        values = [GetInt(field, min, max)];
        return true;
    }

    /// <summary>False when absent. Throws for another type, no finite number or a value out of range.</summary>
    public bool TryGetDoubles(string field, double min, double max, out IReadOnlyList<double> values) =>
        TryList(field, e => Number(field, e, min, max), out values);

    /// <summary>A nested object. Throws when it is missing.</summary>
    public HfConfig GetObject(string field) => TryGetObject(field, out HfConfig? value) ? value : throw Missing(field);

    /// <summary>False when absent. Throws for another type.</summary>
    public bool TryGetObject(string field, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out HfConfig? value)
    {
        value = null;
        if (!TryElement(field, out JsonElement e))
            return false;
        if (e.ValueKind != JsonValueKind.Object)
            throw Refusal(field, "an object", e);
        value = new(FilePath, e, _prefix + field + ".");
        return true;
    }

    /// <summary>The refusal of a field, for checks that an architecture adds: <c>config.json: field: expected …, found …</c>.</summary>
    public ModelFileException Refusal(string field, string expected) =>
        TryElement(field, out JsonElement e) ? Refusal(field, expected, e) : new(FilePath, $"{_prefix}{field}: expected {expected}, but it is missing");

    /// <summary>The field's name with the objects around it: <c>rope_parameters.rope_theta</c>.</summary>
    public string NameOf(string field) => _prefix + field;

    /// <summary>
    /// Checks what every decoder shares before anything is allocated: sizes present and sane, heads that divide, an even head size where RoPE turns
    /// pairs, positive epsilons, known activation and RoPE type with their factors, one entry of <c>layer_types</c> per layer. Field names of all
    /// families are known (<c>hidden_size</c>, <c>n_embd</c>, <c>dim</c> …). Throws <see cref="ModelFileException"/> with every fault.
    /// </summary>
    /// <param name="modelTypes">Model types that can be run; null accepts any.</param>
    /// <param name="weights">The checkpoint: its layers and its head must be those that the config promises; null checks the config alone.</param>
    public void ValidateDecoder(IReadOnlyCollection<string>? modelTypes = null, TensorFile? weights = null) =>
        new DecoderRules(this).Check(modelTypes, weights);

    /// <summary>Says in a config that is being written how its weights are stored: <c>dtype</c>, or <c>torch_dtype</c>, its older name. Throws <see cref="NotSupportedException"/> for a type that transformers has no name for.</summary>
    public static void SetType(JsonObject config, DType type) => config[config.ContainsKey("dtype") ? "dtype" : "torch_dtype"] = type switch
    {
        DType.F32 => "float32",
        DType.F16 => "float16",
        DType.BF16 => "bfloat16",
        _ => throw new NotSupportedException($"{type} weights have no dtype"),
    };

    private bool TryElement(string field, out JsonElement element) =>
        _element.TryGetProperty(field, out element) && element.ValueKind != JsonValueKind.Null;

    private int Int(string field, JsonElement e, int min, int max) =>
        e.ValueKind == JsonValueKind.Number && e.TryGetInt64(out long value) && value >= min && value <= max
            ? (int)value
            : throw Refusal(field, string.Create(CultureInfo.InvariantCulture, $"a whole number from {min} to {max}"), e);

    private double Number(string field, JsonElement e, double min, double max) =>
        e.ValueKind == JsonValueKind.Number && e.TryGetDouble(out double value) && double.IsFinite(value) && value >= min && value <= max
            ? value
            : throw Refusal(field, string.Create(CultureInfo.InvariantCulture, $"a number from {min} to {max}"), e);

    private string Text(string field, JsonElement e)
    {
        try
        {
            return e.ValueKind == JsonValueKind.String ? e.GetString()! : throw Refusal(field, "a string", e);
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair, written as an escape.
            throw Refusal(field, "a string of whole characters", e);
        }
    }

    private bool TryList<T>(string field, Func<JsonElement, T> read, out IReadOnlyList<T> values)
    {
        values = [];
        if (!TryElement(field, out JsonElement e))
            return false;
        if (e.ValueKind != JsonValueKind.Array)
            throw Refusal(field, "a list", e);
        T[] result = new T[e.GetArrayLength()];
        int n = 0;
        foreach (JsonElement item in e.EnumerateArray())
            result[n++] = read(item);
        values = result;
        return true;
    }

    private ModelFileException Refusal(string field, string expected, JsonElement found) =>
        new(FilePath, $"{_prefix}{field}: expected {expected}, found {SafeJson.Excerpt(found)}");

    private ModelFileException Missing(string field) => new(FilePath, $"{_prefix}{field} is missing");
}
