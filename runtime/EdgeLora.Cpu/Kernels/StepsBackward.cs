using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>What the low-rank steps of a linear and of an embedding site share in their backward passes.</summary>
internal static unsafe class StepsBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int TileColumns = 384;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int rank) => OuterProduct<O, V>.ScratchFloats + (long)rank * TileColumns;

    /// <summary>Adds the steps of a group to the plan, the last one first, with room for what they compute. Inner becomes the gradient of what stands before all steps.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="group">Index of the group; its Dy, Rows and Adapter are set.</param>
    /// <param name="gradients">What trains.</param>
    /// <param name="inputGradient">Whether the gradient of the steps' input is wanted.</param>
    public static void Add(BackwardPlan plan, int group, Gradients gradients, bool inputGradient)
    {
        ref GroupBackward g = ref plan.Groups[group];
        g.FirstStep = plan.StepCount;
        g.Steps = g.Adapter?.Steps.Length ?? 0;
        float* dy = g.Dy;
        long stride = plan.DyStride;
        for (int i = g.Steps - 1; i >= 0; i--)
        {
            LowRankStep low = g.Adapter!.Steps[i];
            ref StepBackward step = ref plan.AddStep();
            step = new StepBackward { Step = low, Index = i };
            step.A = Gradient(gradients, low.A);
            step.B = Gradient(gradients, low.B);
            step.OutputBias = Gradient(gradients, low.OutputBias);
            step.Gain = Gradient(gradients, low.Gain);
            step.Outer = dy;
            step.OuterStride = stride;
            if (low.Gain is not null)
            {
                dy = plan.Arena.Take((long)g.Rows * plan.Outputs);
                stride = plan.Outputs;
            }
            step.Dy = dy;
            step.DyStride = stride;
            if (step.Gain is not null)
                step.BeforeGain = plan.Arena.Take((long)g.Rows * plan.Outputs);
            if (step.B is not null)
                step.Up = plan.Arena.Take((long)g.Rows * step.Rank);
            if (step.A is not null || inputGradient)
            {
                step.Down = plan.Arena.Take((long)g.Rows * step.Rank);
                step.Transposed = plan.Arena.Take((long)low.Rank * plan.Outputs);
            }
            plan.MaxRank = Math.Max(plan.MaxRank, step.Rank);
        }
        g.Inner = dy;
        g.InnerStride = stride;
    }

    /// <summary>The buffer of a gradient, or null.</summary>
    public static float* Gradient(Gradients gradients, DeviceTensor? parameter) => gradients.Of(parameter) is { } gradient ? Pointer.Out(gradient) : null;

    /// <summary>Gains on rows [<paramref name="start"/>, <paramref name="end"/>) of the gradient, and this part's share of s·Bᵀ.</summary>
    public static void Before(BackwardPlan plan, in GroupBackward group, int start, int end, int part, int parts, float* scratch)
    {
        for (int i = 0; i < group.Steps; i++)
        {
            ref StepBackward step = ref plan.Steps[group.FirstStep + i];
            if (step.Step.Gain is { } gain && start < end)
            {
                float* row = scratch;
                Widen<O, V>.Run(gain.Type, Pointer.Bytes(gain), row, plan.Outputs);
                for (int t = start; t < end; t++)
                    Multiply(row, step.Outer + t * step.OuterStride, step.Dy + t * step.DyStride, plan.Outputs);
            }
            if (step.Transposed is not null)
            {
                (int first, int last) = ColumnSum<O, V>.Range(plan.Outputs, part, parts);
                Transpose(step.Step, first, last, plan.Outputs, step.Transposed, scratch);
            }
        }
    }

    /// <summary>s·Bᵀ·dy for rows [<paramref name="start"/>, <paramref name="end"/>).</summary>
    public static void Downs(BackwardPlan plan, in StepBackward step, int start, int end, float* scratch)
    {
        if (step.Down is null)
            return;
        Product product = new() { Weight = (byte*)step.Transposed, Type = DType.F32, Inputs = plan.Outputs, Outputs = step.Step.Rank, Rows = end - start };
        product.X = step.Dy + start * step.DyStride;
        product.XStride = step.DyStride;
        product.Y = step.Down + (long)start * step.Rank;
        product.YStride = step.Rank;
        RowProduct<O, V>.Run(product, 0, step.Step.Rank, scratch);
    }

    /// <summary>This part's outputs of dB, of the output bias and of the gain.</summary>
    public static void Parameters(BackwardPlan plan, in StepBackward step, int rows, int part, int parts, float* scratch)
    {
        (int start, int end) = ColumnSum<O, V>.Range(plan.Outputs, part, parts);
        if (step.Gain is not null)
            ColumnSum<O, V>.Products(step.Outer, step.OuterStride, step.BeforeGain, plan.Outputs, rows, step.Gain, start, end);
        if (step.OutputBias is not null)
            ColumnSum<O, V>.Scaled(step.Dy, step.DyStride, rows, step.Step.Scale, step.OutputBias, start, end);
        if (step.B is null)
            return;
        // Lanes over the outputs: dBᵀ of some columns, taken from and brought back to dB.
        int rank = step.Step.Rank;
        float* tile = scratch + OuterProduct<O, V>.ScratchFloats;
        for (int o = start; o < end; o += TileColumns)
        {
            int columns = Math.Min(TileColumns, end - o);
            float* b = step.B + (long)o * rank;
            for (int i = 0; i < columns; i++)
                for (int r = 0; r < rank; r++)
                    tile[r * TileColumns + i] = b[i * rank + r];
            OuterArguments outer = new() { A = step.Up, ARow = 1, ADepth = step.Rank, B = (byte*)(step.Dy + o), BStride = step.DyStride, Depth = rows, Chain = true };
            outer.C = tile;
            outer.CStride = TileColumns;
            OuterProduct<O, V>.Run(outer, 0, rank, 0, columns, scratch);
            for (int i = 0; i < columns; i++)
                for (int r = 0; r < rank; r++)
                    b[i * rank + r] = tile[r * TileColumns + i];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply(float* a, float* b, float* c, int count)
    {
        int i = 0;
        for (; i + O.Count <= count; i += O.Count)
            O.Store(O.Multiply(O.Load(a + i), O.Load(b + i)), c + i);
        for (; i < count; i++)
            c[i] = a[i] * b[i];
    }

    private static void Transpose(LowRankStep step, int start, int end, int outputs, float* transposed, float* row)
    {
        byte* b = Pointer.Bytes(step.B);
        for (int o = start; o < end; o++)
        {
            Widen<O, V>.Run(step.B.Type, b + step.B.Type.Bytes((long)o * step.Rank), row, step.Rank);
            for (int r = 0; r < step.Rank; r++)
                transposed[(long)r * outputs + o] = step.Scale * row[r];
        }
    }
}
