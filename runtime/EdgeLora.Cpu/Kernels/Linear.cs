using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// <c>y = W·x</c> and the paths' steps, of one site or of several with the same input. Rows of W, never its sums, are divided over the threads. First region, only where there are steps: A·x of
/// every step (before it, where there is dropout, masked inputs); second region: base products, replaced rows, B·u, gains and biases, a block of rows at a time.
/// </summary>
internal static unsafe class Linear<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int BlockRows = 128;

    /// <summary>Adds a site to the plan of a call.</summary>
    public static void Add(LinearPlan plan, BatchLayout batch, LinearSite site, float* x, long xStride, float* y, long yStride)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            Add(plan, site, adapter, group.Count, x + group.Start * xStride, xStride, y + group.Start * yStride, yStride);
            plan.Finishes[plan.FinishCount - 1].Steps = adapter?.Steps.Length ?? 0;
            plan.Finishes[plan.FinishCount - 1].Bias = adapter?.Bias ?? site.Bias;
        }
        plan.SiteCount++;
    }

    /// <summary>Fills the plan for the output of step <paramref name="step"/> before its gain, for the rows of one path. Returns the multiply-adds in it.</summary>
    public static long PrepareBeforeGain(LinearPlan plan, LinearSite site, SiteAdapter adapter, int step, int rows, float* x, long xStride, float* y)
    {
        Add(plan, site, adapter, rows, x, xStride, y, site.Outputs);
        plan.Finishes[0].Steps = step + 1;
        plan.Finishes[0].BeforeGain = true;
        return Complete(plan);
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
        float* scratch = plan.Scratch[part].Reserve(0);
        int units = 0, before = 0;
        for (int i = 0; i < plan.BaseCount; i++)
            units += Units(plan.Products[i], parts);
        // Products of equally many rows are divided as one; paths with weights of their own each by itself.
        bool together = plan.BaseCount == plan.SiteCount;
        for (int i = 0; i < plan.BaseCount; i++)
        {
            Product product = plan.Products[i];
            int unit = Unit(product, parts), count = Units(product, parts);
            (int first, int last) = together ? WorkerPool.Split(units, part, parts) : WorkerPool.Split(count, part, parts);
            if (together)
                (first, last) = (Math.Clamp(first - before, 0, count), Math.Clamp(last - before, 0, count));
            before += count;
            if (first < last)
                Blocks(plan, product, first * unit, Math.Min(product.Outputs, last * unit), scratch);
        }
    }

    private static void Blocks(LinearPlan plan, Product block, int start, int end, float* scratch)
    {
        int rows = block.Rows;
        for (int t = 0; t < rows; t += BlockRows)
        {
            block.Rows = Math.Min(BlockRows, rows - t);
            if (block.Rounded != null)
                IntegerProduct<O, V>.Run(block, start, end, scratch);
            else if (block.Packed is not null && rows > PackedProduct<O, V>.MostRows)
                PackedPanels<O, V>.Run(block, start, end, scratch);
            else if (block.Packed is not null)
                PackedProduct<O, V>.Run(block, start, end, scratch);
            else if (block.InputMajor)
                ColumnProduct<O, V>.Run(block, start, end, scratch);
            else
                RowProduct<O, V>.Run(block, start, end, scratch);
            int row = block.First + t;
            for (int f = 0; f < plan.FinishCount; f++)
                if (plan.Finishes[f].Site == block.Site)
                    End(plan.Finishes[f].Some(row, row + block.Rows), block.Inputs, start, end, scratch);
            block.X += block.Rows * block.XStride;
            block.Rounded += block.Rows * block.RoundedStride;
            block.Y += block.Rows * block.YStride;
        }
    }

    // Outputs that stay together: whole tiles for wide layers and many rows, else panels, of the weight's and of a step's B.
    private static int Unit(in Product p, int parts) => p.Rounded != null ? p.Outputs >= 64 * parts && p.Rows > 1 ? 32 : PackedWeight.Panel
        : p.Outputs >= 96 * parts && (p.Packed is null || p.Rows > PackedProduct<O, V>.MostRows) ? 48 : PackedWeight.Panel;

    private static int Units(in Product p, int parts) => (p.Outputs + Unit(p, parts) - 1) / Unit(p, parts);

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
        bool more = plan.FinishCount > 0 && plan.Finishes[plan.FinishCount - 1].Site == plan.SiteCount;
        if (plan.ProductCount == 0)
        {
            plan.X = x;
            plan.XStride = xStride;
            plan.Inputs = site.Inputs;
        }
        plan.RowCount = Math.Max(plan.RowCount, (int)((x - plan.X) / xStride) + rows);
        int first = more ? plan.Finishes[plan.FinishCount - 1].First + plan.Finishes[plan.FinishCount - 1].Rows : 0;
        // Neighbouring paths over the same weight read it together.
        if (more && plan.Products[plan.ProductCount - 1].Weight == bytes)
        {
            plan.Products[plan.ProductCount - 1].Rows += rows;
        }
        else
        {
            ref Product product = ref plan.AddProduct();
            product = new Product { Weight = bytes, Type = weight.Type, InputMajor = site.InputMajor, Inputs = site.Inputs, Outputs = site.Outputs, Site = plan.SiteCount, First = first };
            product.Packed = (weight as CpuTensor)?.Packed;
            product.X = x;
            product.XStride = xStride;
            product.Rows = rows;
            product.Y = y;
            product.YStride = yStride;
        }
        ref Finish finish = ref plan.AddFinish();
        finish = new Finish { Adapter = adapter, Site = plan.SiteCount, First = first, Rows = rows, PathRows = rows };
        finish.X = x;
        finish.XStride = xStride;
        finish.Y = y;
        finish.YStride = yStride;
    }

    /// <summary>Adds what the steps need, when all sites are there. Returns the multiply-adds in the plan.</summary>
    public static long Complete(LinearPlan plan)
    {
        int inputs = plan.Products[0].Inputs, outputs = 0;
        for (int i = 0; i < plan.ProductCount; i++)
            outputs = Math.Max(outputs, plan.Products[i].Outputs);
        plan.BaseCount = plan.ProductCount;
        AddRounded(plan);
        long down = 0, masked = 0;
        int maxRank = 0;
        for (int i = 0; i < plan.FinishCount; i++)
            for (int s = 0; s < plan.Finishes[i].Steps; s++)
            {
                LowRankStep step = plan.Finishes[i].Adapter!.Steps[s];
                maxRank = Math.Max(maxRank, step.Rank);
                down += (long)plan.Finishes[i].Rows * LowRank<O, V>.PaddedRank(step.Rank);
                masked += step.Dropout is null ? 0 : (long)plan.Finishes[i].Rows * inputs;
            }
        AddDowns(plan, inputs, down, masked);
        long each = Math.Max(Math.Max(Math.Max(RowProduct<O, V>.ScratchFloats, IntegerProduct<O, V>.ScratchFloats), PackedProduct<O, V>.ScratchFloats(inputs)), Math.Max(PackedPanels<O, V>.ScratchFloats(inputs), ColumnProduct<O, V>.ScratchFloats(outputs))) + LowRank<O, V>.ScratchFloats(maxRank);
        foreach (Scratch scratch in plan.Scratch)
            scratch.Reserve(each);
        long work = 0;
        for (int i = 0; i < plan.ProductCount; i++)
            work += (long)plan.Products[i].Rows * plan.Products[i].Inputs * plan.Products[i].Outputs;
        return work;
    }

    // What base products read of the input as whole numbers.
    private static void AddRounded(LinearPlan plan)
    {
        for (int i = 0; i < plan.BaseCount; i++)
        {
            int words = plan.Products[i].Packed?.RoundedWords ?? 0;
            plan.RoundedTo8 |= words == 8;
            plan.RoundedTo16 |= words == 16;
        }
        plan.ReserveRounded();
        for (int i = 0; i < plan.BaseCount; i++)
        {
            ref Product product = ref plan.Products[i];
            if (product.Packed is not { RoundedWords: > 0 and int words })
                continue;
            product.Rounded = plan.Row((int)((product.X - plan.X) / plan.XStride), words);
            product.RoundedStride = plan.RowWords(words);
        }
    }

    // Of the outputs of A.
    private static (int Start, int End) Range(int outputs, int part, int parts)
    {
        (int start, int end) = WorkerPool.Split((outputs + 3) / 4, part, parts);
        return (start * 4, Math.Min(outputs, end * 4));
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
