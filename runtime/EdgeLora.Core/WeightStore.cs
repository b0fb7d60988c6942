namespace EdgeLora.Core;

/// <summary>Hands out a checkpoint's tensors by name and expected shape, collecting every mismatch before it throws.</summary>
/// <param name="path">The model's file or folder, for messages.</param>
/// <param name="tensors">Tensors by checkpoint name.</param>
public sealed class WeightStore(string path, IReadOnlyDictionary<string, Tensor> tensors)
{
    private readonly List<string> _faults = [];

    /// <summary>Whether a fault was noted: the model will not be.</summary>
    public bool IsFaulty => _faults.Count > 0;

    /// <summary>True when the checkpoint has a tensor of this name.</summary>
    public bool Has(string name) => tensors.ContainsKey(name);

    /// <summary>The weight <paramref name="name"/> of exactly <paramref name="shape"/>; null, and a fault noted, when it is missing, of another shape or of a type that is no weight.</summary>
    public Tensor? Take(string name, params ReadOnlySpan<long> shape)
    {
        Shape expected = new(shape);
        if (!tensors.TryGetValue(name, out Tensor? tensor))
            _faults.Add($"{name}: missing; expected {expected}");
        else if (tensor.Shape != expected)
            _faults.Add($"{name}: expected {expected}, found {tensor.Shape}");
        else if (!tensor.Type.IsWeight())
            _faults.Add($"{name}: expected {DTypes.Weights}, found {tensor.Type}");
        else
            return tensor;
        return null;
    }

    /// <summary>Throws one <see cref="ModelFileException"/> with every fault noted so far.</summary>
    public void ThrowIfFaulty()
    {
        if (_faults.Count > 0)
            throw new ModelFileException(path, _faults);
    }
}
