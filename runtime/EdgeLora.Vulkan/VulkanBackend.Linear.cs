using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Linear layers, and the products that their backward ops share with them.
public sealed unsafe partial class VulkanBackend
{
    // Up to so many rows a weight is read once a few rows, by linear_gemv; more are tiled, by linear_gemm. Both give the same bits.
    private const int MostRowsOfGemv = 8;

    // Sites whose A·x one dispatch takes.
    private const int SitesOfLowRankA = 4;

    private readonly Kernel?[] _products = new Kernel?[5 * 2 * 2 * 4];

    /// <summary>What becomes of a product.</summary>
    private enum ProductMode : uint
    {
        /// <summary><c>y = scale·W·x</c>.</summary>
        Store,
        /// <summary><c>y += scale·W·x</c>.</summary>
        Add,
        /// <summary>The path's steps and the bias on W·x.</summary>
        Finish,
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => Linears(batch, [site], x, [y]);

    /// <inheritdoc/>
    public void Linears(BatchLayout batch, ReadOnlySpan<LinearSite> sites, DeviceTensor x, ReadOnlySpan<DeviceTensor> y)
    {
        ulong table = Batch(batch);
        _scratch.Hold();
        SiteRows downs = default;
        for (int first = 0; first < sites.Length; first += SitesOfLowRankA)
        {
            ReadOnlySpan<LinearSite> some = sites[first..Math.Min(sites.Length, first + SitesOfLowRankA)];
            LinearDowns(batch, table, some, Of(x), ref downs);
            for (int i = 0; i < some.Length; i++)
                LinearProducts(batch, some[i], Of(x), Of(y[first + i]), new(table, some[i].Index, downs[i], some[i].Bias is null ? null : Of(some[i].Bias!)));
        }
        _scratch.Release();
    }

    private void LinearProducts(BatchLayout batch, LinearSite site, VulkanTensor input, VulkanTensor output, in Ending ending)
    {
        ReadOnlySpan<RowGroup> groups = batch.Groups;
        for (int i = 0; i < groups.Length;)
        {
            SiteAdapter? adapter = groups[i].Path[site.Index];
            DeviceTensor weight = adapter?.Weight ?? site.Weight;
            int start = groups[i].Start, rows = groups[i++].Count;
            if (adapter?.Rows is not null)
            {
                LinearWithRows(site, adapter, new RowGroup(start, rows, groups[i - 1].Path), input, output, ending);
                continue;
            }
            // Neighbouring paths over the same weight read it together.
            for (; i < groups.Length && groups[i].Path[site.Index] is var next && next?.Rows is null && ReferenceEquals(next?.Weight ?? site.Weight, weight); i++)
                rows += groups[i].Count;
            Product(Of(weight), site.InputMajor, site.Inputs, site.Outputs, rows, new(input, start), new(output, start), ProductMode.Finish, 1, ending);
        }
    }

    // The whole weight first; what its replaced outputs gave is then taken from a product of their own.
    private void LinearWithRows(LinearSite site, SiteAdapter adapter, in RowGroup group, VulkanTensor x, VulkanTensor y, in Ending ending)
    {
        RowView input = new(x, group.Start), output = new(y, group.Start), replaced = LinearRows(site, adapter, group.Count, input, output);
        EndRows(ending, group.Start, group.Count, site.Outputs, output, output, replaced);
    }

    /// <summary>Stores W·x in <paramref name="y"/>, and returns the product of the rows that the path replaces, if any: [n, replaced].</summary>
    private RowView LinearRows(LinearSite site, SiteAdapter? adapter, int rows, RowView x, RowView y)
    {
        Product(Of(adapter?.Weight ?? site.Weight), site.InputMajor, site.Inputs, site.Outputs, rows, x, y);
        if (adapter?.Rows is not { } own)
            return default;
        RowView replaced = NewRows(rows, own.Ids.Length);
        Product(Of(own.Values), false, site.Inputs, own.Ids.Length, rows, x, replaced);
        return replaced;
    }

    /// <summary>For each site A·x of all steps of all rows, side by side in path order: [T, largest sum of ranks]; default where no path has steps at the site. One pass over x for all of them.</summary>
    private void LinearDowns(BatchLayout batch, ulong table, ReadOnlySpan<LinearSite> sites, VulkanTensor x, ref SiteRows downs)
    {
        LowRankAPush push = new() { X = x.Address, Batch = table, Inputs = (uint)sites[0].Inputs, XStride = (uint)x.Columns, Rows = (uint)batch.Rows };
        AccessesOfLowRankA accesses = default;
        int count = 0, most = 0;
        for (int i = 0; i < sites.Length; i++)
        {
            int rank = MaxRank(sites[i].Index);
            downs[i] = rank == 0 ? default : NewRows(batch.Rows, rank);
            if (rank == 0)
                continue;
            if (HasDropout(batch, sites[i].Index))
            {
                MaskedDowns(batch, sites[i], x, downs[i]);
                continue;
            }
            (push.U[count], push.UStride[count], push.Site[count]) = (downs[i].Tensor.Address, (uint)downs[i].Stride, (uint)sites[i].Index);
            accesses[count++] = Access.Write(downs[i].Tensor);
            most = Math.Max(most, rank);
        }
        (accesses[count], accesses[count + 1]) = (Access.Read(x), Access.Indirect);
        if (count > 0)
            Dispatch(_kernels["low_rank_a", (sites[0].Inputs | x.Columns) % 4 == 0 ? 1u : 0], push, Workgroups(most, 16), Workgroups(batch.Rows, 4), count, accesses[..(count + 2)]);
    }

