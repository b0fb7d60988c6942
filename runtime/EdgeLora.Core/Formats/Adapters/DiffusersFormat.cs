using System.Buffers;
using System.Text;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// diffusers' files (<c>pytorch_lora_weights.safetensors</c>): the pipeline's component, the module's path, the factor. s = 1 unless the metadata <c>lora_adapter_metadata</c> holds PEFT's configuration
/// of a component (<c>unet.lora_alpha</c> …) or a tensor <c>MODULE.alpha</c> stands beside the pair. All spellings of diffusers' history are read, the present one is written:
/// <code>
/// unet.PATH.lora_A.weight [R, I(, k, k)]                 unet.PATH.lora_B.weight [O, R(, 1, 1)]      unet.PATH.lora_magnitude_vector [O]
/// unet.PATH.lora.down.weight                             unet.PATH.lora.up.weight
/// unet.….attn1.processor.to_q_lora.down.weight           to_out_lora is to_out.0; without a component in front it is the UNet's
/// text_encoder.….self_attn.to_q_lora.down.weight         q_proj; or PATH.lora_linear_layer.down.weight
/// </code>
/// Sources: huggingface/diffusers utils/state_dict_utils.py, loaders/lora_base.py.
/// </summary>
/// <param name="metadata">Whether alphas are written as metadata (read from diffusers 0.34 on) rather than multiplied into B.</param>
public sealed class DiffusersFormat(bool metadata) : AdapterFileFormat
{
    /// <summary>PEFT's configuration of each component.</summary>
    internal const string MetadataKey = "lora_adapter_metadata";

    private const string FileName = "pytorch_lora_weights.safetensors";

    private static readonly (string Ending, PeftPart Part)[] s_endings =
    [
        (".lora_A.weight", PeftPart.A), (".lora_B.weight", PeftPart.B), (".lora_B.bias", PeftPart.OutputBias),
        (".lora.down.weight", PeftPart.A), (".lora.up.weight", PeftPart.B),
        (".lora_linear_layer.down.weight", PeftPart.A), (".lora_linear_layer.up.weight", PeftPart.B),
        (".lora_magnitude_vector", PeftPart.Magnitude), (".lora_magnitude_vector.weight", PeftPart.Magnitude),
    ];

    // Attention processors of old: the projection's name stands before _lora.
    private static readonly (string Old, string Unet, string Text)[] s_projections =
        [(".to_q_lora", ".to_q", ".q_proj"), (".to_k_lora", ".to_k", ".k_proj"), (".to_v_lora", ".to_v", ".v_proj"), (".to_out_lora", ".to_out.0", ".out_proj")];

    /// <inheritdoc/>
    public override string Name => metadata ? "diffusers_metadata" : "diffusers";

    /// <inheritdoc/>
    public override string Title => metadata ? "a diffusers file with metadata" : "a diffusers file";

    /// <inheritdoc/>
    public override string Extension => ".safetensors";

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.Metadata;

    /// <inheritdoc/>
    public override bool Recognizes(string path) => SafetensorsPeek.Header(FileIn(path), h =>
        (SafetensorsPeek.Has(h, "\"unet."u8) || SafetensorsPeek.Has(h, "\"transformer."u8) || SafetensorsPeek.Has(h, "\"text_encoder"u8)
            || SafetensorsPeek.Has(h, "\"down_blocks."u8) || SafetensorsPeek.Has(h, "\"mid_block."u8) || SafetensorsPeek.Has(h, "\"up_blocks."u8))
        && (SafetensorsPeek.Has(h, ".lora"u8) || SafetensorsPeek.Has(h, "_lora."u8)));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        path = FileIn(path);
        TensorFile file = Safetensors.Open(path);
        try
        {
            FaultList faults = new(path);
            Dictionary<string, Dictionary<PeftPart, Tensor>> groups = [];
            Dictionary<string, double> alphas = [];
            foreach ((string name, Tensor tensor) in file.Tensors)
                if (Sort(name) is not var (module, part))
                    faults.Add($"{name}: is no tensor of a diffusers LoRA file");
                else if (part is null && (tensor.Shape.Elements != 1 || tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64)))
                    faults.Add($"{name}: expected one number, found {tensor.Type} {tensor.Shape}");
                else if (part is null ? !alphas.TryAdd(module, tensor.ToFloats()[0]) : !Group(module).TryAdd(part.Value, tensor))
                    faults.Add($"{name}: {module} has another tensor of this meaning");
            Dictionary<string, PeftConfig> configs = Configs(path, file, faults);
            DiffusionSites sites = new(path, faults);
            foreach ((string module, Dictionary<PeftPart, Tensor> parts) in groups)
                if (parts.GetValueOrDefault(PeftPart.A) is { } a && parts.GetValueOrDefault(PeftPart.B) is { } b)
                    sites.Add(module, module, a, b, Alpha(module, a, alphas, configs, faults), parts.GetValueOrDefault(PeftPart.Magnitude), parts.GetValueOrDefault(PeftPart.OutputBias));
                else
                    faults.Add($"{module}: {(parts.ContainsKey(PeftPart.A) ? "its up factor (B)" : "its down factor (A)")} is missing");
            foreach (string module in alphas.Keys.Where(m => !groups.ContainsKey(m)))
                faults.Add($"{module}.alpha: stands alone");
            return sites.ToAdapter(file, file.Metadata.Where(m => KohyaFormat.IsKept(m.Key)).ToDictionary());

