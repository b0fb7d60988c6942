using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>The start of full and partial fine-tuning: copies of whole tensors of the base, which itself is never written.</summary>
public static class PartialStart
{
    /// <summary>An adapter of the tensors that <paramref name="trains"/> names. Throws <see cref="ModelFileException"/> where there is none, or one is quantised.</summary>
    /// <param name="path">For messages.</param>
    /// <param name="tensors">The base's.</param>
    /// <param name="trains">Whether the tensor of this name trains.</param>
    public static PeftAdapter Create(string path, IReadOnlyDictionary<string, Tensor> tensors, Func<string, bool> trains)
    {
        Dictionary<string, Tensor> copies = tensors.Where(t => trains(t.Key)).ToDictionary(t => t.Key, t => t.Value, StringComparer.Ordinal);
        FaultList faults = new(path);
        if (copies.Count == 0)
            faults.Add("no tensor of the base is named for training");
        foreach (Tensor tensor in copies.Values)
            if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16))
                faults.Add($"{tensor.Name}: {tensor.Type} cannot train; expected F32, F16 or BF16");
        faults.ThrowIfAny();
        return PeftAdapter.From(path, new PeftConfig { PeftType = PeftConfig.Partial }, new TensorFile(path, copies, new Dictionary<string, string>(), []));
    }
}