    private void MaskedDowns(BatchLayout batch, LinearSite site, VulkanTensor x, RowView u)
    {
        foreach (RowGroup group in batch.Groups)
        {
            int column = 0;
            foreach (LowRankStep step in group.Path[site.Index]?.Steps ?? [])
            {
                RowView input = Masked(step, group.Count, site.Inputs, new(x, group.Start));
                Product(Of(step.A), false, site.Inputs, step.Rank, group.Count, input, u with { First = group.Start, Column = column });
                column += step.Rank;
            }
        }
    }

    private static bool HasDropout(BatchLayout batch, int site)
    {
        foreach (RowGroup group in batch.Groups)
            foreach (LowRankStep step in group.Path[site]?.Steps ?? [])
                if (step.Dropout is not null)
                    return true;
        return false;
    }

    /// <summary>Input of a step's A: x itself, or mask∘x where the step has dropout.</summary>
    private RowView Masked(LowRankStep step, int rows, int columns, RowView x)
    {
        if (step.Dropout is not { } dropout)
            return x;
        RowView masked = NewRows(rows, columns);
        Mask(dropout, rows, columns, x, masked, add: false);
        return masked;
    }

    /// <summary><c>y = mask∘x</c>, or <c>y += mask∘x</c>.</summary>
    private void Mask(Dropout dropout, int rows, int columns, RowView x, RowView y, bool add)
    {
        ulong mask = Upload32([(uint)dropout.Seed, (uint)(dropout.Seed >> 32), dropout.Threshold, BitConverter.SingleToUInt32Bits(dropout.Gain)]);
        MaskPush push = new(x.Tensor.Address, y.Tensor.Address, mask, (uint)rows, (uint)columns, (uint)x.First, (uint)x.Stride, (uint)y.First, (uint)y.Stride, add ? 1u : 0);
        Dispatch(_kernels["dropout"], push, Groups(columns), AtMost(rows), 1, Access.Read(x.Tensor), Access.Write(y.Tensor));
    }

    /// <summary>A product of rows with a weight; see shaders/common/product.glsl for the order of its sum.</summary>
    private void Product(VulkanTensor weight, bool inputMajor, int inputs, int outputs, int rows, RowView x, RowView y, ProductMode mode = ProductMode.Store, float scale = 1, in Ending ending = default)
    {
        bool aligned = (inputs | x.Stride) % 4 == 0 && (!inputMajor || outputs % 4 == 0);
        int variant = rows == 1 ? 0 : rows <= 4 ? 1 : rows <= MostRowsOfGemv ? 2 : 3, rowsEach = variant switch { 0 => 1, 1 => 4, 2 => MostRowsOfGemv, _ => 32 };
        ref Kernel? kernel = ref _products[(((int)weight.Kind * 2 + (inputMajor ? 1 : 0)) * 2 + (aligned ? 1 : 0)) * 4 + variant];
        kernel ??= _kernels[variant == 3 ? "linear_gemm" : "linear_gemv", (uint)weight.Kind, inputMajor ? 1u : 0, aligned ? 1u : 0, (uint)rowsEach];
        RowView u = ending.Downs;
        VulkanTensor? bias = ending.Bias;
        ProductPush push = new(weight.Address, x.Tensor.Address, y.Tensor.Address, ending.Batch, u.Tensor?.Address ?? 0, bias?.Address ?? 0,
            weight.ScalesWord, (uint)inputs, (uint)outputs, (uint)rows, (uint)x.First, (uint)x.Stride, (uint)y.First, (uint)y.Stride, (uint)y.Column,
            (uint)ending.Site, (uint)u.Stride, (uint)(bias?.Kind ?? 0), (uint)mode, scale);
        int across = Workgroups(outputs, variant == 3 ? 32 : 16), down = Workgroups(rows, rowsEach);
        if (mode == ProductMode.Finish)
            Dispatch(kernel, push, across, down, 1, Access.Read(weight), Access.Read(x.Tensor), Access.Write(y.Tensor), Access.Read(u.Tensor ?? weight), Access.Read(bias ?? weight), Access.Indirect);
        else
            Dispatch(kernel, push, across, down, 1, Access.Read(weight), Access.Read(x.Tensor), Access.Write(y.Tensor));
    }

