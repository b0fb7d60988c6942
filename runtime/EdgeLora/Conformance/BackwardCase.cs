using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>What an op is differentiated by, and the buffer that takes the derivative.</summary>
/// <param name="Name">What it is: <c>x</c>, <c>path 2, step 0: A</c>.</param>
/// <param name="Value">Its numbers.</param>
/// <param name="Gradient">Its gradient buffer.</param>
/// <param name="Start">What stands in the gradient buffer before: the op must add to it.</param>
/// <param name="Rows">Rows of the batch, for an input; 0 for a parameter.</param>
/// <param name="Size">Size that an element of the derivative has where nothing cancels, at least: the floor of the scale that errors are measured by.</param>
public sealed record Leaf(string Name, DeviceTensor Value, DeviceTensor Gradient, float[] Start, int Rows, double Size);

/// <summary>What an op gives, and the derivative that its backward is given.</summary>
public sealed record Output(DeviceTensor Y, DeviceTensor Dy, float[] Derivative, int Rows);

/// <summary>One op with its backward on one backend: what finite differences and the comparison of two backends both run on. Built in the same order, it has the same numbers on every backend.</summary>
public sealed class BackwardCase(ITrainingBackend backend)
{
    // No op may touch these, and what stands in them must not matter.
    private const int SpareRows = 2;

    private int _seed = 1000;

    /// <summary>Where it runs.</summary>
    public ITrainingBackend Backend { get; } = backend;

    /// <summary>What trains.</summary>
    public Gradients Gradients { get; } = new();

    /// <summary>What is differentiated by.</summary>
    public List<Leaf> Leaves { get; } = [];

    /// <summary>What comes out.</summary>
    public List<Output> Outputs { get; } = [];

    /// <summary>From the leaves' values to the outputs.</summary>
    public Action Forward { get; set; } = () => { };

    /// <summary>From the outputs' derivatives to the leaves' gradients.</summary>
    public Action Backward { get; set; } = () => { };

    /// <summary>An input [rows and spare ones, columns]: random, or made by <paramref name="value"/> of a random number in (-1, 1).</summary>
    public Leaf Input(string name, int rows, int columns, double size, Func<float, float>? value = null)
    {
        DeviceTensor tensor = Backend.Allocate(name, DType.F32, new Shape(rows + SpareRows, columns));
        Backend.Write(Array.ConvertAll(BackendCases.Random(_seed++, tensor.Shape.Elements), v => value?.Invoke(v) ?? v), tensor, 0);
        return Leaf(name, tensor, rows, size);
    }

    /// <summary>A copy of a stored tensor that trains.</summary>
    public DeviceTensor Train(string name, DeviceTensor stored, double size)
    {
        DeviceTensor tensor = Backend.Allocate(name, DType.F32, stored.Shape);
        Backend.Write(stored.ToFloats(), tensor, 0);
        Gradients.Add(tensor, Leaf(name, tensor, 0, size).Gradient);
        return tensor;
    }

    /// <summary>An output with a derivative: random where none is given.</summary>
    public Output Output(int rows, int columns, float[]? derivative = null)
    {
        DeviceTensor y = Backend.Allocate("y", DType.F32, new Shape(rows + SpareRows, columns)), dy = Backend.Allocate("dy", DType.F32, y.Shape);
        derivative ??= BackendCases.Random(_seed++, y.Shape.Elements);
        Backend.Write(derivative, dy, 0);
        Output output = new(y, dy, derivative, rows);
        Outputs.Add(output);
        return output;
    }

    /// <summary>A buffer beside the leaves.</summary>
    public DeviceTensor Scratch(int rows, int columns) => Backend.Allocate("scratch", DType.F32, new Shape(rows + SpareRows, columns));

    private Leaf Leaf(string name, DeviceTensor value, int rows, double size)
    {
        DeviceTensor gradient = Backend.Allocate($"gradient of {name}", DType.F32, value.Shape);
        float[] start = BackendCases.Random(_seed++, value.Shape.Elements, 0.05f);
        Backend.Write(start, gradient, 0);
        Leaf leaf = new(name, value, gradient, start, rows, size);
        Leaves.Add(leaf);
        return leaf;
    }
}
