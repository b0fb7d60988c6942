using System.Buffers;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// PEFT's methods whose change of a weight is a product of low rank, read as LoRA:
/// <code>
/// LOHA     s·(w1_a·w1_b)∘(w2_a·w2_b)                      rank r²; s = alpha/r, r of the configuration
/// LOKR     s·w1⊗w2                                        the product of the factors' ranks; s = alpha/r, r of the configuration, also where both factors are whole
/// ADALORA  alpha/(R + 1e-5)·B·diag(E)·A                   R is the rank in the file
/// VERA     diag(b)·B[:O,:r]·diag(d)·A[:r,:I]              A and B are shared and must be in the file
/// </code>
/// The other methods are refused with their reason. Source: huggingface/peft tuners/loha, lokr, adalora, vera (layer.py).
/// </summary>
internal static class PeftMethods
{
    private const string Model = "base_model.model.", SharedA = "base_model.vera_A", SharedB = "base_model.vera_B";

    // Fields of a method's own, which say nothing of the numbers beyond what is read here.
    private static readonly Dictionary<string, string[]> s_own = new()
    {
        ["LOHA"] = ["alpha", "rank_dropout", "module_dropout", "use_effective_conv2d"],
        ["LOKR"] = ["alpha", "rank_dropout", "module_dropout", "use_effective_conv2d", "decompose_both", "decompose_factor", "rank_dropout_scale"],
        ["ADALORA"] = ["target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step", "rank_pattern"],
        ["VERA"] = ["projection_prng_key", "save_projection", "vera_dropout", "d_initial"],
    };

    private static readonly Dictionary<string, string> s_refused = new()
    {
        ["HRA"] = "it reflects the base's weight, which no low-rank pair does",
        ["PROMPT_TUNING"] = "it puts vectors before the tokens and leaves every weight alone",
        ["P_TUNING"] = "it puts vectors before the tokens and leaves every weight alone",
        ["PREFIX_TUNING"] = "it puts keys and values before the tokens and leaves every weight alone",
    };

    private static readonly string[] s_adaLora = ["lora_A", "lora_B", "lora_E"], s_vera = ["vera_lambda_b", "vera_lambda_d"];

