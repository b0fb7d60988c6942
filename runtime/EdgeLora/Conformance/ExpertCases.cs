using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The ops of mixtures of experts: choices, and rows gathered and added back.</summary>
public static class ExpertCases
{
    /// <summary>Experts, how many a row takes, rows.</summary>
    public static IEnumerable<(int Experts, int Chosen, int Rows)> Routings() => [(1, 1, 2), (4, 4, 3), (6, 2, 7), (8, 3, 1), (33, 5, 65), (128, 8, 5)];

    /// <summary>Width of a row, rows there are, of which every other one is taken.</summary>
    public static IEnumerable<(int Width, int Rows)> Moves() => [(1, 3), (7, 5), (64, 1), (257, 9), (1024, 33)];

    /// <summary>Every other row, from the second on where there is one.</summary>
    public static int[] Numbers(int rows) => rows == 1 ? [0] : [.. Enumerable.Range(0, rows / 2).Select(i => 2 * i + 1)];

    /// <summary>Logits to weights.</summary>
    public static BackwardCase Route(ITrainingBackend b, int experts, int chosen, int rows, bool renormalise)
    {
        BackwardCase result = new(b);
        Leaf logits = result.Input("logits", rows, experts, 0.02, v => 4 * v);
        Output weights = result.Output(rows, experts);
        result.Forward = () => b.Route(rows, chosen, renormalise, logits.Value, weights.Y);
        result.Backward = () => b.RouteBackward(rows, chosen, renormalise, logits.Value, weights.Dy, logits.Gradient);
        return result;
    }

    /// <summary>Rows gathered.</summary>
    public static BackwardCase Gather(ITrainingBackend b, int width, int rows)
    {
        BackwardCase result = new(b);
        int[] numbers = Numbers(rows);
        Leaf x = result.Input("x", rows, width, 0.1);
        Output y = result.Output(numbers.Length, width);
        result.Forward = () => b.GatherRows(numbers, x.Value, y.Y);
        result.Backward = () => b.GatherRowsBackward(numbers, y.Dy, x.Gradient);
        return result;
    }

    /// <summary>Rows added where they belong, by the third column of weights.</summary>
    /// <param name="b">Where.</param>
    /// <param name="width">Width of a row.</param>
    /// <param name="rows">Rows there are.</param>
    /// <param name="all">Every row, not every other one.</param>
    /// <param name="zeros">Whether some weights are 0: rows that were not chosen, without a derivative.</param>
    public static BackwardCase Add(ITrainingBackend b, int width, int rows, bool all, bool zeros)
    {
        BackwardCase result = new(b);
        int[] numbers = all ? [] : Numbers(rows);
        int count = all ? rows : numbers.Length, at = 0;
        Leaf weights = result.Input("weights", rows, 4, 0.1, v => zeros && at++ % 3 == 2 ? 0 : v + MathF.Sign(v)), x = result.Input("x", count, width, 0.1);
        Output y = result.Output(rows, width);
        DeviceTensor start = BackendCases.Buffer(b, 9, rows, width);
        result.Forward = () =>
        {
            b.Copy(start, 0, y.Y, 0, rows);
            b.AddRows(count, numbers, weights.Value, 2, x.Value, y.Y);
        };
        result.Backward = () => b.AddRowsBackward(count, numbers, weights.Value, 2, x.Value, y.Dy, x.Gradient, weights.Gradient);
        return result;
    }
}
