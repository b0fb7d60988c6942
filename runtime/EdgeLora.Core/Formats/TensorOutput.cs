namespace EdgeLora.Core;

/// <summary>A tensor as it is to lie in a file: where its numbers come from, and in which type and order they go there.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Type">Stored type: the source's own, or one that <see cref="QuantBlocks.CanWrite"/>.</param>
/// <param name="Source">The numbers; of a stack, its first part.</param>
/// <param name="RowOrder">Row i in the file is the source's row RowOrder[i]; null: the same order.</param>
/// <param name="Turned">Written as [columns, rows] of a matrix [rows, columns].</param>
public sealed record TensorOutput(string Name, DType Type, Tensor Source, int[]? RowOrder = null, bool Turned = false)
{
    /// <summary>All parts of a stack, of one shape, written one behind the other along a new first axis; null: the source alone.</summary>
    public IReadOnlyList<Tensor>? Parts { get; init; }

    /// <summary>Added to every number, before <see cref="Scale"/>.</summary>
    public float Shift { get; init; }

    /// <summary>Factor on every number.</summary>
    public float Scale { get; init; } = 1;

    /// <summary>Whether the numbers in the file are others than the source's.</summary>
    public bool Recomputes => Shift != 0 || Scale != 1;

    /// <summary>The shape in the file.</summary>
    public Shape Shape => Parts is not null ? new([Parts.Count, .. Source.Shape.Dimensions]) : Turned ? new(Source.Shape[1], Source.Shape[0]) : Source.Shape;

    /// <summary>Bytes in the file.</summary>
    public long ByteLength => Type.Bytes(Shape.Elements);

    /// <summary>The tensor as it is.</summary>
    public static TensorOutput Same(Tensor tensor) => new(tensor.Name, tensor.Type, tensor);

    /// <summary>Why it cannot be written, or null.</summary>
    public string? Fault =>
        (Type != Source.Type || Recomputes || Parts?.Any(p => p.Type != Type) == true) && !QuantBlocks.CanWrite(Type) ? $"{Name}: {Type} cannot be written from {Source.Type}"
        : Shape.Columns % Type.BlockSize() != 0 ? $"{Name}: rows of {Shape.Columns} elements are no whole {Type} blocks of {Type.BlockSize()}"
        : Turned && (Source.Shape.Rank != 2 || RowOrder is not null) ? $"{Name}: {Source.Shape} cannot be turned"
        : RowOrder is not null && RowOrder.Length != Source.Shape[0] ? $"{Name}: an order of {RowOrder.Length} rows for {Source.Shape}"
        : Parts?.FirstOrDefault(p => p.Shape != Source.Shape) is { } other ? $"{Name}: {other} is stacked on {Source.Shape}"
        : null;
}
