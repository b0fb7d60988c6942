using System.Buffers;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>A method that is read as LoRA.</summary>
/// <param name="Name"><c>LOHA</c>, <c>LOKR</c>, <c>ADALORA</c>, <c>VERA</c>.</param>
/// <param name="ProjectionKey">VeRA without saved projections: the seed of torch's generator that they come from; else null.</param>
internal sealed record PeftMethod(string Name, long? ProjectionKey = null);

/// <summary>
/// PEFT's methods whose change of a weight is a product of low rank, read as LoRA:
/// <code>
/// LOHA     s·(w1_a·w1_b)∘(w2_a·w2_b)                      rank r²; s = alpha/r, r of the configuration
/// LOKR     s·w1⊗w2                                        the product of the factors' ranks; s = alpha/r, r of the configuration, also where both factors are whole
/// ADALORA  alpha/(R + 1e-5)·B·diag(E)·A                   R is the rank in the file
/// VERA     diag(b)·B[:O,:r]·diag(d)·A[:r,:I]              A and B are shared: in the file, or made anew from projection_prng_key
/// </code>
/// The other methods are refused with their reason. Source: huggingface/peft tuners/loha, lokr, adalora, vera (layer.py).
/// </summary>
internal static class PeftMethods
{
    private const double KaimingGain = 1.4142135623730951;

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
    public static (ReadOnlyMemory<byte> Utf8, PeftMethod? Method) Translate(string path, ReadOnlyMemory<byte> utf8)
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
        if (method != "VERA" || !root.TryGetProperty("save_projection", out JsonElement saved) || saved.ValueKind != JsonValueKind.False)
            return (text.WrittenMemory, new(method));
        long key = 0;
        if (root.TryGetProperty("projection_prng_key", out JsonElement seed) && !(seed.ValueKind == JsonValueKind.Number && seed.TryGetInt64(out key)))
            throw new ModelFileException(path, $"{PeftConfigReader.FileName}: projection_prng_key: expected a whole number, found {SafeJson.Excerpt(seed)}");
        return (text.WrittenMemory, new(method, key));
    }

    /// <summary>The adapter. Takes ownership of <paramref name="file"/>, also when it throws.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="of">What <see cref="Translate"/> gave.</param>
    /// <param name="config">The translated configuration.</param>
    /// <param name="file">The tensors.</param>
    /// <param name="options">The base's shapes, by which VeRA's shared A is cut.</param>
    public static PeftAdapter Read(string path, PeftMethod of, PeftConfig config, TensorFile file, AdapterOptions options)
    {
        try
        {
            FaultList faults = new(path);
            string method = of.Name;
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
            BaseLayers? layers = method == "VERA" ? options.Layers ?? (options.Base is { } known ? BaseLayers.Of(known) : null) : null;
            (Tensor A, Tensor B)? shared = method != "VERA" ? null : of.ProjectionKey is { } key ? Projections(key, groups, config.Rank, layers, faults) : Projections(file, faults);
            if (shared is not null)
                foreach ((string module, Dictionary<string, Tensor> parts) in groups)
                    if (Vera(module, parts, shared.Value, layers, faults) is var (a, b))
                    {
                        sites.Add(module, ((int)a.Shape[0], a.Shape[0]));
                        pairs.Add(module, (a, b));
                    }
            foreach ((string module, Dictionary<string, Tensor> parts) in groups)
                if (method != "VERA" && Pair(method, module, parts, config, faults) is var (a, b, alpha))
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
            PeftAdapter adapter = PeftAdapter.Assemble(path, lora, PeftConfigWriter.ToJson(lora), new TensorFile(path, others, file.Metadata, []), file);
            if (method == "VERA" && layers is null)
                adapter.WidthFault = "VeRA's shared projection is cut to the inputs of every layer, which the base tells: give it (--base)";
            return adapter;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static (Tensor A, Tensor B, double Alpha)? Pair(string method, string module, Dictionary<string, Tensor> parts, PeftConfig config, FaultList faults)
    {
        if (method == "ADALORA")
            return AdaLora(module, parts, config, faults);
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

    private static (Tensor A, Tensor B)? Projections(TensorFile file, FaultList faults)
    {
        if (file.Tensors.TryGetValue(SharedA, out Tensor? a) && file.Tensors.TryGetValue(SharedB, out Tensor? b))
            return (a, b);
        faults.Add("vera_A and vera_B, the shared projections, are not in the file though save_projection is true");
        return null;
    }

    // As the library makes them before training: A [r, widest inputs], then B [widest outputs, r], uniform within √(6/fan-in), and like the base's weights in precision.
    private static (Tensor A, Tensor B)? Projections(long key, SortedDictionary<string, Dictionary<string, Tensor>> groups, int rank, BaseLayers? layers, FaultList faults)
    {
        if (layers is null)
        {
            faults.Add("save_projection is false: the shared projections are made anew in the widths of the base's layers: give the base (--base)");
            return null;
        }
        BaseLinear[] all = [.. groups.Keys.Select(layers.Find).OfType<BaseLinear>()];
        if (all.Length < groups.Count)
        {
            foreach (string module in groups.Keys.Where(m => layers.Find(m) is null))
                faults.Add($"{module}: the base has no linear layer of this name");
            return null;
        }
        if (all.Length == 0)
            return null;
        long inputs = all.Max(l => l.Inputs), outputs = all.Max(l => l.Outputs);
        if (rank * Math.Max(inputs, outputs) > int.MaxValue / sizeof(float))
        {
            faults.Add($"{PeftConfigReader.FileName}: r: {rank} is too large for layers of {inputs} inputs and {outputs} outputs");
            return null;
        }
        TorchUniform random = new(key);
        return (Made(SharedA, rank, inputs), Made(SharedB, outputs, rank));

        Tensor Made(string name, long rows, long columns)
        {
            Tensor made = Tensor.FromFloats(name, new Shape(rows, columns), random.Take((int)(rows * columns), Math.Sqrt(3) * (KaimingGain / Math.Sqrt(columns))));
            return all[0].Type is { } type and (DType.BF16 or DType.F16) ? new(name, type, made.Shape, new ComputedStorage(type.Bytes(made.Shape.Elements), () => ScaleFold.Apply(made, 1, type))) : made;
        }
    }

    private static (Tensor A, Tensor B)? Vera(string module, Dictionary<string, Tensor> parts, (Tensor A, Tensor B) shared, BaseLayers? layers, FaultList faults)
    {
        if (!parts.TryGetValue(s_vera[0], out Tensor? outputs) || !parts.TryGetValue(s_vera[1], out Tensor? ranks))
        {
            faults.Add($"{module}.{s_vera.First(n => !parts.ContainsKey(n))}: is missing");
            return null;
        }
        long rank = ranks.Shape.Elements, rows = outputs.Shape.Elements;
        // Without the base the widest layer's inputs are taken: good for looking at it, not for writing it.
        long inputs = layers?.Find(module)?.Inputs ?? (shared.A.Shape.Rank == 2 ? shared.A.Shape[1] : 0);
        if (shared.A.Shape.Rank != 2 || shared.B.Shape.Rank != 2 || shared.A.Shape[0] < rank || shared.B.Shape[1] < rank || shared.B.Shape[0] < rows || shared.A.Shape[1] < inputs || rank == 0 || rows == 0)
        {
            faults.Add($"{module}: {rows} outputs, {inputs} inputs and rank {rank} are more than the shared projections {shared.B.Shape} and {shared.A.Shape} have");
            return null;
        }
        return (RowsScaled(Corner(shared.A, rank, inputs), ranks.ToFloats(), (int)inputs), RowsScaled(Corner(shared.B, rows, rank), outputs.ToFloats(), (int)rank));
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
