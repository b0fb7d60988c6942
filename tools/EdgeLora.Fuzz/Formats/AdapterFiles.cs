using System.Buffers.Binary;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>One file of a format of adapters, read through <see cref="AdapterFormats"/>.</summary>
/// <param name="name">As <c>--format</c> spells it.</param>
/// <param name="fileName">The mutated file.</param>
/// <param name="seeds">Sound files.</param>
/// <param name="tokens">Words of the format.</param>
/// <param name="shared">Seeds of the reference data.</param>
internal class AdapterFileFuzz(string name, string fileName, Func<IEnumerable<byte[]>> seeds, string[] tokens, string[] shared) : FuzzFormat
{
    public override string Name => name;

    public override string FileName => fileName;

    public override IReadOnlyList<string> Tokens => tokens;

    public override IReadOnlyList<string> SharedSeeds => shared;

    /// <summary>Whether the format is of language models, so that it is fitted to the tiny base too.</summary>
    public bool Fits { get; init; }

    /// <summary>What a user gives beside the file.</summary>
    public AdapterOptions Options { get; init; } = AdapterOptions.None;

    /// <summary>False where a sound file would be large, or is not made by hand.</summary>
    public bool IsSound { get; init; } = true;

    /// <summary>Makes lengths right again.</summary>
    public Func<byte[], byte[]?> Mend { get; init; } = _ => null;

    /// <summary>Whether the folder is read, not the file.</summary>
    public bool IsFolder { get; init; }

    /// <summary>What lies beside the file.</summary>
    public Action<string> Beside { get; init; } = _ => { };

    public override bool HasSoundSeed => IsSound;

    public override IEnumerable<byte[]> Seeds() => seeds();

    public override void Prepare(string folder) => Beside(folder);

    public override void Open(string folder)
    {
        string path = IsFolder ? folder : Path.Combine(folder, fileName);
        PeftAdapter adapter = AdapterFormats.Read(path, Options);
        if (Fits)
            LoraAdapter.Fit(adapter, TinyBase.Sites, "fuzz").Dispose();
        else
            adapter.Dispose();
    }

    public override byte[]? Repair(byte[] input) => Mend(input);