    /// <summary>The end of a layer by itself: steps (the first <paramref name="limit"/>, without the last one's gain, where one is given) and bias on a product.</summary>
    /// <param name="ending">What to end it with. Its A·x begins at the batch's first row, or at <paramref name="downsFirst"/>.</param>
    /// <param name="start">First row in the batch.</param>
    /// <param name="rows">Rows of one path.</param>
    /// <param name="outputs">O.</param>
    /// <param name="product">[n, O].</param>
    /// <param name="y">[n, O], may be the product.</param>
    /// <param name="replaced">Products of replaced rows, [n, replaced]; or default.</param>
    /// <param name="limit">Steps; -1: all, and the bias.</param>
    /// <param name="downsFirst">Row of A·x of the first row; -1: its row in the batch.</param>
    private void EndRows(in Ending ending, int start, int rows, int outputs, RowView product, RowView y, RowView replaced, int limit = -1, int downsFirst = -1)
    {
        RowView u = ending.Downs;
        VulkanTensor? bias = ending.Bias;
        LowRankBPush push = new(product.Tensor.Address, y.Tensor.Address, ending.Batch, u.Tensor?.Address ?? 0, bias?.Address ?? 0, replaced.Tensor?.Address ?? 0,
            (uint)rows, (uint)outputs, (uint)start, (uint)product.First, (uint)product.Stride, (uint)y.First, (uint)y.Stride, (uint)(downsFirst < 0 ? start : downsFirst), (uint)u.Stride,
            (uint)ending.Site, (uint)(bias?.Kind ?? 0), (uint)limit, (uint)replaced.Stride);
        Dispatch(_kernels["low_rank_b"], push, Groups(outputs), AtMost(rows), 1,
            Access.Read(product.Tensor), Access.Write(y.Tensor), Access.Read(u.Tensor ?? product.Tensor), Access.Read(bias ?? product.Tensor), Access.Read(replaced.Tensor ?? product.Tensor), Access.Indirect);
    }

    // Strides of scratch are multiples of four, so that vectors of four can be read.
    private RowView NewRows(int rows, int columns)
    {
        int stride = (columns + 3) / 4 * 4;
        return new(Scratch(checked(rows * stride)), 0, stride);
    }

    private static int Workgroups(int count, int each) => (count + each - 1) / each;

    // Kernels that take a row a workgroup go on with a stride.
    private static int AtMost(int rows) => Math.Min(rows, 65535);

    /// <summary>Rows of a buffer from First on, Stride floats apart, their columns from Column on.</summary>
    private readonly record struct RowView(VulkanTensor Tensor, int First, int Stride, int Column = 0)
    {
        /// <summary>Whole rows of a buffer.</summary>
        public RowView(VulkanTensor tensor, int first) : this(tensor, first, tensor.Columns)
        {
        }
    }

    /// <summary>What ends a layer: the paths of the batch at a site, A·x of their steps, the base's bias.</summary>
    private readonly record struct Ending(ulong Batch, int Site, RowView Downs, VulkanTensor? Bias);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ProductPush(ulong Weight, ulong X, ulong Y, ulong Batch, ulong U, ulong Bias, uint Scales, uint Inputs, uint Outputs, uint Rows,
        uint XFirst, uint XStride, uint YFirst, uint YStride, uint YColumn, uint Site, uint UStride, uint BiasType, uint Mode, float Scale);

    [InlineArray(SitesOfLowRankA)]
    private struct SiteRows
    {
        private RowView _first;
    }

    [InlineArray(SitesOfLowRankA + 2)]
    private struct AccessesOfLowRankA
    {
        private Access _first;
    }

    [InlineArray(SitesOfLowRankA)]
    private struct SiteAddresses
    {
        private ulong _first;
    }

    [InlineArray(SitesOfLowRankA)]
    private struct SiteNumbers
    {
        private uint _first;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LowRankAPush
    {
        public ulong X, Batch;
        public SiteAddresses U;
        public SiteNumbers UStride, Site;
        public uint Inputs, XStride, Rows;
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct LowRankBPush(ulong Product, ulong Y, ulong Batch, ulong U, ulong Bias, ulong Replaced, uint Rows, uint Columns, uint BatchFirst,
        uint ProductFirst, uint ProductStride, uint YFirst, uint YStride, uint UFirst, uint UStride, uint Site, uint BiasType, uint Limit, uint ReplacedStride);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct MaskPush(ulong X, ulong Y, ulong Mask, uint Rows, uint Columns, uint XFirst, uint XStride, uint YFirst, uint YStride, uint Add);
}
