using System.Buffers;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>genai_config.json: what onnxruntime-genai is told of an exported model. Source: microsoft/onnxruntime-genai, src/config.h.</summary>
internal static class GenAiConfig
{
    /// <summary>The file.</summary>
    public const string FileName = "genai_config.json";

    /// <summary>Writes it for a model of this configuration, whose graph is <paramref name="modelName"/>.</summary>
    public static void Write(string folder, string modelName, ModelConfig config, bool hasPositions)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter w = new(buffer, new JsonWriterOptions { Indented = true }))
        {
            w.WriteStartObject();
            w.WriteStartObject("model");
            // Every decoder of this convention, whatever its architecture.
            w.WriteString("type", "decoder");
            w.WriteNumber("vocab_size", config.Vocabulary);
            w.WriteNumber("context_length", config.ContextLength);
            if (config.BosId is int bos)
                w.WriteNumber("bos_token_id", bos);
            if (config.EndIds.Count > 0)
            {
                w.WriteStartArray("eos_token_id");
                foreach (int end in config.EndIds)
                    w.WriteNumberValue(end);
                w.WriteEndArray();
                w.WriteNumber("pad_token_id", config.EndIds[0]);
            }
            w.WriteStartObject("decoder");
            w.WriteString("filename", modelName);
            w.WriteNumber("hidden_size", config.HiddenSize);
            w.WriteNumber("head_size", config.HeadSize);
            w.WriteNumber("num_attention_heads", config.Heads);
            w.WriteNumber("num_key_value_heads", config.KvHeads);
            w.WriteNumber("num_hidden_layers", config.Layers);
            w.WriteStartObject("session_options");
            w.WriteStartArray("provider_options");
            w.WriteEndArray();
            w.WriteEndObject();
            w.WriteStartObject("inputs");
            foreach (string name in (string[])["input_ids", "attention_mask", "position_ids"])
                if (hasPositions || name != "position_ids")
                    w.WriteString(name, name);
            w.WriteString("past_key_names", "past_key_values.%d.key");
            w.WriteString("past_value_names", "past_key_values.%d.value");
            w.WriteEndObject();
            w.WriteStartObject("outputs");
            w.WriteString("logits", StepNames.Logits);
            w.WriteString("present_key_names", "present.%d.key");
            w.WriteString("present_value_names", "present.%d.value");
            w.WriteEndObject();
            w.WriteEndObject();
            w.WriteEndObject();
            w.WriteStartObject("search");
            w.WriteNumber("max_length", config.ContextLength);
            w.WriteBoolean("past_present_share_buffer", true);
            w.WriteEndObject();
            w.WriteEndObject();
        }
        AtomicFile.WriteBytes(Path.Combine(folder, FileName), buffer.WrittenMemory);
    }
}
