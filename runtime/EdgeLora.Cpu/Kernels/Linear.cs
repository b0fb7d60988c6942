using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// <c>y = W·x</c> and the paths' steps. Rows of W, never its sums, are divided over the threads. First region, only where there are steps: A·x of every step (before it, where there is dropout,
/// masked inputs); second region: base products, replaced rows, B·u, gains and biases, a block of rows at a time.
/// </summary>
internal static unsafe class Linear<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int BlockRows = 128;

    /// <summary>Fills the plan for a call. Returns the multiply-adds in it.</summary>
    public static long Prepare(LinearPlan plan, BatchLayout batch, LinearSite site, float* x, long xStride, float* y, long yStride)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            Add(plan, site, adapter, group.Count, x + group.Start * xStride, xStride, y + group.Start * yStride, yStride);
            plan.Finishes[plan.FinishCount - 1].Steps = adapter?.Steps.Length ?? 0;
            plan.Finishes[plan.FinishCount - 1].Bias = adapter?.Bias ?? site.Bias;
        }
        return Complete(plan, site);
    }

    /// <summary>Fills the plan for the output of step <paramref name="step"/> before its gain, for the rows of one path. Returns the multiply-adds in it.</summary>
    public static long PrepareBeforeGain(LinearPlan plan, LinearSite site, SiteAdapter adapter, int step, int rows, float* x, long xStride, float* y)
    {
        Add(plan, site, adapter, rows, x, xStride, y, site.Outputs);
        plan.Finishes[0].Steps = step + 1;
        plan.Finishes[0].BeforeGain = true;
        return Complete(plan, site);
    }

    /// <summary>Before the first region, only where there is dropout: masked copies of inputs.</summary>
    public static void Masks(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        for (int i = 0; i < plan.MaskCount; i++)
        {
            (int start, int end) = WorkerPool.Split(plan.Masks[i].Rows, part, parts);
            plan.Masks[i].Write(start, end);
        }
    }

    /// <summary>First region, only where there are steps: A·x.</summary>
    public static void Downs(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = plan.BaseCount; i < plan.ProductCount; i++)
        {
            // A rank is a few outputs: many rows are divided instead.
            Product down = plan.Products[i];
            if (down.Rows < BlockRows)
            {
                (int start, int end) = Range(down.Outputs, part, parts);
                if (start < end)
                    RowProduct<O, V>.Run(down, start, end, scratch);
                continue;
            }
            (int first, int last) = WorkerPool.Split(down.Rows, part, parts);
            down.Rows = last - first;
            down.X += first * down.XStride;
            down.Y += first * down.YStride;
            RowProduct<O, V>.Run(down, 0, down.Outputs, scratch);
        }
    }

    /// <summary>Second region: base products, and what follows them while their rows are in cache.</summary>
    public static void Products(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        (int start, int end) = Range(plan.Outputs, part, parts, PackedWeight.Panel, few: plan.Products[0].Rows <= PackedProduct<O, V>.MostRows);
        if (start == end)
            return;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = 0, row = 0; i < plan.BaseCount; i++)
        {
            Product block = plan.Products[i];
            int rows = block.Rows;
            for (int t = 0; t < rows; t += BlockRows, row += block.Rows)
            {
                block.Rows = Math.Min(BlockRows, rows - t);
                if (block.Packed is not null && block.Rows > PackedProduct<O, V>.MostRows)
                    PackedPanels<O, V>.Run(block, start, end, scratch);
                else if (block.Packed is not null)
                    PackedProduct<O, V>.Run(block, start, end, scratch);
                else if (block.InputMajor)
                    ColumnProduct<O, V>.Run(block, start, end, scratch);
                else
                    RowProduct<O, V>.Run(block, start, end, scratch);
                block.X += block.Rows * block.XStride;
                block.Y += block.Rows * block.YStride;
                for (int f = 0; f < plan.FinishCount; f++)
                    End(plan.Finishes[f].Some(row, row + block.Rows), block.Inputs, start, end, scratch);
            }
        }
    }

    private static void End(in Finish finish, int inputs, int start, int end, float* scratch)
    {
        if (finish.Rows == 0)
            return;
        if (finish.Adapter?.Rows is { } rows)
            Replace(finish, rows, inputs, start, end, scratch);
        if (finish.Steps > 0 || finish.Bias is not null)
            LowRank<O, V>.Run(finish, start, end, scratch);
    }

    private static void Add(LinearPlan plan, LinearSite site, SiteAdapter? adapter, int rows, float* x, long xStride, float* y, long yStride)
    {
        DeviceTensor weight = adapter?.Weight ?? site.Weight;
        byte* bytes = Pointer.Bytes(weight);
        // Neighbouring paths over the same weight read it together.
        if (plan.ProductCount > 0 && plan.Products[plan.ProductCount - 1].Weight == bytes)
        {
            plan.Products[plan.ProductCount - 1].Rows += rows;
        }
        else
        {
            ref Product product = ref plan.AddProduct();
            product = new Product { Weight = bytes, Type = weight.Type, InputMajor = site.InputMajor, Inputs = site.Inputs, Outputs = site.Outputs };
            product.Packed = (weight as CpuTensor)?.Packed;
            product.X = x;
            product.XStride = xStride;
            product.Rows = rows;
            product.Y = y;
            product.YStride = yStride;
        }
        int first = plan.FinishCount == 0 ? 0 : plan.Finishes[plan.FinishCount - 1].First + plan.Finishes[plan.FinishCount - 1].Rows;
        ref Finish finish = ref plan.AddFinish();
        finish = new Finish { Adapter = adapter, First = first, Rows = rows, PathRows = rows };
        finish.X = x;
        finish.XStride = xStride;
        finish.Y = y;
        finish.YStride = yStride;
    }

    private static long Complete(LinearPlan plan, LinearSite site)
    {
        plan.Outputs = site.Outputs;
        plan.BaseCount = plan.ProductCount;
        long down = 0, masked = 0;
        int maxRank = 0;
        for (int i = 0; i < plan.FinishCount; i++)
            for (int s = 0; s < plan.Finishes[i].Steps; s++)
            {
                LowRankStep step = plan.Finishes[i].Adapter!.Steps[s];
                maxRank = Math.Max(maxRank, step.Rank);
                down += (long)plan.Finishes[i].Rows * LowRank<O, V>.PaddedRank(step.Rank);
                masked += step.Dropout is null ? 0 : (long)plan.Finishes[i].Rows * site.Inputs;
            }
        AddDowns(plan, site.Inputs, down, masked);
        long each = Math.Max(Math.Max(RowProduct<O, V>.ScratchFloats, PackedProduct<O, V>.ScratchFloats(site.Inputs)), Math.Max(PackedPanels<O, V>.ScratchFloats, ColumnProduct<O, V>.ScratchFloats(site.Outputs))) + LowRank<O, V>.ScratchFloats(maxRank);
        foreach (Scratch scratch in plan.Scratch)
            scratch.Reserve(each);
        long work = 0;
        for (int i = 0; i < plan.ProductCount; i++)
            work += (long)plan.Products[i].Rows * plan.Products[i].Inputs * plan.Products[i].Outputs;
        return work;
    }

    // Whole tiles for wide layers and many rows; else panels, or four outputs where there are few, so that all threads get some.
    private static (int Start, int End) Range(int outputs, int part, int parts, int panel = 4, bool few = false)
    {
        int unit = outputs >= 96 * parts && !few ? 48 : panel;
        (int start, int end) = WorkerPool.Split((outputs + unit - 1) / unit, part, parts);
        return (start * unit, Math.Min(outputs, end * unit));
    }

    private static void AddDowns(LinearPlan plan, int inputs, long floats, long maskedFloats)
    {
        if (floats == 0)
            return;
        float* down = plan.Down.Reserve(floats), masked = plan.Masked.Reserve(maskedFloats);
        // Ranks that are no multiple of four leave lanes that no product writes.
        new Span<float>(down, checked((int)floats)).Clear();
        for (int i = 0; i < plan.FinishCount; i++)
        {
            ref Finish finish = ref plan.Finishes[i];
            finish.Down = down;
            for (int s = 0; s < finish.Steps; s++)
            {
                LowRankStep step = finish.Adapter!.Steps[s];
                ref Product product = ref plan.AddProduct();
                product = new Product { Weight = Pointer.Bytes(step.A), Type = step.A.Type, Inputs = inputs, Outputs = step.Rank, Rows = finish.Rows };
                product.X = finish.X;
                product.XStride = finish.XStride;
                if (step.Dropout is not null)
                {
                    plan.AddMask() = new MaskedRows { Dropout = step.Dropout, X = finish.X, XStride = finish.XStride, Rows = finish.Rows, Columns = inputs, To = masked };
                    product.X = masked;
                    product.XStride = inputs;
                    masked += (long)finish.Rows * inputs;
                }
                product.Y = down;
                product.YStride = LowRank<O, V>.PaddedRank(step.Rank);
                down += finish.Rows * product.YStride;
            }
        }
    }

    private static void Replace(in Finish finish, ReplacedRows rows, int inputs, int start, int end, float* scratch)
    {
        HostTensor values = (HostTensor)rows.Values;
        byte* weight = Pointer.Bytes(values);
        Product product = new() { Type = values.Type, Inputs = inputs, Outputs = 1, Rows = 1 };
        for (int i = 0; i < rows.Ids.Length; i++)
        {
            int o = rows.Ids[i];
            if (o < start || o >= end)
                continue;
            product.Weight = weight + values.Type.Bytes((long)i * inputs);
            for (int t = 0; t < finish.Rows; t++)
            {
                product.X = finish.X + t * finish.XStride;
                product.Y = finish.Y + t * finish.YStride + o;
                RowProduct<O, V>.Run(product, 0, 1, scratch);
            }
        }
    }
}
