using System.Buffers;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A GGUF base seen as a Hugging Face checkpoint: metadata as a config, tensors under checkpoint names, in their stored form. llama.cpp permutes q and k of
/// llama files for rotation of neighbours and transposes GPT-2's Conv1D: both are told, nothing is copied back.
/// </summary>
public static class GgufCheckpoint
{
    private static readonly (string Gguf, string Hf)[] s_llamaParts =
    [
        ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"), ("ffn_norm", "post_attention_layernorm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
    ];

    private static readonly (string Gguf, string Hf)[] s_gpt2Parts =
    [
        ("attn_norm", "ln_1"), ("attn_qkv", "attn.c_attn"), ("attn_output", "attn.c_proj"), ("ffn_norm", "ln_2"), ("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj"),
    ];

    /// <summary>Opens a .gguf base. Throws <see cref="ModelFileException"/> for an adapter, an architecture that is not known, or a quant type that Linear does not take.</summary>
    public static BaseCheckpoint Open(string path)
    {
        GgufFile file = GgufFile.Open(path);
        try
        {
            string architecture = file.Architecture;
            if (file.GetString("general.type", "model") == "adapter")
                throw new ModelFileException(path, "general.type: expected a model, found an adapter");
            if (architecture is not ("llama" or "qwen2" or "qwen3" or "gpt2"))
                throw new ModelFileException(path, $"general.architecture: expected llama, qwen2, qwen3 or gpt2, found {architecture}");
            Dictionary<string, Tensor> tensors = Rename(file, architecture == "gpt2");
            HfConfig config = HfConfig.Parse(path, architecture == "gpt2" ? Gpt2Config(file) : LlamaConfig(file, architecture));
            return new(path, config, new TensorFile(path, tensors, new Dictionary<string, string>(), []), architecture == "llama" ? RopePairs.Adjacent : RopePairs.Halves, TransposedConv1D: true, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static Dictionary<string, Tensor> Rename(GgufFile file, bool gpt2)
    {
        Dictionary<string, string> names = gpt2
            ? new() { ["token_embd"] = "transformer.wte", ["position_embd"] = "transformer.wpe", ["output_norm"] = "transformer.ln_f", ["output"] = "lm_head" }
            : new() { ["token_embd"] = "model.embed_tokens", ["output_norm"] = "model.norm", ["output"] = "lm_head" };
        long layers = file.GetInt(file.Architecture + ".block_count");
        for (int i = 0; i < Math.Min(layers, 4096); i++)
            foreach ((string from, string to) in gpt2 ? s_gpt2Parts : s_llamaParts)
                names[$"blk.{i}.{from}"] = gpt2 ? $"transformer.h.{i}.{to}" : $"model.layers.{i}.{to}";
        Dictionary<string, Tensor> tensors = new(StringComparer.Ordinal);
        foreach (GgufTensorInfo info in file.TensorInfos)
        {
            int dot = info.Name.LastIndexOf('.');
            if (dot > 0 && names.TryGetValue(info.Name[..dot], out string? name))
                tensors[name + info.Name[dot..]] = file.Tensor(info.Name).View(name + info.Name[dot..], info.Shape);
        }
        return tensors;
    }

    private static byte[] LlamaConfig(GgufFile file, string architecture) => Write(w =>
    {
        string a = architecture + ".";
        long hidden = file.GetInt(a + "embedding_length"), heads = file.GetInt(a + "attention.head_count");
        long headSize = file.GetInt(a + "attention.key_length", file.GetInt(a + "rope.dimension_count", heads > 0 ? hidden / heads : 0));
        w.WriteString("model_type", architecture);
        w.WriteString("hidden_act", "silu");
        w.WriteNumber("hidden_size", hidden);
        w.WriteNumber("num_hidden_layers", file.GetInt(a + "block_count"));
        w.WriteNumber("num_attention_heads", heads);
        w.WriteNumber("num_key_value_heads", file.GetInt(a + "attention.head_count_kv", heads));
        w.WriteNumber("head_dim", headSize);
        w.WriteNumber("intermediate_size", file.GetInt(a + "feed_forward_length"));
        w.WriteNumber("max_position_embeddings", file.GetInt(a + "context_length"));
        w.WriteNumber("rms_norm_eps", file.GetFloat(a + "attention.layer_norm_rms_epsilon"));
        w.WriteBoolean("attention_bias", architecture == "llama" && file.Contains("blk.0.attn_q.bias"));
        w.WriteBoolean("mlp_bias", file.Contains("blk.0.ffn_up.bias"));
        WriteCommon(w, file);
        w.WriteStartObject("rope_parameters");
        w.WriteNumber("rope_theta", file.GetFloat(a + "rope.freq_base", 10000));
        string scaling = file.GetString(a + "rope.scaling.type", file.Metadata.ContainsKey(a + "rope.scale_linear") ? "linear" : "none");
        w.WriteString("rope_type", scaling == "none" ? "default" : scaling);
        if (scaling != "none")
            w.WriteNumber("factor", file.GetFloat(a + "rope.scaling.factor", file.GetFloat(a + "rope.scale_linear", 1)));
        if (file.Metadata.ContainsKey(a + "rope.scaling.original_context_length"))
            w.WriteNumber("original_max_position_embeddings", file.GetInt(a + "rope.scaling.original_context_length"));
        // llama.cpp stores llama3's scaling as one divisor a frequency.
        if (file.Contains("rope_freqs.weight"))
        {
            w.WriteStartArray("frequency_divisors");
            foreach (float divisor in file.Tensor("rope_freqs.weight").ToFloats())
                w.WriteNumberValue(divisor);
            w.WriteEndArray();
        }
        w.WriteEndObject();
    });

    private static byte[] Gpt2Config(GgufFile file) => Write(w =>
    {
        w.WriteString("model_type", "gpt2");
        w.WriteString("activation_function", "gelu_new");
        w.WriteNumber("n_embd", file.GetInt("gpt2.embedding_length"));
        w.WriteNumber("n_layer", file.GetInt("gpt2.block_count"));
        w.WriteNumber("n_head", file.GetInt("gpt2.attention.head_count"));
        w.WriteNumber("n_inner", file.GetInt("gpt2.feed_forward_length"));
        w.WriteNumber("n_positions", file.GetInt("gpt2.context_length"));
        w.WriteNumber("layer_norm_epsilon", file.GetFloat("gpt2.attention.layer_norm_epsilon"));
        WriteCommon(w, file);
    });

    private static void WriteCommon(Utf8JsonWriter w, GgufFile file)
    {
        if (!file.TryGetInfo("token_embd.weight", out GgufTensorInfo? table) || table.Shape.Rank != 2)
            throw new ModelFileException(file.FilePath, "token_embd.weight: missing; expected [vocabulary, hidden]");
        w.WriteNumber("vocab_size", table.Shape[0]);
        w.WriteBoolean("tie_word_embeddings", !file.Contains("output.weight"));
        if (file.Metadata.ContainsKey("tokenizer.ggml.bos_token_id"))
            w.WriteNumber("bos_token_id", file.GetInt("tokenizer.ggml.bos_token_id"));
        if (file.Metadata.ContainsKey("tokenizer.ggml.eos_token_id"))
            w.WriteNumber("eos_token_id", file.GetInt("tokenizer.ggml.eos_token_id"));
    }

    private static byte[] Write(Action<Utf8JsonWriter> fields)
    {
        ArrayBufferWriter<byte> bytes = new();
        using (Utf8JsonWriter writer = new(bytes))
        {
            writer.WriteStartObject();
            fields(writer);
            writer.WriteEndObject();
        }
        return bytes.WrittenSpan.ToArray();
    }
}
