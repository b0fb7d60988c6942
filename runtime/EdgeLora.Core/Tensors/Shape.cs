using System.Globalization;

namespace EdgeLora.Core;

/// <summary>Dimensions of a tensor, slowest first (the Hugging Face order). A scalar has rank 0 and one element.</summary>
public readonly struct Shape : IEquatable<Shape>
{
    private readonly long[]? _dimensions;
    private readonly long _elements;

    /// <summary>Creates a shape from its dimensions. Throws <see cref="ArgumentOutOfRangeException"/> for a negative one and <see cref="OverflowException"/> past 2^63-1 elements.</summary>
    public Shape(params ReadOnlySpan<long> dimensions)
    {
        long count = 1;
        foreach (long d in dimensions)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(d, nameof(dimensions));
            count = checked(count * d);
        }
        _dimensions = dimensions.ToArray();
        _elements = count;
    }

    /// <summary>Number of dimensions.</summary>
    public int Rank => _dimensions?.Length ?? 0;

    /// <summary>Number of elements: the product of the dimensions.</summary>
    public long Elements => _dimensions is null ? 1 : _elements;

    /// <summary>Dimension <paramref name="axis"/>, 0 the slowest.</summary>
    public long this[int axis] => _dimensions![axis];

    /// <summary>The dimensions.</summary>
    public ReadOnlySpan<long> Dimensions => _dimensions;

    /// <summary>Last dimension as an int (1 for a scalar): the row width.</summary>
    public int Columns => Rank == 0 ? 1 : checked((int)_dimensions![^1]);

    /// <summary>Product of all but the last dimension.</summary>
    public long Rows => Rank == 0 ? 1 : Columns == 0 ? 0 : Elements / Columns;

    /// <inheritdoc/>
    public bool Equals(Shape other) => Dimensions.SequenceEqual(other.Dimensions);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Shape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = new();
        foreach (long d in Dimensions)
            hash.Add(d);
        return hash.ToHashCode();
    }

    /// <summary>True when both have the same dimensions.</summary>
    public static bool operator ==(Shape left, Shape right) => left.Equals(right);

    /// <summary>True when the dimensions differ.</summary>
    public static bool operator !=(Shape left, Shape right) => !left.Equals(right);

    /// <summary><c>[2048, 512]</c>.</summary>
    public override string ToString() =>
        "[" + string.Join(", ", Array.ConvertAll(Dimensions.ToArray(), d => d.ToString(CultureInfo.InvariantCulture))) + "]";
}
