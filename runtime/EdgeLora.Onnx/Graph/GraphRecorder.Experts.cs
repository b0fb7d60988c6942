using EdgeLora.Core;

namespace EdgeLora.Onnx;

// Mixtures of experts. A graph is the same for every step: each expert runs every row, and counts by a weight that is 0 where it was not chosen.
internal sealed partial class GraphRecorder
{
    /// <inheritdoc/>
    public bool IsImmediate => false;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        string scores = _graph.Node("Softmax", [Value(logits)], Fresh("scores"), "", ("axis", -1L)), best = Fresh("best"), indices = Fresh("chosen");
        _graph.Node("TopK", [scores, Ints([k])], [best, indices], "", ("axis", -1L), ("largest", 1L), ("sorted", 1L));
        if (renormalise)
            best = _graph.Node("Div", [best, _graph.Node("ReduceSum", [best, Ints([-1])], Fresh("sum"), "", ("keepdims", 1L))], Fresh("best"));
        string zero = _graph.Node("Sub", [scores, scores], Fresh("zero"));
        Set(weights, _graph.Node("ScatterElements", [zero, indices, best], Fresh("weights"), "", ("axis", -1L)), OpNames.Route);
    }

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y) => throw new NotSupportedException("a graph is the same for every step: it cannot gather rows that a step chooses");

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        if (!rows.IsEmpty)
            throw new NotSupportedException("a graph is the same for every step: it cannot add to rows that a step chooses");
        string weight = weights.Columns == 1 ? Value(weights) : _graph.Node("Gather", [Value(weights), Ints([column])], Fresh("weight"), "", ("axis", 1L));
        Set(y, Sum(Value(y), Multiply(weight, Value(x))), OpNames.AddRows(x, y));
    }
}
