using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Largest errors that a trace allows.</summary>
/// <param name="Loss">Of a step's loss, relative.</param>
/// <param name="GradNorm">Of a step's gradient norm, relative.</param>
/// <param name="Gradient">Of a tensor's gradient in step 1: max|a-b| / max|b|.</param>
/// <param name="Final">Of a trained tensor after the last step, alike.</param>
public sealed record TraceTolerance(double Loss, double GradNorm, double Gradient, double Final);

/// <summary>
/// A recorded training run: recipe.json (settings, parameter groups, tolerances), trace.safetensors (<c>batch.N.input_ids</c>, <c>.labels</c>, <c>.attention_mask</c>, <c>.position_ids</c>,
/// <c>.segment_ids</c>, <c>grad1.KEY</c>) and trace.json (loss, grad_norm, lr of every step).
/// </summary>
public sealed class TrainingTrace : IDisposable
{
    private readonly JsonDocument _json;
    private readonly TensorFile _tensors;

    private TrainingTrace(string folder, JsonDocument json, JsonDocument numbers, TensorFile tensors)
    {
        Folder = folder;
        Recipe = TraceRecipe.Read(folder);
        _json = json;
        _tensors = tensors;
        JsonElement trace = numbers.RootElement;
        Loss = Doubles(trace.GetProperty("loss"));
        GradNorm = Doubles(trace.GetProperty("grad_norm"));
        Rates = [.. trace.GetProperty("lr").EnumerateArray().Select(l => l.ValueKind == JsonValueKind.Array ? Doubles(l) : [l.GetDouble()])];
        Groups = [.. Json.GetProperty("param_groups").EnumerateArray().Select(g => new ParameterGroup(
            g.GetProperty("learning_rate").GetDouble(), g.GetProperty("weight_decay").GetDouble(), [.. g.GetProperty("keys").EnumerateArray().Select(k => k.GetString()!)]))];
        JsonElement tolerance = Json.GetProperty("tolerance");
        Tolerance = new(Number(tolerance, "loss_relative", 1e-4), Number(tolerance, "grad_norm_relative", 1e-4), Number(tolerance, "grad1_relative", 1e-4), Number(tolerance, "final_relative", 1e-4));
    }

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>The settings of recipe.json.</summary>
    public TrainingRecipe Recipe { get; }

    /// <summary>Loss of each step.</summary>
    public double[] Loss { get; }

    /// <summary>Gradient norm of each step, before clipping.</summary>
    public double[] GradNorm { get; }

    /// <summary>Rate of each group in each step.</summary>
    public double[][] Rates { get; }

    /// <summary>Rates before the schedule.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>Largest errors allowed.</summary>
    public TraceTolerance Tolerance { get; }

    /// <summary>Opens a folder. Throws <see cref="ModelFileException"/>.</summary>
    public static TrainingTrace Open(string folder)
    {
        string recipe = Path.Combine(folder, "recipe.json"), numbers = Path.Combine(folder, "trace.json"), tensors = Path.Combine(folder, "trace.safetensors");
        foreach (string file in (string[])[recipe, numbers, tensors])
            if (!File.Exists(file))
                throw new ModelFileException(folder, $"{Path.GetFileName(file)} is missing: a trace has recipe.json, trace.json and trace.safetensors");
        try
        {
            using JsonDocument trace = SafeJson.ReadFile(numbers);
            return new(folder, SafeJson.ReadFile(recipe), trace, Safetensors.Open(tensors));
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new ModelFileException(folder, $"recipe.json or trace.json: {e.Message}");
        }
    }

    /// <summary>A text field of the recipe. Throws <see cref="ModelFileException"/> where it is missing.</summary>
    public string Text(string field) => Json.TryGetProperty(field, out JsonElement value) && value.ValueKind == JsonValueKind.String
        ? value.GetString()!
        : throw new ModelFileException(RecipePath, $"{field}: is missing");

    /// <summary>A folder that a field names, relative to the trace; null where the field is absent.</summary>
    public string? FolderOf(string field) => Json.TryGetProperty(field, out JsonElement value) && value.ValueKind == JsonValueKind.String
        ? Path.GetFullPath(Path.Combine(Folder, value.GetString()!))
        : null;

    /// <summary>Rows of micro-batch <paramref name="index"/>, without padding, cut where positions restart or the segment changes. A single class a row becomes the label that the row's last token predicts.</summary>
    public IReadOnlyList<TrainingExample> Batch(int index)
    {
        if (!_tensors.Tensors.TryGetValue($"batch.{index}.input_ids", out Tensor? tensor))
            throw new ModelFileException(Folder, $"batch.{index}.input_ids: is missing");
        int rows = (int)tensor.Shape[0], width = tensor.Shape.Columns;
        long[] ids = tensor.ToInts(), labels = _tensors.Tensors[$"batch.{index}.labels"].ToInts();
        long[]? mask = Optional(index, "attention_mask"), positions = Optional(index, "position_ids"), segments = Optional(index, "segment_ids");
        List<TrainingExample> examples = [];
        for (int row = 0; row < rows; row++)
        {
            List<int> input = [], label = [], lengths = [];
            for (int t = row * width; t < (row + 1) * width; t++)
            {
                if (mask is not null && mask[t] == 0)
                    continue;
                bool restarts = input.Count == 0 || segments is not null && segments[t] != segments[t - 1] || segments is null && positions is not null && positions[t] == 0;
                if (restarts)
                    lengths.Add(0);
                lengths[^1]++;
                input.Add((int)ids[t]);
                label.Add(labels.Length == rows ? (int)labels[row] : (int)labels[t]);
            }
            examples.Add(new([.. input], [.. label], [.. lengths]));
        }
        return examples;
    }

    /// <summary>Gradients of step 1 by key.</summary>
    public IEnumerable<(string Key, Tensor Value)> FirstGradients() =>
        _tensors.Tensors.Where(t => t.Key.StartsWith("grad1.", StringComparison.Ordinal)).Select(t => (t.Key["grad1.".Length..], t.Value));

    /// <summary>Elements of a tensor whose gradient is zero in mathematics, so that only noise moves them; empty for most.</summary>
    public Range NullGradientOf(string key)
    {
        if (!Json.TryGetProperty("null_gradient", out JsonElement ranges) || !ranges.TryGetProperty(key, out JsonElement range))
            return default;
        return range[0].GetInt32()..range[1].GetInt32();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _json.Dispose();
        _tensors.Dispose();
    }

    private JsonElement Json => _json.RootElement;

    private string RecipePath => Path.Combine(Folder, "recipe.json");

    private long[]? Optional(int index, string name) => _tensors.Tensors.TryGetValue($"batch.{index}.{name}", out Tensor? tensor) ? tensor.ToInts() : null;

    private static double[] Doubles(JsonElement array) => [.. array.EnumerateArray().Select(v => v.GetDouble())];

    private static double Number(JsonElement element, string field, double otherwise) => element.TryGetProperty(field, out JsonElement value) ? value.GetDouble() : otherwise;
}
