using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>Writes adapter_config.json as peft.LoraConfig.save_pretrained does: every field of the version named here, sorted, two spaces, no newline at the end.</summary>
public static class PeftConfigWriter
{
    private const string Version = "0.21.2";

    // Fields of methods that are not written here stand at their defaults.
    private static readonly string[] s_null =
        ["arrow_config", "corda_config", "eva_config", "kasa_config", "lora_ga_config", "megatron_config", "monteclora_config", "use_bdlora", "velora_config"];

    /// <summary>The file's text. Reading it gives <paramref name="config"/> again.</summary>
    public static string ToJson(PeftConfig config)
    {
        SortedDictionary<string, Action<Utf8JsonWriter>> fields = new(StringComparer.Ordinal)
        {
            ["auto_mapping"] = w => w.WriteNullValue(),
            ["base_model_name_or_path"] = w => w.WriteStringValue(config.BaseModel),
            ["inference_mode"] = w => w.WriteBooleanValue(true),
            ["peft_type"] = w => w.WriteStringValue(config.PeftType),
            ["peft_version"] = w => w.WriteStringValue(Version),
            ["revision"] = w => w.WriteNullValue(),
            ["target_modules"] = w => WriteModules(w, config.TargetModules, config.TargetsAllLinear ? "all-linear" : config.TargetPattern?.Source),
            ["task_type"] = w => w.WriteStringValue(config.TaskType),
        };
        if (config.PeftType == "TRAINABLE_TOKENS")
            fields["token_indices"] = w => WriteTokens(w, config.TokenRows);
        else if (config.PeftType == PeftConfig.Bottleneck)
            fields["bottleneck_activation"] = w => w.WriteStringValue(PeftConfig.ActivationNames.First(a => a.Value == config.BottleneckActivation).Key);
        else if (config.PeftType == PeftConfig.Partial)
            fields.Remove("target_modules");
        else if (config.PeftType == "LN_TUNING")
            fields["modules_to_save"] = w => WriteModules(w, config.ModulesToSave, null);
        else if (config.PeftType is "IA3" or "OFT" or "BOFT")
            throw new NotSupportedException($"peft_type {config.PeftType}: its configuration is kept as it was read, not written anew");
        else
            AddLora(fields, config);
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter writer = new(text, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            foreach ((string name, Action<Utf8JsonWriter> write) in fields)
            {
                writer.WritePropertyName(name);
                write(writer);
            }
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    private static void AddLora(SortedDictionary<string, Action<Utf8JsonWriter>> fields, PeftConfig config)
    {
        fields["alora_invocation_tokens"] = w => WriteInts(w, config.InvocationTokens);
        fields["alpha_pattern"] = w => WritePatterns(w, config.AlphaPattern);
        fields["bias"] = w => w.WriteStringValue(config.Bias switch { PeftBias.All => "all", PeftBias.LoraOnly => "lora_only", _ => "none" });
        fields["ensure_weight_tying"] = w => w.WriteBooleanValue(config.EnsureWeightTying);
        fields["exclude_modules"] = w => WriteModules(w, config.ExcludeModules, config.ExcludePattern?.Source);
        fields["fan_in_fan_out"] = w => w.WriteBooleanValue(config.FanInFanOut);
        fields["init_lora_weights"] = w =>
        {
            if ((config.Residual switch { PeftResidual.Pissa => "pissa", PeftResidual.Olora => "olora", _ => config.Start }) is { } name)
                w.WriteStringValue(name);
            else
                w.WriteBooleanValue(true);
        };
        fields["layer_replication"] = w => WriteReplication(w, config.LayerReplication);
        fields["layers_pattern"] = w => WriteModules(w, [.. config.LayersPattern.Select(p => p.Source)], null);
        fields["layers_to_transform"] = w => WriteInts(w, config.LayersToTransform);
        fields["lora_alpha"] = w => WriteNumber(w, config.Alpha);
        fields["lora_bias"] = w => w.WriteBooleanValue(config.LoraBias);
        fields["loftq_config"] = w => WritePatterns(w, []);
        fields["lora_dropout"] = w => w.WriteRawValue(config.Dropout == 0 ? "0.0" : config.Dropout.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant());
        fields["megatron_core"] = w => w.WriteStringValue("megatron.core");
        fields["modules_to_save"] = w => WriteModules(w, config.ModulesToSave, null);
        fields["qalora_group_size"] = w => w.WriteNumberValue(16);
        fields["r"] = w => w.WriteNumberValue(config.Rank);
        fields["rank_pattern"] = w => WritePatterns(w, config.RankPattern);
        fields["target_parameters"] = w => WriteModules(w, config.TargetParameters, null);
        fields["trainable_token_indices"] = w => WriteTokens(w, config.TokenRows);
        fields["use_qalora"] = w => w.WriteBooleanValue(false);
        foreach (string name in s_null)
            fields[name] = w => w.WriteNullValue();
        fields["use_dora"] = w => w.WriteBooleanValue(config.UseDora);
        fields["use_rslora"] = w => w.WriteBooleanValue(config.UseRslora);
    }

    private static void WriteModules(Utf8JsonWriter writer, IReadOnlyList<string> names, string? pattern)
    {
        if (pattern is not null)
        {
            writer.WriteStringValue(pattern);
        }
        else if (names.Count == 0)
        {
            writer.WriteNullValue();
        }
        else
        {
            writer.WriteStartArray();
            foreach (string name in names)
                writer.WriteStringValue(name);
            writer.WriteEndArray();
        }
    }

    private static void WriteInts(Utf8JsonWriter writer, IReadOnlyList<int>? numbers)
    {
        if (numbers is null)
        {
            writer.WriteNullValue();
            return;
        }
        writer.WriteStartArray();
        foreach (int number in numbers)
            writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }

    // File order is meaning here: the first match wins. PEFT sorts, so overlapping keys must be given in sorted order to mean the same there.
    private static void WritePatterns(Utf8JsonWriter writer, IReadOnlyList<PeftPatternValue> patterns)
    {
        writer.WriteStartObject();
        foreach (PeftPatternValue pattern in patterns)
        {
            writer.WritePropertyName(pattern.Key.Source);
            WriteNumber(writer, pattern.Value);
        }
        writer.WriteEndObject();
    }

    private static void WriteNumber(Utf8JsonWriter writer, double number)
    {
        if (number == Math.Floor(number) && Math.Abs(number) < 1e15)
            writer.WriteNumberValue((long)number);
        else
            writer.WriteNumberValue(number);
    }

    private static void WriteReplication(Utf8JsonWriter writer, IReadOnlyList<(int Start, int End)>? ranges)
    {
        if (ranges is null)
        {
            writer.WriteNullValue();
            return;
        }
        writer.WriteStartArray();
        foreach ((int start, int end) in ranges)
            WriteInts(writer, [start, end]);
        writer.WriteEndArray();
    }

    private static void WriteTokens(Utf8JsonWriter writer, IReadOnlyList<PeftTokenRows> rows)
    {
        if (rows.Count == 0 || rows is [{ Module: null }])
        {
            WriteInts(writer, rows.Count == 0 ? null : rows[0].Ids);
            return;
        }
        writer.WriteStartObject();
        foreach (PeftTokenRows row in rows)
        {
            writer.WritePropertyName(row.Module ?? "embed_tokens");
            WriteInts(writer, row.Ids);
        }
        writer.WriteEndObject();
    }
}
