using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Tables of embeddings, forward and backward. A·x is A's column of the token.
public sealed unsafe partial class VulkanBackend
{
    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        ulong table = Batch(batch);
        TableRows(table, site, 0, batch.Rows, new(Of(y), 0), EmbedDowns(batch, table, site), finish: true);
    }

    /// <inheritdoc/>
    public void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients)
    {
        ulong table = Batch(batch);
        _scratch.Hold();
        RowView downs = default;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            VulkanTensor? dTable = Trained(gradients, adapter?.Weight ?? site.Table), dRows = Trained(gradients, adapter?.Rows?.Values);
            if (dTable is null && dRows is null && !gradients.AnyOf(adapter))
                continue;
            LowRankStep[] steps = adapter?.Steps ?? [];
            if (downs.Tensor is null && DownsWanted(steps, gradients) > 0)
                downs = EmbedDowns(batch, table, site);
            RowView inner = EmbedStepsBackward(table, site, group, steps, new(Of(dy), group.Start), downs, gradients);
            if (dTable is not null || dRows is not null)
                AddByToken(table, site, group, inner, site.Table.Columns, dTable, dRows, tokenStride: site.Table.Columns, columnStride: 1, split: adapter?.Rows is not null);
        }
        _scratch.Release();
    }

    /// <summary>Back through the steps of a group, the last first. Returns dy before the first.</summary>
    private RowView EmbedStepsBackward(ulong table, EmbeddingSite site, in RowGroup group, LowRankStep[] steps, RowView dy, RowView downs, Gradients gradients)
    {
        RowView start = default;
        if (StartWanted(steps, gradients))
        {
            start = NewRows(group.Count, site.Table.Columns);
            TableRows(table, site, group.Start, group.Count, start, default, finish: false);
        }
        StepsCall call = new(group, steps, site.Table.Columns, new(table, site.Index, downs, null), group.Start, start, default);
        for (int k = steps.Length - 1; k >= 0; k--)
        {
            dy = StepBackward(call, k, dy, gradients);
            if (Trained(gradients, steps[k].A) is { } dA)
                AddByToken(table, site, group, DownBackward(call, steps[k], dy), steps[k].Rank, dA, null, tokenStride: 1, columnStride: steps[k].A.Columns, split: false);
        }
        return dy;
    }

    /// <summary>A's columns of the tokens of all rows, of all steps side by side: [T, largest sum of ranks]; default where no path has steps at the site.</summary>
    private RowView EmbedDowns(BatchLayout batch, ulong table, EmbeddingSite site)
    {
        int rank = MaxRank(site.Index);
        if (rank == 0)
            return default;
        RowView u = NewRows(batch.Rows, rank);
        EmbedAPush push = new(u.Tensor.Address, table, (uint)batch.Rows, (uint)u.Stride, (uint)site.Index, checked((uint)site.Table.Shape[0]));
        Dispatch(_kernels["embed_a"], push, AtMost(batch.Rows), 1, 1, Access.Write(u.Tensor), Access.Indirect);
        return u;
    }

    /// <summary>The tokens' rows as their paths have them, with the paths' steps or without.</summary>
    private void TableRows(ulong table, EmbeddingSite site, int start, int rows, RowView y, RowView downs, bool finish)
    {
        VulkanTensor weight = Of(site.Table);
        EmbedPush push = new(weight.Address, y.Tensor.Address, table, downs.Tensor?.Address ?? 0, weight.ScalesWord, (uint)start, (uint)rows, (uint)site.Table.Columns,
            (uint)y.First, (uint)y.Stride, (uint)downs.Stride, (uint)site.Index, finish ? 1u : 0);
        Dispatch(_kernels["embed", (uint)weight.Kind], push, Groups(site.Table.Columns), AtMost(rows), 1, Access.Read(weight), Access.Write(y.Tensor), Access.Read(downs.Tensor ?? weight), Access.Indirect);
    }

    /// <summary>Adds each row to its token's place in a gradient, rows in order.</summary>
    private void AddByToken(ulong table, EmbeddingSite site, in RowGroup group, RowView rows, int columns, VulkanTensor? c, VulkanTensor? replaced, int tokenStride, int columnStride, bool split)
    {
        EmbedBackwardPush push = new(rows.Tensor.Address, c?.Address ?? 0, replaced?.Address ?? 0, table, (uint)group.Count, (uint)columns, (uint)group.Start,
            (uint)rows.First, (uint)rows.Stride, (uint)tokenStride, (uint)columnStride, (uint)site.Index, split ? 1u : 0);
        VulkanTensor first = c ?? replaced!, second = replaced ?? first;
        Dispatch(_kernels["embed_backward"], push, Workgroups(columns, 64), 1, 1, Access.Read(rows.Tensor), Access.Write(first), Access.Write(second), Access.Indirect);
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct EmbedAPush(ulong U, ulong Batch, uint Rows, uint UStride, uint Site, uint Vocabulary);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct EmbedPush(ulong Table, ulong Y, ulong Batch, ulong U, uint Scales, uint First, uint Rows, uint Columns, uint YFirst, uint YStride, uint UStride, uint Site, uint Finish);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct EmbedBackwardPush(ulong Dy, ulong C, ulong Replaced, ulong Batch, uint Rows, uint Columns, uint BatchFirst, uint DyFirst, uint DyStride, uint TokenStride, uint ColumnStride, uint Site, uint Split);
}