    /// <summary>The formats that are neither PEFT's nor ours.</summary>
    public static IReadOnlyList<FuzzFormat> Foreign { get; } =
    [
        new AdapterFileFuzz("gguf-lora", "adapter.gguf", () => [Gguf()],
            ["general.type", "adapter", "adapter.type", "adapter.lora.alpha", "adapter.alora.invocation_tokens", "adapter.lora.task_name", "blk.0.attn_q.weight.lora_a", "token_embd.weight.lora_b", "blk.1.ffn_up.weight.lora_a", "output.weight.lora_a"],
            ["malformed/gguf_lora/*.gguf", "gguf/lora/*/*.gguf"]) { Fits = true },
        new AdapterFileFuzz("mlx", MlxFormat.WeightsName, () => [TinyBase.Bytes(MlxFormat.WeightsName, f => WriteAs("mlx", f))],
            ["model.layers.0.self_attn.q_proj.lora_a", ".lora_b", ".m", "model.h.0.", "\"F16\"", "layers.1"], ["conversions/*/mlx/adapters.safetensors"])
        {
            Fits = true, IsFolder = true, Mend = SafetensorsFuzz.RepairHeader,
            Beside = f => { WriteAs("mlx", f); File.Delete(Path.Combine(f, MlxFormat.WeightsName)); },
        },
        new MlxConfigFuzz(),
        new AdapterFileFuzz("loralib", "lora.bin", () => [TinyBase.Bytes("lora.bin", f => WriteAs("loralib", Path.Combine(f, "lora.bin")))],
            ["model.layers.0.self_attn.q_proj.lora_A", ".lora_B", ".weight", ".bias", "ctorch._utils\n_rebuild_tensor_v2\n"], ["conversions/*/loralib.bin"]) { Options = new() { Alpha = 1 }, Mend = new TorchFuzz().Repair },
        new AdapterFileFuzz("genai", "adapter.fb", () => new OnnxAdapterFuzz().Seeds().Select(AsForerunner), ["GAIL", "TORT", "lora_A", "lora_B", "model.layers.0.self_attn.q_proj.lora_A.weight"], []) { Fits = true },
        new AdapterFileFuzz("kohya", "lora.safetensors", () =>
            [
                Pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight", ",\"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[32,36]}", 36),
                Pair("lora_te_text_model_encoder_layers_0_self_attn_k_proj.lora_down.weight", "lora_te_text_model_encoder_layers_0_self_attn_k_proj.lora_up.weight", "", 32),
            ],
            [".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_t1", ".lokr_w1", ".lokr_w2_a", ".lokr_t2", ".lora_mid.weight", ".alpha", ".dora_scale", "lora_te1_", "lora_te2_text_model_encoder_layers_0_mlp_fc1", "lora_transformer_double_blocks_0_img_attn_qkv", "lora_unet_single_blocks_0_linear1", "\"shape\":[1,4,3,3]", ".oft_blocks", ".diff"],
            ["conversions/diffusion_names/*.safetensors", "diffusion/*/*.safetensors"]) { Mend = SafetensorsFuzz.RepairHeader },
        new AdapterFileFuzz("diffusers", "pytorch_lora_weights.safetensors", () =>
            [
                Pair("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight",
                    ",\"__metadata__\":{\"lora_adapter_metadata\":\"{\\\"unet.r\\\": 1, \\\"unet.lora_alpha\\\": 2, \\\"unet.target_modules\\\": [\\\"to_q\\\"]}\"}", 32),
                Pair("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", "", 32),
            ],
            ["text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight", ".lora_linear_layer.up.weight", ".lora_magnitude_vector", "transformer.transformer_blocks.0.attn.to_q.lora_A.weight", ".alpha", "text_encoder_2.", "lora_adapter_metadata", "unet.alpha_pattern", ".lora_B.bias"],
            ["conversions/diffusion_names/*.safetensors", "diffusion/*/*.safetensors"]) { Mend = SafetensorsFuzz.RepairHeader },
        new AdapterFileFuzz("cloneofsimo", "lora.safetensors", () =>
            [
                Pair("unet:0:down", "unet:0:up", ",\"__metadata__\":{\"unet\":\"[\\\"CrossAttention\\\", \\\"Attention\\\", \\\"GEGLU\\\"]\",\"unet:0:rank\":\"1\"}", 32),
                Pair("text_encoder:0:down", "text_encoder:0:up", ",\"__metadata__\":{\"text_encoder\":\"[\\\"CLIPAttention\\\"]\",\"text_encoder:0:rank\":\"1\",\"<s1>\":\"<embed>\"},\"<s1>\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]}", 40),
            ],
            ["unet:1:up", "unet:1:down", "unet:99999999:up", "text_encoder:1:up", "unet:-1:down", "ResnetBlock2D", "CLIPMLP", "<embed>"], ["diffusion/*/*.safetensors"]) { IsSound = false, Mend = SafetensorsFuzz.RepairHeader },
    ];

    /// <summary>Writes the tiny base's LoRA in another format.</summary>
    internal static void WriteAs(string format, string path)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-fuzz-as-").FullName;
        try
        {
            TinyBase.WriteAdapter(folder);
            using PeftAdapter adapter = PeftAdapter.Open(folder);
            AdapterFormats.Named(format)!.Write(adapter, path, new AdapterOptions { Fold = true });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static byte[] Gguf() => TinyBase.Bytes("a.gguf", f => GgufFile.Write(Path.Combine(f, "a.gguf"), new Dictionary<string, object>
    {
        ["general.type"] = "adapter",
        ["general.architecture"] = "llama",
        ["adapter.type"] = "lora",
        ["adapter.lora.alpha"] = 2f,
    },
    [
        RandomModel.Random("blk.0.attn_q.weight.lora_a", new Shape(1, 32), DType.F32, 1), RandomModel.Random("blk.0.attn_q.weight.lora_b", new Shape(32, 1), DType.F32, 2),
        RandomModel.Random("blk.0.attn_v.weight.lora_a", new Shape(1, 32), DType.F32, 3), RandomModel.Random("blk.0.attn_v.weight.lora_b", new Shape(16, 1), DType.F32, 4),
    ]));

    // The root, whose fields begin at byte 24, has its parameters in field 1, not 3.
    private static byte[] AsForerunner(byte[] file)
    {
        "GAIL"u8.CopyTo(file.AsSpan(4));
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(28), 8 + BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(36)));
        return file;
    }

    // Down [1, 4], up [4, 1], and what else stands in the header.
    private static byte[] Pair(string down, string up, string more, int bytes) => SafetensorsFuzz.SafetensorsBytes(
        $"{{\"{down}\":{{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[0,16]}},\"{up}\":{{\"dtype\":\"F32\",\"shape\":[4,1],\"data_offsets\":[16,32]}}{more}}}", [.. Enumerable.Repeat<byte[]>([0, 0, 128, 63], bytes / 4).SelectMany(b => b)]);
}

/// <summary>adapter_config.json of an MLX folder.</summary>
internal sealed class MlxConfigFuzz() : AdapterFileFuzz("mlx-config", "adapter_config.json", () => [TinyBase.Bytes("adapter_config.json", f => WriteAs("mlx", f))],
    ["\"fine_tune_type\":\"dora\"", "\"full\"", "\"num_layers\":-1", "\"lora_layers\":4", "\"lora_parameters\":{\"rank\":8,\"scale\":20.0,\"dropout\":0.0,\"keys\":[\"self_attn.q_proj\"]}", "\"alpha\":16", "\"use_dora\":true"], ["conversions/*/mlx/adapter_config.json"])
{
    public override bool IsText => true;

    public override void Prepare(string folder)
    {
        WriteAs("mlx", folder);
        File.Delete(Path.Combine(folder, FileName));
    }

    public override void Open(string folder) => LoraAdapter.Load(folder, "fuzz", TinyBase.Sites).Dispose();
}
