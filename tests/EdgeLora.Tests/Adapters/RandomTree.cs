using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Tests.Adapters;

/// <summary>A tree of random adapters on the shipped base, in a temporary folder.</summary>
internal sealed class RandomTree : IDisposable
{
    private static readonly string[] s_parts = ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"];
    private readonly Random _random;

    public RandomTree(int seed)
    {
        _random = new(seed);
        Folder = Directory.CreateTempSubdirectory("edgelora-tree").FullName;
        string target = Path.Combine(SharedFolder.Repository, "adapters", "nano", "base");
        File.WriteAllText(Path.Combine(Folder, "base.json"), $"{{\"path\": {System.Text.Json.JsonSerializer.Serialize(target)}}}");
    }

    public string Folder { get; }

    /// <summary>Adds a node that acts on the first layer; returns its path.</summary>
    public string Add(string parent, string name, int rank = 2)
    {
        string path = parent.Length == 0 ? name : $"{parent}/{name}";
        string folder = Path.Combine([Folder, .. path.Split('/')]);
        Directory.CreateDirectory(folder);
        List<Tensor> tensors = [];
        foreach ((string part, int outputs, int inputs) in new[] { (s_parts[0], 192, 192), (s_parts[1], 96, 192), (s_parts[2], 192, 512) })
        {
            string module = "base_model.model.model.layers.0." + part;
            tensors.Add(Gaussian($"{module}.lora_A.weight", rank, inputs));
            tensors.Add(Gaussian($"{module}.lora_B.weight", outputs, rank));
        }
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"),
            $$"""{"peft_type": "LORA", "r": {{rank}}, "lora_alpha": {{rank}}, "target_modules": ["q_proj", "v_proj", "down_proj"], "layers_to_transform": [0]}""");
        return path;
    }

    /// <summary>Makes an adapter's weights so large that logits overflow.</summary>
    public static void Overflow(string folder)
    {
        string file = Path.Combine(folder, "adapter_model.safetensors");
        using (TensorFile tensors = Safetensors.Open(file))
            Safetensors.Write(file + ".new", tensors.Tensors.Values.Select(t => Tensor.FromFloats(t.Name, t.Shape, [.. t.ToFloats().Select(v => v * 1e30f)])).ToArray());
        File.Move(file + ".new", file, overwrite: true);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    private Tensor Gaussian(string name, int rows, int columns)
    {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)(0.1 * Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble()));
        return Tensor.FromFloats(name, new Shape(rows, columns), values);
    }
}
