using EdgeLora.Core;

namespace EdgeLora.Tests.Formats;

/// <summary>Small diffusion adapters made for a test, and what they do to a weight.</summary>
internal static class DiffusionFiles
{
    /// <summary>s·B·A of a module, [O, I·k·k] row by row, in F64.</summary>
    public static double[] Delta(PeftAdapter adapter, string module)
    {
        Tensor a = adapter.Modules[module][PeftPart.A]!, b = adapter.Modules[module][PeftPart.B]!;
        float[] down = a.ToFloats(), up = b.ToFloats();
        int rank = (int)a.Shape[0], columns = down.Length / rank, outputs = up.Length / rank;
        double scale = adapter.Config.ScaleOf(module, rank);
        double[] delta = new double[outputs * columns];
        for (int o = 0; o < outputs; o++)
            for (int r = 0; r < rank; r++)
                for (int c = 0; c < columns; c++)
                    delta[o * columns + c] += scale * up[o * rank + r] * down[r * columns + c];
        return delta;
    }

    /// <summary>Writes tensors of F32 numbers that a seed gives.</summary>
    public static void Write(string path, int seed, params ReadOnlySpan<(string Name, long[] Shape)> tensors)
    {
        Random random = new(seed);
        List<Tensor> made = [];
        foreach ((string name, long[] shape) in tensors)
            made.Add(Random(name, random, shape));
        Safetensors.Write(path, made);
    }

    /// <summary>A tensor of F32 numbers in (−1, 1).</summary>
    public static Tensor Random(string name, Random random, params long[] shape) =>
        Tensor.FromFloats(name, new Shape(shape), [.. Enumerable.Range(0, (int)new Shape(shape).Elements).Select(_ => random.NextSingle() * 2 - 1)]);

    /// <summary>Every tensor's name, type, shape and bytes, in ordinal order.</summary>
    public static List<(string, DType, string, string)> Contents(string path)
    {
        using TensorFile file = Safetensors.Open(path);
        return [.. file.Tensors.Values.OrderBy(t => t.Name, StringComparer.Ordinal).Select(t => (t.Name, t.Type, t.Shape.ToString(), System.Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(t.Bytes))))];
    }

    /// <summary>Reads, judges and writes as <c>convert</c> does.</summary>
    public static void Convert(string from, string to, string format, AdapterOptions? options = null)
    {
        using PeftAdapter adapter = AdapterFormats.Read(from, options);
        if (format == "peft")
            Directory.CreateDirectory(to);
        AdapterFormats.Named(format)!.Write(adapter, to, options ?? AdapterOptions.None);
    }
}
