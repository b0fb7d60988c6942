using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Tests.Models;

/// <summary>An encoder of ../shared/fixtures/models, with the inputs of its expected.safetensors, and what tests make of it.</summary>
internal sealed class EncoderFixture(string name) : IDisposable
{
    private readonly string _temporary = Directory.CreateTempSubdirectory("edgelora-encoder-").FullName;

    public string Folder { get; } = SharedFolder.Require("fixtures/models/" + name);

    public EncoderInput[] Inputs()
    {
        using TensorFile expected = Safetensors.Open(Path.Combine(Folder, "expected.safetensors"));
        return EncoderInputFile.Read(expected);
    }

    public EncoderModel Load(IComputeBackend backend) => EncoderModel.Load(BaseCheckpoint.OpenFolder(Folder), backend);

    /// <summary>A copy of the checkpoint with other tensors (null: without it) and a changed config.</summary>
    public string Copy(IReadOnlyDictionary<string, Tensor?> changed, Func<string, string>? config = null)
    {
        string folder = Path.Combine(_temporary, Guid.NewGuid().ToString("n"));
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), (config ?? (c => c))(File.ReadAllText(Path.Combine(Folder, "config.json"))));
        using TensorFile file = Safetensors.Open(Path.Combine(Folder, "model.safetensors"));
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), file.Tensors.Values.Where(t => !changed.ContainsKey(t.Name)).Concat(changed.Values.Where(t => t is not null).Select(t => t!)));
        return folder;
    }

    public Tensor Weight(string tensor)
    {
        using TensorFile file = Safetensors.Open(Path.Combine(Folder, "model.safetensors"));
        Tensor mapped = file.Tensors[tensor];
        return Tensor.FromFloats(tensor, mapped.Shape, mapped.ToFloats());
    }

    /// <summary>A LoRA for sequence classification as PEFT writes it: rank 3 on every linear layer whose name ends so, and the head's modules saved.</summary>
    /// <returns>The folder, and the checkpoint's tensors as they are with it.</returns>
    public (string Folder, Dictionary<string, Tensor?> Merged) Adapter(string[] targets, string[] saved, int seed = 1)
    {
        Random random = new(seed);
        string folder = Path.Combine(_temporary, $"lora{seed}");
        Directory.CreateDirectory(folder);
        using TensorFile file = Safetensors.Open(Path.Combine(Folder, "model.safetensors"));
        List<Tensor> tensors = [];
        Dictionary<string, Tensor?> merged = [];
        float[] Values(long count, double size) => [.. Enumerable.Range(0, (int)count).Select(_ => (float)((random.NextDouble() - 0.5) * size))];
        foreach (Tensor weight in file.Tensors.Values)
        {
            string module = weight.Name[..weight.Name.LastIndexOf('.')], key = "base_model.model." + module;
            if (saved.Any(s => module.EndsWith(s, StringComparison.Ordinal) || module.Contains(s + ".", StringComparison.Ordinal)))
            {
                float[] own = Values(weight.Shape.Elements, 1);
                tensors.Add(Tensor.FromFloats("base_model.model." + weight.Name, weight.Shape, own));
                merged[weight.Name] = Tensor.FromFloats(weight.Name, weight.Shape, own);
            }
            else if (weight.Name.EndsWith(".weight", StringComparison.Ordinal) && targets.Any(t => module.EndsWith("." + t, StringComparison.Ordinal)))
            {
                int outputs = (int)weight.Shape[0], inputs = weight.Shape.Columns;
                float[] a = Values(3 * inputs, 0.6), b = Values(3 * outputs, 0.6), w = weight.ToFloats();
                tensors.Add(Tensor.FromFloats(key + ".lora_A.weight", new Shape(3, inputs), a));
                tensors.Add(Tensor.FromFloats(key + ".lora_B.weight", new Shape(outputs, 3), b));
                for (int o = 0; o < outputs; o++)
                    for (int i = 0; i < inputs; i++)
                        w[o * inputs + i] += 2 * Enumerable.Range(0, 3).Sum(r => b[o * 3 + r] * a[r * inputs + i]);
                merged[weight.Name] = Tensor.FromFloats(weight.Name, weight.Shape, w);
            }
        }
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors);
        string Names(string[] names) => "[" + string.Join(", ", names.Select(n => $"\"{n}\"")) + "]";
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"),
            $$"""{"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": null, "r": 3, "lora_alpha": 6, "target_modules": {{Names(targets)}}, "modules_to_save": {{Names([.. saved, "score"])}} }""");
        return (folder, merged);
    }

    public void Dispose() => Directory.Delete(_temporary, true);
}
