namespace EdgeLora.Core;

/// <summary>Low-rank factors in a bare tensor file whose names no format of <see cref="AdapterFormats"/> has: what they seem to be, for messages.</summary>
public static class ForeignFactors
{
    private static readonly string[] s_marks = [".lora_", "_lora", ".lora.", ".lokr_", ".hada_", ".oft_", ".ia3_"];

    private static readonly (Func<string, bool> Is, string Why)[] s_known =
    [
        (n => n.EndsWith(".lora_a", StringComparison.Ordinal) || n.EndsWith(".lora_b", StringComparison.Ordinal), $"factors as mlx-lm names them: their rank and scale stand in an {PeftConfigReader.FileName}, which belongs beside them as adapters.safetensors"),
        (n => n.StartsWith("diffusion_model.", StringComparison.Ordinal) || n.StartsWith("double_blocks.", StringComparison.Ordinal) || n.StartsWith("single_blocks.", StringComparison.Ordinal),
            "factors under the names of a model's authors, which are not read: kohya's names (lora_unet_…) and diffusers' (transformer.…) are"),
        (n => n.StartsWith("lycoris_", StringComparison.Ordinal), "LyCORIS' own prefix is not read: kohya's names (lora_unet_…, lora_te_…) are"),
        (n => n.StartsWith("base_model.", StringComparison.Ordinal) || n.StartsWith("model.", StringComparison.Ordinal) && (n.EndsWith(".lora_A.weight", StringComparison.Ordinal) || n.EndsWith(".lora_B.weight", StringComparison.Ordinal)),
            $"factors as PEFT names them: their alpha stands in an {PeftConfigReader.FileName}, which belongs beside them as {PeftAdapter.WeightsName}"),
        (_ => true, "factors under names that are not read"),
    ];

    /// <summary>The first such name and why it is not read; null where there is none.</summary>
    public static string? Reason(IEnumerable<string> names) =>
        names.FirstOrDefault(n => Array.Exists(s_marks, m => n.Contains(m, StringComparison.Ordinal))) is { } name ? $"{name}: {Array.Find(s_known, k => k.Is(name)).Why}" : null;

    /// <summary>The same for a .safetensors file; null for another, and for one that cannot be read.</summary>
    public static string? ReasonOf(string path)
    {
        if (!path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) || !File.Exists(path))
            return null;
        try
        {
            using TensorFile file = Safetensors.Open(path);
            return Reason(file.Tensors.Keys);
        }
        catch (ModelFileException)
        {
            return null;
        }
    }
}