    /// <summary>
    /// The configuration as a LoRA's, where it is of one of these methods; <paramref name="utf8"/> itself and null for any other. Throws <see cref="ModelFileException"/> for <paramref name="path"/> for a method that is
    /// refused with a reason.
    /// </summary>
    public static (ReadOnlyMemory<byte> Utf8, string? Method) Translate(string path, ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument? document = Parse(path, utf8);
        if (document?.RootElement is not { ValueKind: JsonValueKind.Object } root || !root.TryGetProperty("peft_type", out JsonElement type) || type.ValueKind != JsonValueKind.String)
            return (utf8, null);
        string method = type.GetString()!;
        if (s_refused.TryGetValue(method, out string? reason))
            throw new ModelFileException(path, $"{PeftConfigReader.FileName}: peft_type: {method} is not supported: {reason}");
        if (!s_own.TryGetValue(method, out string[]? own))
            return (utf8, null);
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter writer = new(text))
        {
            writer.WriteStartObject();
            foreach (JsonProperty property in root.EnumerateObject())
                if (property.Name == "peft_type")
                    writer.WriteString("peft_type", "LORA");
                else if (method is "LOHA" or "LOKR" && property.Name == "alpha")
                    Copy("lora_alpha", property.Value);
                else if (method == "ADALORA" && property.Name is "r" or "init_r")
                {
                    // The rank that the modules began with; what was left of it stands in the file.
                    if (property.Name == "init_r")
                        Copy("r", property.Value);
                }
                else if (!own.Contains(property.Name))
                    property.WriteTo(writer);
            if (method == "VERA")
                writer.WriteNumber("lora_alpha", 1);
            writer.WriteEndObject();

            void Copy(string name, JsonElement value)
            {
                writer.WritePropertyName(name);
                value.WriteTo(writer);
            }
        }
        if (method == "VERA" && root.TryGetProperty("save_projection", out JsonElement saved) && saved.ValueKind == JsonValueKind.False)
            throw new ModelFileException(path, $"{PeftConfigReader.FileName}: save_projection: is false: VeRA's shared projections come from torch's generator and are not in the file; save it with save_projection true");
        return (text.WrittenMemory, method);
    }

    /// <summary>The adapter. Takes ownership of <paramref name="file"/>, also when it throws.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="method">What <see cref="Translate"/> gave.</param>
    /// <param name="config">The translated configuration.</param>
    /// <param name="file">The tensors.</param>
    /// <param name="options">The base's shapes, by which VeRA's shared A is cut.</param>
    public static PeftAdapter Read(string path, string method, PeftConfig config, TensorFile file, AdapterOptions options)
    {
        try
        {
            FaultList faults = new(path);
            string[] endings = method switch { "ADALORA" => s_adaLora, "VERA" => s_vera, _ => LycorisForm.Endings };
            SortedDictionary<string, Dictionary<string, Tensor>> groups = new(StringComparer.Ordinal);
            Dictionary<string, Tensor> others = [];
            foreach ((string name, Tensor tensor) in file.Tensors)
            {
                int dot = name.LastIndexOf('.');
                string ending = name[(dot + 1)..];
                if (method == "VERA" && name is SharedA or SharedB)
                    continue;
                if (dot < 0 || !endings.Contains(ending))
                    others.Add(name, tensor);
                else
                {
                    string module = name.StartsWith(Model, StringComparison.Ordinal) ? name[Model.Length..dot] : name[..dot];
                    if (!groups.TryGetValue(module, out Dictionary<string, Tensor>? parts))
                        groups[module] = parts = [];
                    if (!parts.TryAdd(ending, tensor))
                        faults.Add($"{module}.{ending}: is there twice");
                }
            }
            Dictionary<string, (int, double)> sites = [];
            Dictionary<string, (Tensor A, Tensor B)> pairs = [];
            foreach ((string module, Dictionary<string, Tensor> parts) in groups)
                if (Pair(method, module, parts, config, file, options, faults) is var (a, b, alpha))
                {
                    sites.Add(module, ((int)a.Shape[0], alpha));
                    pairs.Add(module, (a, b));
                }
            if (groups.Count == 0)
                faults.Add($"holds no tensor of {method}");
            faults.ThrowIfAny();
            PeftConfig lora = PairConfig.Of(path, sites) with
            {
                TaskType = config.TaskType,
                BaseModel = config.BaseModel,
                FanInFanOut = config.FanInFanOut,
                Bias = config.Bias,
                ModulesToSave = config.ModulesToSave,
            };
            foreach ((string module, (Tensor a, Tensor b)) in pairs)
                foreach ((PeftPart part, Tensor value) in (ReadOnlySpan<(PeftPart, Tensor)>)[(PeftPart.A, a), (PeftPart.B, b)])
                {
                    string name = PeftAdapter.NameOf(lora, module, part);
                    others.Add(name, value.View(name, value.Shape));
                }
            return PeftAdapter.Assemble(path, lora, PeftConfigWriter.ToJson(lora), new TensorFile(path, others, file.Metadata, []), file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static (Tensor A, Tensor B, double Alpha)? Pair(string method, string module, Dictionary<string, Tensor> parts, PeftConfig config, TensorFile file, AdapterOptions options, FaultList faults)
    {
        if (method == "ADALORA")
            return AdaLora(module, parts, config, faults);
        if (method == "VERA")
            return Vera(module, parts, file, options, faults);
        if (LycorisForm.Read(module, parts, [], faults) is not var (a, b, _))
            return null;
        // s = alpha/r of the configuration; alpha is made for the pair's own rank.
        return (a, b, PairConfig.AlphaOf(config.AlphaOf(module) / config.RankOf(module), (int)a.Shape[0]));
    }

    private static (Tensor, Tensor, double)? AdaLora(string module, Dictionary<string, Tensor> parts, PeftConfig config, FaultList faults)
    {
        foreach (string name in s_adaLora.Where(n => !parts.ContainsKey(n)))
            faults.Add($"{module}.{name}: is missing");
        if (parts.Count != s_adaLora.Length)
            return null;
        Tensor a = parts[s_adaLora[0]], b = parts[s_adaLora[1]], e = parts[s_adaLora[2]];
        if (a.Shape.Rank != 2 || b.Shape.Rank != 2 || a.Shape.Elements == 0 || a.Shape[0] != b.Shape[1] || e.Shape.Elements != a.Shape[0])
        {
            faults.Add($"{module}: expected A [rank, inputs], B [outputs, rank] and E [rank, 1], found {a.Shape}, {b.Shape} and {e.Shape}");
            return null;
        }
        if (!(config.Alpha > 0))
        {
            faults.Add($"{PeftConfigReader.FileName}: lora_alpha: expected a number above 0, found {config.Alpha}");
            return null;
        }
        int rank = (int)a.Shape[0];
        return (RowsScaled(a, e.ToFloats(), (int)a.Shape[1]), b, config.Alpha * rank / (rank + 1e-5));
    }

    private static (Tensor, Tensor, double)? Vera(string module, Dictionary<string, Tensor> parts, TensorFile file, AdapterOptions options, FaultList faults)
    {
        if (!file.Tensors.TryGetValue(SharedA, out Tensor? sharedA) || !file.Tensors.TryGetValue(SharedB, out Tensor? sharedB))
        {
            faults.Add($"{module}: vera_A and vera_B, the shared projections, are not in the file; save it with save_projection true");
            return null;
        }
        if (!parts.TryGetValue(s_vera[0], out Tensor? outputs) || !parts.TryGetValue(s_vera[1], out Tensor? ranks))
        {
            faults.Add($"{module}.{s_vera.First(n => !parts.ContainsKey(n))}: is missing");
            return null;
        }
        long rank = ranks.Shape.Elements, rows = outputs.Shape.Elements;
        // Without the base the widest module's inputs are taken: the fit refuses them where they are too many.
        long inputs = sharedA.Shape.Rank == 2 ? sharedA.Shape[1] : 0;
        if (options.Base is { } known && known.Weights.TryGetValue(module + ".weight", out Shape weight) && weight.Rank == 2)
            inputs = weight[0] == rows && !IsTurned(known) ? weight[1] : weight[0];
        if (sharedA.Shape.Rank != 2 || sharedB.Shape.Rank != 2 || sharedA.Shape[0] < rank || sharedB.Shape[1] < rank || sharedB.Shape[0] < rows || sharedA.Shape[1] < inputs || rank == 0 || rows == 0)
        {
            faults.Add($"{module}: {rows} outputs, {inputs} inputs and rank {rank} are more than the shared projections {sharedB.Shape} and {sharedA.Shape} have");
            return null;
        }
        Tensor a = RowsScaled(Corner(sharedA, rank, inputs), ranks.ToFloats(), (int)inputs), b = RowsScaled(Corner(sharedB, rows, rank), outputs.ToFloats(), (int)rank);
        return (a, b, rank);

        // GPT-2's checkpoint has the weight as [inputs, outputs].
        static bool IsTurned(AdapterBase known) => known.Config.ModelType == "gpt2" && !known.TransposedConv1D;
    }

    private static Tensor Corner(Tensor matrix, long rows, long columns)
    {
        float[] values = matrix.ToFloats(), corner = new float[rows * columns];
        for (int r = 0; r < rows; r++)
            values.AsSpan(r * matrix.Shape.Columns, (int)columns).CopyTo(corner.AsSpan(r * (int)columns));
        return Tensor.FromFloats(matrix.Name, new Shape(rows, columns), corner);
    }

    private static Tensor RowsScaled(Tensor matrix, float[] scales, int columns)
    {
        float[] values = matrix.ToFloats();
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)((double)values[i] * scales[i / columns]);
        return Tensor.FromFloats(matrix.Name, matrix.Shape, values);
    }

    // What is no JSON is named by the configuration's own reader.
    private static JsonDocument? Parse(string path, ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return SafeJson.Parse(path, utf8, PeftConfigReader.FileName);
        }
        catch (ModelFileException)
        {
            return null;
        }
    }
}
