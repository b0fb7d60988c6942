namespace EdgeLora.Core;

/// <summary>One way in which a checkpoint's weights are quantised, as its config says.</summary>
internal abstract class QuantizationScheme
{
    /// <summary>Its name for people.</summary>
    public abstract string Name { get; }

    /// <summary>The end of the name of the tensor that shows that a module is quantised.</summary>
    public abstract string Marker { get; }

    /// <summary>What the config says: bits, group sizes, formats.</summary>
    public List<(string Name, object Value)> Facts { get; } = [];

    /// <summary>Whether the module of this marker is quantised.</summary>
    public virtual bool Takes(string module, Tensor marker) => true;

    /// <summary>The module's weight, computed when it is taken. Throws <see cref="ModelFileException"/>, or what <see cref="PackedModule"/> throws, when its tensors do not fit.</summary>
    public abstract Tensor Read(string module, PackedModule tensors);
}

/// <summary>The tensors of one quantised module; notes which were used.</summary>
/// <param name="path">The checkpoint, for messages.</param>
/// <param name="module">The module's name.</param>
/// <param name="all">The checkpoint's tensors.</param>
/// <param name="used">Gets the names of those that were asked for.</param>
internal sealed class PackedModule(string path, string module, IReadOnlyDictionary<string, Tensor> all, HashSet<string> used)
{
    /// <summary>The module's tensor of this name, or null.</summary>
    public Tensor? Find(string part)
    {
        string name = $"{module}.{part}";
        if (!all.TryGetValue(name, out Tensor? tensor))
            return null;
        used.Add(name);
        return tensor;
    }

    /// <summary>The module's tensor of this name, of a type and a rank where these are given.</summary>
    public Tensor Take(string part, DType? type, int? rank)
    {
        Tensor tensor = Find(part) ?? throw Fault($"{part} is missing");
        if (type is { } wanted && tensor.Type != wanted)
            throw Fault($"{part}: expected {wanted}, found {tensor.Type}");
        return rank is { } axes && tensor.Shape.Rank != axes ? throw Fault($"{part}: expected {axes} dimensions, found {tensor.Shape}") : tensor;
    }

    /// <summary>Refuses a matrix of another shape.</summary>
    public void Expect(Tensor tensor, long rows, long columns)
    {
        if (tensor.Shape.Rank != 2 || tensor.Shape[0] != rows || tensor.Shape[1] != columns)
            throw new ModelFileException(path, $"{tensor.Name}: expected [{rows}, {columns}], found {tensor.Shape}");
    }

    /// <summary>A fault of this module.</summary>
    public ModelFileException Fault(string fault) => new(path, $"{module}.{fault}");
}