            Dictionary<PeftPart, Tensor> Group(string module) => groups.TryGetValue(module, out Dictionary<PeftPart, Tensor>? found) ? found : groups[module] = [];
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options)
    {
        List<string> refusals = [], folds = [];
        DiffusionPair[] rounded = [.. DiffusionPair.Of(adapter, AdapterTraits.Dora | AdapterTraits.LoraBias, Title, refusals).Where(p => !metadata && !ScaleFold.IsExact(p.B, p.Scale, TypeOf(p.B, p.Scale, options)))];
        foreach (DiffusionPair pair in rounded)
            folds.Add(FormattableString.Invariant($"{pair.Module}: scale {pair.Scale:R} has no place in {Title} (it has in --to diffusers_metadata)"));
        return new(folds, refusals) { Rounding = ScaleFold.Worst(rounded.Select(p => (p.B, p.Scale, TypeOf(p.B, p.Scale, options)))) };
    }

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Judge(adapter, options).Demand(adapter.FilePath, options.Fold);
        List<Tensor> tensors = [];
        List<DiffusionPair> pairs = DiffusionPair.Of(adapter, AdapterTraits.Dora | AdapterTraits.LoraBias, Title, []);
        foreach (DiffusionPair pair in pairs)
        {
            Put($"{pair.Module}.lora_A.weight", pair.A, 1);
            Put($"{pair.Module}.lora_B.weight", pair.B, metadata ? 1 : pair.Scale);
            if (pair.Magnitude is { } magnitude)
                Put($"{pair.Module}.lora_magnitude_vector", magnitude, 1);
            // B's bias is scaled as B is.
            if (adapter.Modules[pair.Module][PeftPart.OutputBias] is { } bias)
                Put($"{pair.Module}.lora_B.bias", bias, metadata ? 1 : pair.Scale);
        }
        Dictionary<string, string> texts = adapter.File.Metadata.Where(m => KohyaFormat.IsKept(m.Key)).ToDictionary();
        texts[PeftAdapter.FormatKey] = "pt";
        if (metadata)
            texts[MetadataKey] = Configuration(adapter, pairs);
        Safetensors.Write(path, tensors, texts, cancellation);

        void Put(string name, Tensor tensor, double scale)
        {
            DType type = TypeOf(tensor, scale, options);
            ScaleFold.Require(tensor, scale, type, name, adapter.FilePath);
            tensors.Add(type == tensor.Type && scale == 1 ? tensor.View(name, tensor.Shape)
                : new(name, type, tensor.Shape, new ComputedStorage(type.Bytes(tensor.Shape.Elements), () => ScaleFold.Apply(tensor, scale, type))));
        }
    }

    private static DType TypeOf(Tensor tensor, double factor, AdapterOptions options) => ScaleFold.TypeOf(tensor, factor, options.Type, DType.F32, DType.F16, DType.BF16);

    private static string FileIn(string path) => Directory.Exists(path) ? Path.Combine(path, FileName) : path;

    // Component and module in the present spelling; part null: an alpha.
    private static (string Module, PeftPart? Part)? Sort(string name)
    {
        string plain = name.Replace(".processor.", ".", StringComparison.Ordinal);
        if (plain.StartsWith("down_blocks.", StringComparison.Ordinal) || plain.StartsWith("mid_block.", StringComparison.Ordinal) || plain.StartsWith("up_blocks.", StringComparison.Ordinal))
            plain = "unet." + plain;
        if (DiffusionSites.Split(plain) is not var (component, _))
            return null;
        bool text = component.StartsWith("text", StringComparison.Ordinal);
        foreach ((string old, string unet, string inText) in s_projections)
            foreach ((string direction, PeftPart part) in (ReadOnlySpan<(string, PeftPart)>)[(".down.weight", PeftPart.A), (".up.weight", PeftPart.B)])
                if (plain.EndsWith(old + direction, StringComparison.Ordinal))
                    return (plain[..^(old.Length + direction.Length)] + (text ? inText : unet), part);
        if (plain.EndsWith(".alpha", StringComparison.Ordinal))
            return (plain[..^".alpha".Length], null);
        (string ending, PeftPart found) = Array.Find(s_endings, e => plain.EndsWith(e.Ending, StringComparison.Ordinal));
        return ending is null || plain.Length - ending.Length <= component.Length ? null : (plain[..^ending.Length], found);
    }

    private static double Alpha(string module, Tensor a, Dictionary<string, double> alphas, Dictionary<string, PeftConfig> configs, FaultList faults)
    {
        int rank = a.Shape.Rank > 0 ? (int)Math.Min(int.MaxValue, a.Shape[0]) : 1;
        (string component, string name) = DiffusionSites.Split(module)!.Value;
        bool configured = configs.TryGetValue(component, out PeftConfig? config);
        if (alphas.TryGetValue(module, out double alpha))
        {
            if (configured)
                faults.Add($"{module}.alpha: stands beside {MetadataKey} of {component}");
            return alpha;
        }
        return !configured ? rank : config!.UseRslora ? config.ScaleOf(name, rank) * rank : config.AlphaOf(name);
    }

    // "unet.r": 4, … -> a configuration for each component.
    private static Dictionary<string, PeftConfig> Configs(string path, TensorFile file, FaultList faults)
    {
        Dictionary<string, PeftConfig> configs = [];
        if (!file.Metadata.TryGetValue(MetadataKey, out string? json))
            return configs;
        try
        {
            using JsonDocument document = SafeJson.Parse(path, Encoding.UTF8.GetBytes(json), MetadataKey);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new ModelFileException(path, $"{MetadataKey}: expected an object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
            foreach (string component in DiffusionSites.Components)
                if (Fields(document.RootElement, component + ".") is { } fields)
                    configs[component] = PeftConfigReader.Parse(path, fields);
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
                if (DiffusionSites.Split(property.Name) is null)
                    faults.Add($"{MetadataKey}: {property.Name} is of no component");
        }
        catch (ModelFileException e)
        {
            foreach (string fault in e.Faults)
                faults.Add($"{MetadataKey}: {fault}");
        }
        return configs;
    }

    private static byte[]? Fields(JsonElement root, string prefix)
    {
        ArrayBufferWriter<byte> text = new();
        bool any = false, typed = false;
        using (Utf8JsonWriter writer = new(text))
        {
            writer.WriteStartObject();
            foreach (JsonProperty property in root.EnumerateObject())
                if (property.Name.StartsWith(prefix, StringComparison.Ordinal))
                {
                    any = true;
                    typed |= property.Name == prefix + "peft_type";
                    writer.WritePropertyName(property.Name[prefix.Length..]);
                    property.Value.WriteTo(writer);
                }
            if (!typed)
                writer.WriteString("peft_type", "LORA");
            writer.WriteEndObject();
        }
        return any ? text.WrittenSpan.ToArray() : null;
    }

    // As PEFT writes a configuration, each field with its component in front.
    private static string Configuration(PeftAdapter adapter, List<DiffusionPair> pairs)
    {
        SortedDictionary<string, JsonElement> fields = new(StringComparer.Ordinal);
        foreach (IGrouping<string, DiffusionPair> component in pairs.GroupBy(p => DiffusionSites.Split(p.Module)!.Value.Component))
        {
            Dictionary<string, (int, double)> sites = component.ToDictionary(p => DiffusionSites.Split(p.Module)!.Value.Name, p => (p.Rank, p.Alpha));
            PeftConfig config = PairConfig.Of(adapter.FilePath, sites) with
            {
                TaskType = null,
                UseDora = component.Any(p => p.Magnitude is not null),
                LoraBias = component.Any(p => adapter.Modules[p.Module][PeftPart.OutputBias] is not null),
            };
            using JsonDocument document = JsonDocument.Parse(PeftConfigWriter.ToJson(config));
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
                fields[$"{component.Key}.{property.Name}"] = property.Value.Clone();
        }
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter writer = new(text, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            foreach ((string name, JsonElement value) in fields)
            {
                writer.WritePropertyName(name);
                value.WriteTo(writer);
            }
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }
}
