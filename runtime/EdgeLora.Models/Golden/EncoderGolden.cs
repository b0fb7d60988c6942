using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Compares an encoder's folder, or an adapter's on an encoder, that has an expected.safetensors with its reference: class logits, and hidden states where the mask is 1.
/// <c>logits.alone</c>: each row in a batch of its own, without the padding behind it, against the same logits.
/// </summary>
public static class EncoderGolden
{
    /// <summary>Runs the rows of <c>expected.safetensors</c> on the bare base.</summary>
    public static IReadOnlyList<GoldenError> Verify(string folder, IComputeBackend backend)
    {
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        using EncoderModel model = EncoderModel.Load(BaseCheckpoint.OpenFolder(folder), backend);
        EncoderInput[] inputs = EncoderInputFile.Read(expected);
        EncoderRow[] rows = [.. inputs.Select(i => new EncoderRow(i, AdapterPath.Root))];
        List<GoldenError> errors = [];
        void Compare(string name, float[] found)
        {
            if (expected.Tensors.TryGetValue(name, out Tensor? tensor))
                errors.Add(new(name, GoldenError.Relative(found, Attended(tensor, inputs)), ModelGolden.Tolerance));
        }
        float[][] last = model.Encode(rows, (index, hidden) => Compare($"hidden.{index}", hidden.ToArray()));
        Compare("last_hidden", [.. last.SelectMany(r => r)]);
        float[] logits = expected.Tensors["logits"].ToFloats();
        errors.Add(new("logits", GoldenError.Relative([.. model.Classify(rows).SelectMany(r => r)], logits), ModelGolden.Tolerance));
        errors.Add(new("logits.alone", GoldenError.Relative([.. inputs.SelectMany(i => model.Classify(Unpadded(i), AdapterPath.Root))], logits), ModelGolden.Tolerance));
        return errors;
    }

    /// <summary>Whether the base that an adapter's config names is an encoder.</summary>
    public static bool IsAdapter(string folder) =>
        File.Exists(Path.Combine(folder, PeftConfigReader.FileName)) && Path.Combine(PeftAdapter.BaseFolder(folder), "config.json") is var config && File.Exists(config) && EncoderRegistry.Knows(HfConfig.Read(config));

    /// <summary>Runs the rows of an adapter's <c>expected.safetensors</c> on the base that its config names, with it and without.</summary>
    public static IReadOnlyList<GoldenError> VerifyAdapter(string folder, IComputeBackend backend)
    {
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        using EncoderModel model = EncoderModel.Load(BaseCheckpoint.OpenFolder(PeftAdapter.BaseFolder(folder)), backend);
        using ResidentAdapter adapter = ResidentAdapter.Load(folder, Path.GetFileName(folder.TrimEnd('/')), model.Sites, backend);
        EncoderInput[] inputs = EncoderInputFile.Read(expected);
        List<GoldenError> errors = [];
        foreach ((string name, AdapterPath path) in (ReadOnlySpan<(string, AdapterPath)>)[("base_logits", AdapterPath.Root), ("logits", PathResolver.Extend(AdapterPath.Root, "golden", model.Sites, backend, adapter))])
            if (expected.Tensors.TryGetValue(name, out Tensor? tensor))
                errors.Add(new(name, GoldenError.Relative([.. model.Classify([.. inputs.Select(i => new EncoderRow(i, path))]).SelectMany(r => r)], tensor.Floats), ModelGolden.Tolerance));
        return errors;
    }

    // [N, T, D] without the rows that are padding.
    private static float[] Attended(Tensor tensor, EncoderInput[] inputs)
    {
        int width = tensor.Shape.Columns, length = (int)tensor.Shape[1];
        float[] all = tensor.ToFloats();
        List<float> kept = [];
        for (int row = 0; row < inputs.Length; row++)
            for (int t = 0; t < length; t++)
                if (inputs[row].Mask is not { } mask || mask[t] == 1)
                    kept.AddRange(all.AsSpan((row * length + t) * width, width));
        return [.. kept];
    }

    private static EncoderInput Unpadded(EncoderInput input)
    {
        if (input.Mask is null)
            return input;
        int end = Array.LastIndexOf(input.Mask, 1) + 1;
        return EncoderInput.Tokens(input.Ids[..end], input.Mask[..end], input.Types?[..end]);
    }
}
