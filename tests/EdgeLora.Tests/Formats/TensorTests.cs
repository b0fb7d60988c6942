using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class TensorTests
{
    /// <summary>Rows of 4, 32, 64 and 96 bytes: short ones are copied as values.</summary>
    [Theory, InlineData(1), InlineData(8), InlineData(16), InlineData(24)]
    public void A_row_stands_where_it_was_ordered_to(int columns)
    {
        const int rows = 13;
        float[] values = [.. Enumerable.Range(0, rows * columns).Select(i => (float)i)];
        int[] order = [.. Enumerable.Range(0, rows).Select(i => 5 * i % rows)];
        float[] moved = Tensor.FromFloats("t", new Shape(rows, columns), values).Reordered(order).ToFloats();
        for (int i = 0; i < rows; i++)
            Assert.Equal(values[(order[i] * columns)..((order[i] + 1) * columns)], moved[(i * columns)..((i + 1) * columns)]);
    }
}
