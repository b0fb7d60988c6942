using System.Buffers.Binary;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>adapter_config.json of a PEFT folder, fitted to the tiny base.</summary>
internal sealed class AdapterConfigFuzz : FuzzFormat
{
    public override string Name => "adapter-config";

    // A fault quotes what it is about, and .NET's JSON reader the whole of a literal that it cannot read.
    public override long SlackBytes => 320 << 10;

    public override string FileName => "adapter_config.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens =>
    [
        "\"peft_type\":\"LORA\"", "\"LOHA\"", "\"LOKR\"", "\"IA3\"", "\"VERA\"", "\"OFT\"", "\"ADALORA\"", "\"r\":", "\"lora_alpha\":", "\"rank_pattern\":{\"q_proj\":2}", "\"alpha_pattern\":{\".*\":1}", "\"target_modules\":\"all-linear\"",
        "\"target_modules\":\"(a+)+$\"", "\"use_dora\":true", "\"use_rslora\":true", "\"layers_to_transform\":[0]", "\"modules_to_save\":[\"lm_head\"]", "\"layer_replication\":[[0,1],[0,1]]", "\"trainable_token_indices\":[1]", "\"fan_in_fan_out\":true",
        "\"bias\":\"all\"", "\"exclude_modules\":[\"v_proj\"]", "\"target_parameters\":[\"a\"]", "\"alora_invocation_tokens\":[1]", "(?P<x>a)\\\\1", "[^\\\\]]", "{1,1000}", "2147483648",
    ];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/adapter_config/*.json", "malformed/adapter_config/*/adapter_config.json", "peft/*/adapter_config.json"];

    public override IEnumerable<byte[]> Seeds() => [TinyBase.Bytes(FileName, TinyBase.WriteAdapter)];

    public override void Prepare(string folder)
    {
        TinyBase.WriteAdapter(folder);
        File.Delete(Path.Combine(folder, FileName));
    }

    public override void Open(string folder) => LoraAdapter.Load(folder, "fuzz", TinyBase.Sites).Dispose();
}

/// <summary>adapter_model.safetensors of a PEFT folder, fitted to the tiny base.</summary>
internal sealed class AdapterTensorsFuzz : FuzzFormat
{
    public override string Name => "adapter-tensors";

    public override string FileName => PeftAdapter.WeightsName;

    public override IReadOnlyList<string> Tokens => ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector", ".lora_embedding_A", ".modules_to_save.", ".base_layer.weight", "hada_w1_a", "lokr_w1", "lora_A.default.weight", "\"BF16\"", "layers.1"];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/adapter_tensors/*/adapter_model.safetensors"];

    public override IEnumerable<byte[]> Seeds() => [TinyBase.Bytes(FileName, TinyBase.WriteAdapter)];

    public override void Prepare(string folder)
    {
        TinyBase.WriteAdapter(folder);
        File.Delete(Path.Combine(folder, FileName));
    }

    public override void Open(string folder) => LoraAdapter.Load(folder, "fuzz", TinyBase.Sites).Dispose();

    public override byte[]? Repair(byte[] input) => SafetensorsFuzz.RepairHeader(input);
}

/// <summary>Our own container, fitted to the tiny base.</summary>
internal sealed class EdgeAdapterFuzz : FuzzFormat
{
    public override string Name => "elora";

    public override string FileName => PeftAdapter.EdgeName;

    public override IReadOnlyList<string> Tokens => ["\u00ca\u007f\u00c0\u0000\u0000", "\u00cf\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "\u00dd\u0000\u0001\u0000\u0000", "\u00df\u0000\u0001\u0000\u0000", "\u00c4\u00ff", "\u00d9\u00ff", "name", "rank", "alpha", "tensors", "config", "\u0091\u0091\u0091\u0091"];

    public override IEnumerable<byte[]> Seeds() => [TinyBase.Bytes("a.elora", f =>
    {
        TinyBase.WriteAdapter(f);
        using PeftAdapter adapter = PeftAdapter.Open(f);
        adapter.WriteElora(Path.Combine(f, "a.elora"), "seed", "", "");
    })];

    public override void Open(string folder) => LoraAdapter.Load(Path.Combine(folder, FileName), "fuzz", TinyBase.Sites).Dispose();

    // The header's checksum, and how many bytes follow it.
    public override byte[]? Repair(byte[] input)
    {
        if (input.Length < 32 || BinaryPrimitives.ReadUInt32LittleEndian(input.AsSpan(8)) is var length && length > input.Length - 32)
            return null;
        byte[] repaired = [.. input];
        long start = (32 + length + 63) / 64 * 64;
        BinaryPrimitives.WriteUInt64LittleEndian(repaired.AsSpan(16), System.IO.Hashing.XxHash64.HashToUInt64(input.AsSpan(32, (int)length)));
        BinaryPrimitives.WriteInt64LittleEndian(repaired.AsSpan(24), Math.Max(0, input.Length - start));
        return repaired;
    }
}

/// <summary>ONNX Runtime's adapter, fitted to the tiny base.</summary>
internal sealed class OnnxAdapterFuzz : FuzzFormat
{
    public override string Name => "onnx-adapter";

    public override string FileName => PeftAdapter.OnnxName;

    public override IReadOnlyList<string> Tokens => ["TORT", "model.layers.0.self_attn.q_proj.lora_A.weight", "lora_B"];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/onnx_adapter/*.onnx_adapter", "onnx_adapter/small.onnx_adapter", "onnx_adapter/no-parameters.onnx_adapter"];

    public override IEnumerable<byte[]> Seeds() => [TinyBase.Bytes(FileName, f =>
    {
        TinyBase.WriteAdapter(f);
        using PeftAdapter adapter = PeftAdapter.Open(f);
        OnnxLowRank.Write(Path.Combine(f, FileName), adapter, DType.F32, CancellationToken.None);
    })];

    public override void Open(string folder)
    {
        OnnxAdapter.Read(Path.Combine(folder, FileName)).Dispose();
        LoraAdapter.Load(Path.Combine(folder, FileName), "fuzz", TinyBase.Sites).Dispose();
    }
}
