using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The ops of mixtures of experts over awkward sizes.</summary>
internal static class ExpertChecks
{
    public static void Route(ConformanceRun run)
    {
        foreach ((int experts, int chosen, int rows) in ExpertCases.Routings())
            foreach (bool renormalise in (bool[])[false, true])
            {
                float[] logits = BackendCases.Random(experts + rows, (long)rows * experts, 6);
                string what = $"{chosen} of {experts} x{rows}{(renormalise ? ", renormalised" : "")}";
                run.Compare(nameof(IComputeBackend.Route), what, experts, b => Weights(b, logits, chosen, rows, renormalise));
                // Equals on both sides of the border: the first columns are taken.
                run.Compare(nameof(IComputeBackend.Route), what + ", many equal", experts, b => Weights(b, Array.ConvertAll(logits, v => MathF.Round(v / 4)), chosen, rows, renormalise));
            }
        float[] nan = Weights(run.Backend, [1, float.NaN, 3, 0], 2, 1, true);
        run.Require(nameof(IComputeBackend.Route), float.IsNaN(nan[1]) && nan[0] == 0 && nan[3] == 0, $"a NaN: expected 0, NaN, any, 0, found {string.Join(", ", nan)}");
        run.Compare(nameof(IComputeBackend.Route), "far apart", 4, b => Weights(b, [1000, -1000, 999, -500], 2, 1, false));
    }

    public static void Rows(ConformanceRun run)
    {
        foreach ((int width, int rows) in ExpertCases.Moves())
        {
            run.Compare(nameof(IComputeBackend.GatherRows), $"{width} of {rows}", width, b => Gathered(b, width, rows));
            foreach (bool all in (bool[])[false, true])
                run.Compare(nameof(IComputeBackend.AddRows), $"{width} x{rows}{(all ? "" : ", every other row")}", width, b => Added(b, width, rows, all));
        }
        IComputeBackend backend = run.Backend;
        DeviceTensor x = BackendCases.Filled(backend, float.PositiveInfinity, 5), y = BackendCases.Filled(backend, 2, 5), weight = BackendCases.Filled(backend, 0, 1);
        backend.AddRows(1, [], weight, 0, x, y);
        run.Same(nameof(IComputeBackend.AddRows), "of infinity by 0", [2, 2, 2, 2, 2], BackendCases.Read(backend, y));
    }

    public static void RouteBackward(ConformanceRun run)
    {
        foreach ((int experts, int chosen, int rows) in ExpertCases.Routings())
            foreach (bool renormalise in (bool[])[false, true])
                run.Compare(nameof(ITrainingBackend.RouteBackward), $"{chosen} of {experts} x{rows}{(renormalise ? ", renormalised" : "")}", b => ExpertCases.Route(b, experts, chosen, rows, renormalise));
    }

    public static void RowsBackward(ConformanceRun run)
    {
        foreach ((int width, int rows) in ExpertCases.Moves())
        {
            run.Compare(nameof(ITrainingBackend.GatherRowsBackward), $"{width} of {rows}", b => ExpertCases.Gather(b, width, rows));
            foreach (bool all in (bool[])[false, true])
                run.Compare(nameof(ITrainingBackend.AddRowsBackward), $"{width} x{rows}{(all ? "" : ", every other row")}", b => ExpertCases.Add(b, width, rows, all, zeros: true));
        }
    }

    private static float[] Weights(IComputeBackend b, float[] logits, int chosen, int rows, bool renormalise)
    {
        DeviceTensor from = b.Allocate("logits", DType.F32, new Shape(rows, logits.Length / rows)), to = b.Allocate("weights", DType.F32, from.Shape);
        b.Write(logits, from, 0);
        b.Route(rows, chosen, renormalise, from, to);
        return BackendCases.Read(b, to);
    }

    private static float[] Gathered(IComputeBackend b, int width, int rows)
    {
        DeviceTensor y = b.Allocate("y", DType.F32, new Shape(rows, width));
        b.GatherRows(ExpertCases.Numbers(rows), BackendCases.Buffer(b, 1, rows, width), y);
        return BackendCases.Read(b, y);
    }

    // Every third weight is 0.
    private static float[] Added(IComputeBackend b, int width, int rows, bool all)
    {
        int[] numbers = all ? [] : ExpertCases.Numbers(rows);
        DeviceTensor weights = b.Allocate("weights", DType.F32, new Shape(rows, 4)), y = BackendCases.Buffer(b, 2, rows, width);
        b.Write([.. BackendCases.Random(3, rows * 4L).Select((v, i) => i % 3 == 2 ? 0 : v)], weights, 0);
        int count = all ? rows : numbers.Length;
        b.AddRows(count, numbers, weights, 2, BackendCases.Buffer(b, 4, count, width), y);
        return BackendCases.Read(b, y);
    }
}
