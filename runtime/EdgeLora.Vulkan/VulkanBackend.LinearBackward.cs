using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Backward of Linear: path by path, but dx through a weight that neighbouring paths share in one product.
public sealed unsafe partial class VulkanBackend
{
    /// <inheritdoc/>
    public void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients)
    {
        ulong table = Batch(batch);
        _scratch.Hold();
        VulkanTensor? dInput = dx is null ? null : Of(dx);
        InputProduct open = default;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor weight = adapter?.Weight ?? site.Weight;
            VulkanTensor? dWeight = Trained(gradients, weight), dBias = Trained(gradients, adapter?.Bias ?? site.Bias), dRows = Trained(gradients, adapter?.Rows?.Values);
            if (dInput is null && dWeight is null && dBias is null && dRows is null && !gradients.AnyOf(adapter))
                continue;
            RowView input = new(Of(x), group.Start), outer = new(Of(dy), group.Start);
            if (dBias is not null)
                ColumnSum(outer, default, group.Count, site.Outputs, 1, dBias);
            RowView inner = LinearStepsBackward(table, site, group, adapter, input, outer, dInput, gradients), taken = default;
            if (adapter?.Rows is { } rows && (dInput is not null || dWeight is not null || dRows is not null))
            {
                inner = WithoutReplaced(table, site, group, rows.Ids.Length, inner, out taken);
                if (dRows is not null)
                    Outer(taken, rows.Ids.Length, input, site.Inputs, group.Count, 1, dRows);
            }
            if (dWeight is not null && site.InputMajor)
                Outer(input, site.Inputs, inner, site.Outputs, group.Count, 1, dWeight);
            else if (dWeight is not null)
                Outer(inner, site.Outputs, input, site.Inputs, group.Count, 1, dWeight);
            if (dInput is null)
                continue;
            if (!open.TryExtend(weight, group, inner))
            {
                InputsBackward(site, open, dInput);
                open = new(weight, group.Start, group.Count, inner);
            }
            if (taken.Tensor is not null)
            {
                InputsBackward(site, open, dInput);
                open = default;
                Product(Of(adapter!.Rows!.Values), true, adapter.Rows.Ids.Length, site.Inputs, group.Count, taken, new(dInput, group.Start), ProductMode.Add);
            }
        }
        if (dInput is not null)
            InputsBackward(site, open, dInput);
        _scratch.Release();
    }

    /// <summary>Back through the steps of a group, the last first. Returns dy before the first.</summary>
    private RowView LinearStepsBackward(ulong table, LinearSite site, in RowGroup group, SiteAdapter? adapter, RowView x, RowView dy, VulkanTensor? dx, Gradients gradients)
    {
        LowRankStep[] steps = adapter?.Steps ?? [];
        if (steps.Length == 0)
            return dy;
        int wanted = DownsWanted(steps, gradients), rank = 0;
        RowView[] inputs = new RowView[steps.Length];
        for (int k = 0; k < steps.Length; k++)
        {
            inputs[k] = k < wanted || gradients.Of(steps[k].A) is not null ? Masked(steps[k], group.Count, site.Inputs, x) : x;
            rank += steps[k].Rank;
        }
        RowView downs = wanted > 0 ? NewRows(group.Count, rank) : default, start = default, replaced = default;
        for (int k = 0, column = 0; k < wanted; column += steps[k++].Rank)
            Product(Of(steps[k].A), false, site.Inputs, steps[k].Rank, group.Count, inputs[k], downs with { Column = column });
        if (StartWanted(steps, gradients))
        {
            start = NewRows(group.Count, site.Outputs);
            replaced = LinearRows(site, adapter, group.Count, x, start);
        }
        StepsCall call = new(group, steps, site.Outputs, new(table, site.Index, downs, null), 0, start, replaced);
        for (int k = steps.Length - 1; k >= 0; k--)
        {
            LowRankStep step = steps[k];
            dy = StepBackward(call, k, dy, gradients);
            VulkanTensor? dA = Trained(gradients, step.A);
            if (dA is null && dx is null)
                continue;
            RowView down = DownBackward(call, step, dy);
            if (dA is not null)
                Outer(down, step.Rank, inputs[k], site.Inputs, group.Count, 1, dA);
            if (dx is null)
                continue;
            RowView to = step.Dropout is null ? new(dx, group.Start) : NewRows(group.Count, site.Inputs);
            Product(Of(step.A), true, step.Rank, site.Inputs, group.Count, down, to, step.Dropout is null ? ProductMode.Add : ProductMode.Store);
            if (step.Dropout is not null)
                Mask(step.Dropout, group.Count, site.Inputs, to, new(dx, group.Start), add: true);
        }
        return dy;
    }

    /// <summary>dy with zero at the outputs that the path replaces, and those outputs by themselves: [n, replaced].</summary>
    private RowView WithoutReplaced(ulong table, LinearSite site, in RowGroup group, int replaced, RowView dy, out RowView taken)
    {
        RowView kept = NewRows(group.Count, site.Outputs);
        taken = NewRows(group.Count, replaced);
        ReplacedBackwardPush push = new(dy.Tensor.Address, kept.Tensor.Address, taken.Tensor.Address, table, (uint)group.Count, (uint)site.Outputs, (uint)group.Start,
            (uint)dy.First, (uint)dy.Stride, (uint)kept.Stride, (uint)taken.Stride, (uint)site.Index);
        Dispatch(_kernels["replaced_backward"], push, Groups(site.Outputs), AtMost(group.Count), 1, Access.Read(dy.Tensor), Access.Write(kept.Tensor), Access.Write(taken.Tensor), Access.Indirect);
        return kept;
    }

    // dx += Wᵀ·dy: a product with the weight read the other way round.
    private void InputsBackward(LinearSite site, in InputProduct product, VulkanTensor dx)
    {
        if (product.Rows > 0)
            Product(Of(product.Weight), !site.InputMajor, site.Outputs, site.Inputs, product.Rows, product.Dy, new(dx, product.Start), ProductMode.Add);
    }

    /// <summary>Rows of dx that one weight gives.</summary>
    private record struct InputProduct(DeviceTensor Weight, int Start, int Rows, RowView Dy)
    {
        /// <summary>Takes a group in whose rows follow, over the same weight, with their dy in the same buffer.</summary>
        public bool TryExtend(DeviceTensor weight, in RowGroup group, RowView dy)
        {
            bool extends = Rows > 0 && ReferenceEquals(weight, Weight) && group.Start == Start + Rows && ReferenceEquals(dy.Tensor, Dy.Tensor) && dy.First == Dy.First + Rows;
            if (extends)
                Rows += group.Count;
            return extends;
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ReplacedBackwardPush(ulong Dy, ulong Kept, ulong Taken, ulong Batch, uint Rows, uint Columns, uint BatchFirst, uint DyFirst, uint DyStride, uint KeptStride, uint TakenStride, uint Site);
}
