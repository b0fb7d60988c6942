using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>model.safetensors of a GPTQ base: its linear layers in 4 bits, groups of 32.</summary>
/// <param name="mutatesConfig">Whether config.json is mutated beside sound weights instead.</param>
internal sealed class QuantisedFuzz(bool mutatesConfig) : FuzzFormat
{
    private const int Bits = 4, Group = 32;

    public override string Name => mutatesConfig ? "quantised-config" : "quantised";

    public override string FileName => mutatesConfig ? "config.json" : "model.safetensors";

    public override bool IsText => mutatesConfig;

    public override IReadOnlyList<string> Tokens => mutatesConfig
        ? ["\"quant_method\":\"awq\"", "\"fp8\"", "\"bitsandbytes\"", "\"compressed-tensors\"", "\"load_in_4bit\":true", "\"bnb_4bit_quant_type\":\"nf4\"", "\"weight_block_size\":[128,128]", "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":4,\"type\":\"int\"},\"targets\":[\"Linear\"]}}", "\"bits\":3", "\"group_size\":-1", "\"desc_act\":true", "\"quantization\":{\"group_size\":32,\"bits\":4}", "\"checkpoint_format\":\"gptq_v2\"", "\"ignore\":[\"re:.*\"]"]
        : [".qweight", ".qzeros", ".scales", ".g_idx", ".weight_scale", ".weight_scale_inv", ".weight.absmax", ".weight.quant_state.bitsandbytes__nf4", ".weight_packed", ".weight_shape", "\"I32\"", "\"F8_E4M3\"", "\"U8\"", "\"shape\":[0,9999999999]"];

    public override IReadOnlyList<string> SharedSeeds => mutatesConfig ? ["quants/*/config.json"] : ["quants/int/*.safetensors", "quants/mlx/*.safetensors", "quants/fp8/*.safetensors", "quants/bitsandbytes/*.safetensors"];

    public override IEnumerable<byte[]> Seeds() => [mutatesConfig ? Encoding.UTF8.GetBytes(Config()) : Weights()];

    public override void Prepare(string folder)
    {
        if (mutatesConfig)
            File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), Weights());
        else
            File.WriteAllText(Path.Combine(folder, "config.json"), Config());
    }

    public override void Open(string folder)
    {
        BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
        using DecoderModel model = DecoderModel.Load(checkpoint, new ReferenceBackend());
    }

    public override byte[]? Repair(byte[] input) => mutatesConfig ? null : SafetensorsFuzz.RepairHeader(input);

    private static string Config() => TinyBase.Config.Replace("\"model_type\"", $"\"quantization_config\": {{\"quant_method\": \"gptq\", \"bits\": {Bits}, \"group_size\": {Group}, \"desc_act\": false, \"sym\": true}}, \"model_type\"");

    private static byte[] Weights() => TinyBase.Bytes("model.safetensors", folder =>
    {
        TinyBase.Write(folder);
        string path = Path.Combine(folder, "model.safetensors"), packed = Path.Combine(folder, "packed.safetensors");
        using (TensorFile file = Safetensors.Open(path))
        {
            List<Tensor> tensors = [];
            foreach (Tensor tensor in file.Tensors.Values)
            {
                if (!tensor.Name.EndsWith("_proj.weight", StringComparison.Ordinal))
                {
                    tensors.Add(tensor);
                    continue;
                }
                string module = tensor.Name[..^".weight".Length];
                long outputs = tensor.Shape[0], inputs = tensor.Shape[1];
                tensors.Add(Zeros($"{module}.qweight", DType.I32, inputs * Bits / 32, outputs));
                tensors.Add(Zeros($"{module}.qzeros", DType.I32, inputs / Group, outputs * Bits / 32));
                tensors.Add(Zeros($"{module}.scales", DType.F16, inputs / Group, outputs));
            }
            Safetensors.Write(packed, tensors);
        }
        File.Move(packed, path, overwrite: true);
    });

    private static Tensor Zeros(string name, DType type, long rows, long columns)
    {
        Shape shape = new(rows, columns);
        return new(name, type, shape, new ArrayStorage((int)type.Bytes(shape.Elements)));
    }
}
