using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// Backward of <see cref="Linear{O, V}"/>. Three regions: gains, masks and transposed B; then dx by rows, the last step first and W last; then every parameter by its own columns or rows,
/// each thread passing over the groups in order.
/// </summary>
internal static unsafe class LinearBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int BlockRows = 128;
    private const int MaskRows = 32;

    /// <summary>Fills the plan for a call. Returns the multiply-adds in it; 0: nothing is wanted.</summary>
    public static long Prepare(BackwardPlan plan, BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients)
    {
        (plan.Batch, plan.Linear, plan.Inputs, plan.Outputs) = (batch, site, site.Inputs, site.Outputs);
        (plan.XStride, plan.DyStride, plan.DxStride) = (x.Columns, dy.Columns, dx?.Columns ?? 0);
        long work = 0;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor weight = adapter?.Weight ?? site.Weight;
            float* weightGradient = StepsBackward<O, V>.Gradient(gradients, weight), bias = StepsBackward<O, V>.Gradient(gradients, adapter?.Bias ?? site.Bias);
            float* rowsGradient = StepsBackward<O, V>.Gradient(gradients, adapter?.Rows?.Values);
            if (dx is null && weightGradient is null && bias is null && rowsGradient is null && !gradients.AnyOf(adapter))
                continue;
            ref GroupBackward g = ref plan.AddGroup();
            g = new GroupBackward { Adapter = adapter, Start = group.Start, Rows = group.Count, Weight = weight, WeightGradient = weightGradient, BiasGradient = bias };
            g.RowsGradient = rowsGradient;
            g.X = Pointer.In(x) + group.Start * plan.XStride;
            g.Dy = Pointer.In(dy) + group.Start * plan.DyStride;
            g.Dx = dx is null ? null : Pointer.Out(dx) + group.Start * plan.DxStride;
            StepsBackward<O, V>.Add(plan, plan.GroupCount - 1, gradients, dx is not null);
            for (int i = g.FirstStep; i < plan.StepCount; i++)
            {
                ref StepBackward step = ref plan.Steps[i];
                bool masked = step.Step.Dropout is not null && (step.A is not null || step.B is not null);
                step.X = masked ? plan.Arena.Take((long)g.Rows * plan.Inputs) : g.X;
                step.XStride = masked ? plan.Inputs : plan.XStride;
            }
            if (adapter?.Rows is { } rows && (g.Dx is not null || weightGradient is not null || rowsGradient is not null))
            {
                g.Replaced = plan.Arena.Take((long)g.Rows * rows.Ids.Length);
                g.Whole = g.Inner;
                g.WholeStride = g.InnerStride;
                g.Inner = plan.Arena.Take((long)g.Rows * plan.Outputs);
                g.InnerStride = plan.Outputs;
            }
            work += (long)g.Rows * plan.Inputs * plan.Outputs;
        }
        long each = Math.Max(StepsBackward<O, V>.ScratchFloats(plan.MaxRank), RowProduct<O, V>.ScratchFloats) + Math.Max(plan.Outputs, (long)MaskRows * plan.Inputs) + plan.MaxRank;
        foreach (Scratch scratch in plan.Scratch)
            scratch.Reserve(each);
        return work;
    }

    /// <summary>First region.</summary>
    public static void Before(object context, int part, int parts)
    {
        BackwardPlan plan = (BackwardPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = 0; i < plan.GroupCount; i++)
        {
            ref GroupBackward g = ref plan.Groups[i];
            (int start, int end) = WorkerPool.Split(g.Rows, part, parts);
            StepsBackward<O, V>.Before(plan, g, start, end, part, parts, scratch);
            for (int s = g.FirstStep; s < g.FirstStep + g.Steps; s++)
                if (plan.Steps[s].X != g.X)
                    Mask(plan, g, plan.Steps[s]).Write(start, end);
            if (g.Replaced is not null)
                TakeReplaced(plan, g, start, end);
        }
    }

    /// <summary>Second region, by rows: A·x, Bᵀ·dy and dx. A block of rows stays in cache from the steps to the last inputs of W.</summary>
    public static void Rows(object context, int part, int parts)
    {
        BackwardPlan plan = (BackwardPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        (int start, int end) = WorkerPool.Split(plan.Batch!.Rows, part, parts);
        for (; start < end; start += BlockRows)
        {
            int until = Math.Min(end, start + BlockRows);
            for (int i = 0; i < plan.GroupCount; i++)
            {
                ref GroupBackward g = ref plan.Groups[i];
                int first = Math.Max(start - g.Start, 0), last = Math.Min(until - g.Start, g.Rows);
                for (int s = g.FirstStep; first < last && s < g.FirstStep + g.Steps; s++)
                {
                    ref StepBackward step = ref plan.Steps[s];
                    StepsBackward<O, V>.Downs(plan, step, first, last, scratch);
                    if (step.Up is not null)
                        Ups(plan, step, first, last, scratch);
                    if (g.Dx is not null)
                        StepInputs(plan, g, step, first, last, scratch);
                }
            }
            if (plan.DxStride > 0)
                BaseInputs(plan, start, until, scratch);
        }
    }

    /// <summary>Third region, by columns: the parameters.</summary>
    public static void Parameters(object context, int part, int parts)
    {
        BackwardPlan plan = (BackwardPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = 0; i < plan.GroupCount; i++)
            Parameters(plan, plan.Groups[i], part, parts, scratch);
    }

    private static void Parameters(BackwardPlan plan, in GroupBackward g, int part, int parts, float* scratch)
    {
        (int start, int end) = ColumnSum<O, V>.Range(plan.Outputs, part, parts);
        if (g.BiasGradient is not null)
            ColumnSum<O, V>.Scaled(g.Dy, plan.DyStride, g.Rows, 1, g.BiasGradient, start, end);
        for (int s = g.FirstStep; s < g.FirstStep + g.Steps; s++)
        {
            ref StepBackward step = ref plan.Steps[s];
            StepsBackward<O, V>.Parameters(plan, step, g.Rows, part, parts, scratch);
            if (step.A is null)
                continue;
            (int first, int last) = Units(plan.Inputs, 96, part, parts);
            OuterArguments a = new() { A = step.Down, ARow = 1, ADepth = step.Rank, B = (byte*)step.X, BType = DType.F32, BStride = step.XStride, Depth = g.Rows, Chain = true };
            a.C = step.A;
            a.CStride = plan.Inputs;
            OuterProduct<O, V>.Run(a, 0, step.Step.Rank, first, last, scratch);
        }
        if (g.RowsGradient is not null)
        {
            int count = g.Adapter!.Rows!.Ids.Length;
            OuterArguments values = new() { A = g.Replaced, ARow = 1, ADepth = count, B = (byte*)g.X, BType = DType.F32, BStride = plan.XStride, Depth = g.Rows, Chain = true };
            values.C = g.RowsGradient;
            values.CStride = plan.Inputs;
            (int first, int last) = Units(plan.Inputs, 96, part, parts);
            OuterProduct<O, V>.Run(values, 0, count, first, last, scratch);
        }
        if (g.WeightGradient is null)
            return;
        bool inputMajor = plan.Linear!.InputMajor;
        OuterArguments w = new() { ARow = 1, BType = DType.F32, Depth = g.Rows, Chain = true, C = g.WeightGradient };
        w.A = inputMajor ? g.X : g.Inner;
        w.ADepth = inputMajor ? plan.XStride : g.InnerStride;
        w.B = inputMajor ? (byte*)g.Inner : (byte*)g.X;
        w.BStride = inputMajor ? g.InnerStride : plan.XStride;
        (int rows, int columns) = inputMajor ? (plan.Inputs, plan.Outputs) : (plan.Outputs, plan.Inputs);
        w.CStride = columns;
        (start, end) = Units(rows, OuterTile<O, V>.Rows, part, parts);
        OuterProduct<O, V>.Run(w, start, end, 0, columns, scratch);
    }

    // dx += mask ∘ (A·s·Bᵀ·dy).
    private static void StepInputs(BackwardPlan plan, in GroupBackward g, in StepBackward step, int first, int last, float* scratch)
    {
        LowRankStep low = step.Step;
        OuterArguments outer = new() { A = step.Down, ARow = step.Rank, ADepth = 1, B = Pointer.Bytes(low.A), BType = low.A.Type, BStride = plan.Inputs, Depth = low.Rank };
        outer.C = g.Dx;
        outer.CStride = plan.DxStride;
        if (low.Dropout is null)
        {
            OuterProduct<O, V>.Run(outer, first, last, 0, plan.Inputs, scratch);
            return;
        }
        float* rows = scratch + OuterProduct<O, V>.ScratchFloats;
        outer.C = rows;
        outer.CStride = plan.Inputs;
        for (int t = first; t < last; t += MaskRows)
        {
            int count = Math.Min(MaskRows, last - t);
            new Span<float>(rows, count * plan.Inputs).Clear();
            outer.A = step.Down + (long)t * step.Rank;
            OuterProduct<O, V>.Run(outer, 0, count, 0, plan.Inputs, scratch);
            for (int r = 0; r < count; r++)
            {
                Span<float> row = new(rows + r * plan.Inputs, plan.Inputs);
                low.Dropout.Apply(t + r, row, row);
                float* dx = g.Dx + (t + r) * plan.DxStride;
                Add<O, V>.Of(dx, rows + r * plan.Inputs, dx, plan.Inputs);
            }
        }
    }

    // dx += Wᵀ·dy for the part's rows; neighbouring paths over the same weight read it together.
    private static void BaseInputs(BackwardPlan plan, int start, int end, float* scratch)
    {
        for (int i = 0; i < plan.GroupCount;)
        {
            ref GroupBackward g = ref plan.Groups[i];
            int rows = g.Rows;
            for (i++; i < plan.GroupCount && Continues(plan, g, rows, plan.Groups[i]); i++)
                rows += plan.Groups[i].Rows;
            int first = Math.Max(start - g.Start, 0), last = Math.Min(end - g.Start, rows);
            if (first >= last)
                continue;
            if (plan.Linear!.InputMajor)
            {
                Product product = new() { Weight = Pointer.Bytes(g.Weight), Type = g.Weight.Type, Inputs = plan.Outputs, Outputs = plan.Inputs, Rows = last - first, Add = true };
                product.X = g.Inner + first * g.InnerStride;
                product.XStride = g.InnerStride;
                product.Y = g.Dx + first * plan.DxStride;
                product.YStride = plan.DxStride;
                RowProduct<O, V>.Run(product, 0, plan.Inputs, scratch);
            }
            else
            {
                Inputs(plan, g, g.Inner, g.InnerStride, g.Weight, plan.Outputs, first, last, scratch);
            }
            if (g.Replaced is not null)
            {
                ReplacedRows replaced = g.Adapter!.Rows!;
                Inputs(plan, g, g.Replaced, replaced.Ids.Length, replaced.Values, replaced.Ids.Length, first, last, scratch);
            }
        }
    }

    private static void Inputs(BackwardPlan plan, in GroupBackward g, float* dy, long stride, DeviceTensor weight, int outputs, int first, int last, float* scratch)
    {
        OuterArguments outer = new() { A = dy, ARow = stride, ADepth = 1, B = Pointer.Bytes(weight), BType = weight.Type, BStride = plan.Inputs, Depth = outputs };
        outer.C = g.Dx;
        outer.CStride = plan.DxStride;
        OuterProduct<O, V>.Run(outer, first, last, 0, plan.Inputs, scratch);
    }

    private static bool Continues(BackwardPlan plan, in GroupBackward first, int rows, in GroupBackward next) =>
        ReferenceEquals(next.Weight, first.Weight) && first.Replaced is null && next.Replaced is null && next.Start == first.Start + rows
        && first.InnerStride == next.InnerStride && next.Inner == first.Inner + rows * first.InnerStride && first.Dx is not null;

    private static void Ups(BackwardPlan plan, in StepBackward step, int start, int end, float* scratch)
    {
        LowRankStep low = step.Step;
        Product product = new() { Weight = Pointer.Bytes(low.A), Type = low.A.Type, Inputs = plan.Inputs, Outputs = low.Rank, Rows = end - start };
        product.X = step.X + start * step.XStride;
        product.XStride = step.XStride;
        product.Y = step.Up + (long)start * step.Rank;
        product.YStride = step.Rank;
        RowProduct<O, V>.Run(product, 0, low.Rank, scratch);
        for (int t = start; t < end; t++)
            for (int r = 0; r < low.Rank; r++)
                step.Up[(long)t * step.Rank + r] *= low.Scale;
    }

    private static MaskedRows Mask(BackwardPlan plan, in GroupBackward g, in StepBackward step) =>
        new() { Dropout = step.Step.Dropout!, X = g.X, XStride = plan.XStride, Rows = g.Rows, Columns = plan.Inputs, To = step.X };

    private static void TakeReplaced(BackwardPlan plan, in GroupBackward g, int start, int end)
    {
        int[] ids = g.Adapter!.Rows!.Ids;
        for (int t = start; t < end; t++)
        {
            float* inner = g.Inner + t * g.InnerStride;
            new Span<float>(g.Whole + t * g.WholeStride, plan.Outputs).CopyTo(new Span<float>(inner, plan.Outputs));
            for (int i = 0; i < ids.Length; i++)
            {
                g.Replaced[(long)t * ids.Length + i] = inner[ids[i]];
                inner[ids[i]] = 0;
            }
        }
    }

    private static (int Start, int End) Units(int count, int unit, int part, int parts)
    {
        (int start, int end) = WorkerPool.Split((count + unit - 1) / unit, part, parts);
        return (start * unit, Math.Min(count, end * unit));
    }
}
