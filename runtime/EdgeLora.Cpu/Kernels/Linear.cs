using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>The products and finishing steps of one Linear call, as the pool's threads see them. Refilled for every call, allocates only while it grows.</summary>
internal sealed unsafe class LinearPlan(Scratch[] scratch) : IDisposable
{
    /// <summary>Products of the first region.</summary>
    public Product[] Products = new Product[8];

    /// <summary>One for every path of the batch.</summary>
    public Finish[] Finishes = new Finish[4];

    /// <summary>Products in use.</summary>
    public int ProductCount;

    /// <summary>Finishes in use.</summary>
    public int FinishCount;

    /// <summary>O of the site.</summary>
    public int Outputs;

    /// <summary>Scratch of every part.</summary>
    public readonly Scratch[] Scratch = scratch;

    /// <summary>u = A·x of all steps.</summary>
    public readonly Scratch Down = new();

    /// <summary>x padded to whole vectors.</summary>
    public readonly Scratch Padded = new();

    /// <summary>Appends a product.</summary>
    public ref Product AddProduct()
    {
        if (ProductCount == Products.Length)
            Array.Resize(ref Products, ProductCount * 2);
        return ref Products[ProductCount++];
    }

    /// <summary>Appends a finish.</summary>
    public ref Finish AddFinish()
    {
        if (FinishCount == Finishes.Length)
            Array.Resize(ref Finishes, FinishCount * 2);
        return ref Finishes[FinishCount++];
    }

    /// <summary>Forgets the call, so that adapters may be collected.</summary>
    public void Clear()
    {
        Array.Clear(Finishes, 0, FinishCount);
        ProductCount = FinishCount = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Down.Dispose();
        Padded.Dispose();
    }
}

/// <summary>
/// <c>y = W·x</c> and the paths' steps. Rows of W, never its sums, are divided over the threads. First region: base products, A·x of every step, and
/// the finish of paths without steps; second region, only where there are steps: B·u, gains and biases.
/// </summary>
internal static unsafe class Linear<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Fills the plan for a call. Returns the multiply-adds in it.</summary>
    public static long Prepare(LinearPlan plan, BatchLayout batch, LinearSite site, float* x, long xStride, float* y, long yStride)
    {
        int inputs = site.Inputs, outputs = site.Outputs;
        plan.Outputs = outputs;
        DeviceTensor? weight = null;
        long down = 0, maxRank = 0;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor used = adapter?.Weight ?? site.Weight;
            // Neighbouring paths over the same weight read it together.
            if (ReferenceEquals(used, weight))
            {
                plan.Products[plan.ProductCount - 1].Rows += group.Count;
            }
            else
            {
                weight = used;
                ref Product product = ref plan.AddProduct();
                product = new Product { Weight = Pointer.Bytes(used), Type = used.Type, InputMajor = site.InputMajor, Inputs = inputs, Outputs = outputs };
                product.X = x + group.Start * xStride;
                product.XStride = xStride;
                product.Rows = group.Count;
                product.Y = y + group.Start * yStride;
                product.YStride = yStride;
            }
            ref Finish finish = ref plan.AddFinish();
            finish = new Finish { Adapter = adapter, Bias = adapter?.Bias ?? site.Bias, Rows = group.Count };
            finish.X = x + group.Start * xStride;
            finish.XStride = xStride;
            finish.Y = y + group.Start * yStride;
            finish.YStride = yStride;
            for (int s = 0; s < finish.Steps; s++)
            {
                int rank = adapter!.Steps[s].Rank;
                maxRank = Math.Max(maxRank, rank);
                down += (long)group.Count * LowRank<O, V>.PaddedRank(rank);
            }
        }
        AddDowns(plan, inputs, down);
        long each = Math.Max(RowProduct<O, V>.ScratchFloats, ColumnProduct<O, V>.ScratchFloats(outputs)) + LowRank<O, V>.ScratchFloats((int)maxRank);
        foreach (Scratch scratch in plan.Scratch)
            scratch.Reserve(each);
        PadRows(plan);
        long work = 0;
        for (int i = 0; i < plan.ProductCount; i++)
            work += (long)plan.Products[i].Rows * plan.Products[i].Inputs * plan.Products[i].Outputs;
        return work;
    }

    /// <summary>First region.</summary>
    public static void Products(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        float* scratch = plan.Scratch[part].Reserve(0);
        for (int i = 0; i < plan.ProductCount; i++)
        {
            ref Product product = ref plan.Products[i];
            (int start, int end) = Range(product.Outputs, part, parts);
            if (start == end)
                continue;
            if (product.InputMajor)
                ColumnProduct<O, V>.Run(product, start, end, scratch);
            else
                RowProduct<O, V>.Run(product, start, end, scratch);
        }
        (int first, int last) = Range(plan.Outputs, part, parts);
        for (int i = 0; i < plan.FinishCount; i++)
        {
            ref Finish finish = ref plan.Finishes[i];
            if (finish.Adapter?.Rows is { } rows)
                Replace(finish, rows, plan.Products[0].Inputs, first, last, scratch);
            if (finish.Steps == 0 && finish.Bias is not null)
                LowRank<O, V>.Run(finish, first, last, scratch);
        }
    }

    /// <summary>Second region.</summary>
    public static void Steps(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        (int start, int end) = Range(plan.Outputs, part, parts);
        for (int i = 0; i < plan.FinishCount; i++)
            if (plan.Finishes[i].Steps > 0)
                LowRank<O, V>.Run(plan.Finishes[i], start, end, plan.Scratch[part].Reserve(0));
    }

    // Whole tiles for wide layers; four outputs for narrow ones, so that all threads get some.
    private static (int Start, int End) Range(int outputs, int part, int parts)
    {
        int unit = outputs >= 96 * parts ? 48 : 4;
        (int start, int end) = WorkerPool.Split((outputs + unit - 1) / unit, part, parts);
        return (start * unit, Math.Min(outputs, end * unit));
    }

    private static void AddDowns(LinearPlan plan, int inputs, long floats)
    {
        if (floats == 0)
            return;
        float* down = plan.Down.Reserve(floats);
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
                product.Y = down;
                product.YStride = LowRank<O, V>.PaddedRank(step.Rank);
                down += finish.Rows * product.YStride;
            }
        }
    }

    // All products of a call read rows of one x: a padded copy is made once, only for widths that are no whole vectors.
    private static void PadRows(LinearPlan plan)
    {
        bool needed = false;
        int rows = 0;
        for (int i = 0; i < plan.ProductCount; i++)
            needed |= !plan.Products[i].InputMajor && RowProduct<O, V>.NeedsPadding(plan.Products[i]);
        if (!needed)
            return;
        ref Product first = ref plan.Products[0];
        float* x = first.X;
        long stride = first.XStride;
        int inputs = first.Inputs, padded = RowProduct<O, V>.PaddedInputs(inputs);
        for (int i = 0; i < plan.FinishCount; i++)
            rows += plan.Finishes[i].Rows;
        float* copy = plan.Padded.Reserve((long)rows * padded);
        for (int t = 0; t < rows; t++)
        {
            float* to = copy + (long)t * padded;
            Buffer.MemoryCopy(x + t * stride, to, padded * sizeof(float), inputs * sizeof(float));
            new Span<float>(to + inputs, padded - inputs).Clear();
        }
        for (int i = 0; i < plan.ProductCount; i++)
        {
            ref Product product = ref plan.Products[i];
            product.X = copy + (product.X - x) / stride * padded;
            product.XStride = padded;
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
