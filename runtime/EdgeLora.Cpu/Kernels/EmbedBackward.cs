using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Backward of <see cref="Embed{O, V}"/>: as a linear site whose input is the token's one-hot vector. Regions as in <see cref="LinearBackward{O, V}"/>.</summary>
internal static unsafe class EmbedBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Fills the plan for a call. Returns the multiply-adds in it; 0: nothing is wanted.</summary>
    public static long Prepare(BackwardPlan plan, BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients)
    {
        (plan.Batch, plan.Embedding, plan.Inputs, plan.Outputs, plan.DyStride) = (batch, site, (int)site.Table.Shape[0], site.Table.Columns, dy.Columns);
        long work = 0;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor table = adapter?.Weight ?? site.Table;
            float* tableGradient = StepsBackward<O, V>.Gradient(gradients, table), rowsGradient = StepsBackward<O, V>.Gradient(gradients, adapter?.Rows?.Values);
            if (tableGradient is null && rowsGradient is null && !gradients.AnyOf(adapter))
                continue;
            ref GroupBackward g = ref plan.AddGroup();
            g = new GroupBackward { Adapter = adapter, Start = group.Start, Rows = group.Count, Weight = table, WeightGradient = tableGradient };
            g.RowsGradient = rowsGradient;
            g.Dy = Pointer.In(dy) + group.Start * plan.DyStride;
            StepsBackward<O, V>.Add(plan, plan.GroupCount - 1, gradients, false);
            work += (long)g.Rows * plan.Outputs * (1 + g.Steps * 8);
        }
        long each = Math.Max(StepsBackward<O, V>.ScratchFloats(plan.MaxRank), RowProduct<O, V>.ScratchFloats) + plan.Outputs + Embed<O, V>.ScratchFloats(batch, site) + plan.MaxRank;
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
            {
                ref StepBackward step = ref plan.Steps[s];
                for (int t = start; step.BeforeGain is not null && t < end; t++)
                    Embed<O, V>.Row(plan.Embedding!, g.Adapter, step.Index + 1, true, plan.Batch!.Tokens[g.Start + t], plan.Outputs, step.BeforeGain + (long)t * plan.Outputs, scratch);
            }
        }
    }

    /// <summary>Second region: A's columns and Bᵀ·dy.</summary>
    public static void LowRanks(object context, int part, int parts)
    {
        BackwardPlan plan = (BackwardPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = 0; i < plan.GroupCount; i++)
        {
            ref GroupBackward g = ref plan.Groups[i];
            (int start, int end) = WorkerPool.Split(g.Rows, part, parts);
            if (start == end)
                continue;
            for (int s = g.FirstStep; s < g.FirstStep + g.Steps; s++)
            {
                ref StepBackward step = ref plan.Steps[s];
                StepsBackward<O, V>.Downs(plan, step, start, end, scratch);
                for (int t = start; step.Up is not null && t < end; t++)
                {
                    float* up = step.Up + (long)t * step.Rank;
                    Embed<O, V>.Column(step.Step, plan.Batch!.Tokens[g.Start + t], up);
                    for (int r = 0; r < step.Step.Rank; r++)
                        up[r] *= step.Step.Scale;
                }
            }
        }
    }

    /// <summary>Third region: the parameters.</summary>
    public static void Parameters(object context, int part, int parts)
    {
        BackwardPlan plan = (BackwardPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        (int start, int end) = ColumnSum<O, V>.Range(plan.Outputs, part, parts);
        for (int i = 0; i < plan.GroupCount; i++)
        {
            ref GroupBackward g = ref plan.Groups[i];
            for (int s = g.FirstStep; s < g.FirstStep + g.Steps; s++)
            {
                ref StepBackward step = ref plan.Steps[s];
                StepsBackward<O, V>.Parameters(plan, step, g.Rows, part, parts, scratch);
                if (step.A is null)
                    continue;
                (int first, int last) = WorkerPool.Split(step.Step.Rank, part, parts);
                for (int t = 0; t < g.Rows; t++)
                    for (int r = first; r < last; r++)
                        step.A[(long)r * plan.Inputs + plan.Batch!.Tokens[g.Start + t]] += step.Down[(long)t * step.Rank + r];
            }
            for (int t = 0; t < g.Rows; t++)
            {
                int token = plan.Batch!.Tokens[g.Start + t], replaced = g.Adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, token) : -1;
                float* gradient = replaced >= 0 ? g.RowsGradient : g.WeightGradient;
                if (gradient is not null)
                    ColumnSum<O, V>.Scaled(g.Inner + t * g.InnerStride, 0, 1, 1, gradient + (long)(replaced >= 0 ? replaced : token) * plan.Outputs, start, end);
            }
        }
    }
}
