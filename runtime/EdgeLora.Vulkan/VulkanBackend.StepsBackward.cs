using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Backward of low-rank steps, for Linear and Embed alike, and the sums over rows that give parameters' gradients: each adds to what the gradient holds, row after row.
public sealed unsafe partial class VulkanBackend
{
    /// <summary>The steps of the rows of one path in a backward call.</summary>
    /// <param name="Group">The rows.</param>
    /// <param name="Steps">Steps in path order.</param>
    /// <param name="Outputs">O.</param>
    /// <param name="Ending">The site, with A·x of the steps that <see cref="DownsWanted"/> counts.</param>
    /// <param name="DownsFirst">Row of A·x of the first row.</param>
    /// <param name="Start">[n, O] before the first step, where a gain trains.</param>
    /// <param name="Replaced">Products of replaced rows that belong in Start; or default.</param>
    private readonly record struct StepsCall(RowGroup Group, LowRankStep[] Steps, int Outputs, Ending Ending, int DownsFirst, RowView Start, RowView Replaced);

    /// <summary>How many steps need their A·x: up to the last whose B, or whose gain, trains.</summary>
    private static int DownsWanted(LowRankStep[] steps, Gradients gradients)
    {
        int count = steps.Length;
        while (count > 0 && gradients.Of(steps[count - 1].B) is null && gradients.Of(steps[count - 1].Gain) is null)
            count--;
        return count;
    }

    /// <summary>Whether a gain trains, so that what stands before it must be computed again.</summary>
    private static bool StartWanted(LowRankStep[] steps, Gradients gradients)
    {
        foreach (LowRankStep step in steps)
            if (gradients.Of(step.Gain) is not null)
                return true;
        return false;
    }

    /// <summary>Back through step <paramref name="k"/> to y before it: gradients of its gain, output bias and B. Returns dy before the gain, which is dy of the step before too.</summary>
    private RowView StepBackward(in StepsCall call, int k, RowView dy, Gradients gradients)
    {
        LowRankStep step = call.Steps[k];
        int rows = call.Group.Count;
        if (gradients.Of(step.Gain) is { } dGain)
        {
            RowView before = NewRows(rows, call.Outputs);
            EndRows(call.Ending, call.Group.Start, rows, call.Outputs, call.Start, before, call.Replaced, k + 1, call.DownsFirst);
            ColumnSum(dy, before, rows, call.Outputs, 1, Of(dGain));
        }
        if (step.Gain is { } gain)
        {
            RowView scaled = NewRows(rows, call.Outputs);
            VulkanTensor factors = Of(gain);
            ColumnScalePush push = new(dy.Tensor.Address, factors.Address, scaled.Tensor.Address, (uint)rows, (uint)call.Outputs, (uint)dy.First, (uint)dy.Stride, 0, (uint)scaled.Stride, (uint)factors.Kind);
            Dispatch(_kernels["column_scale"], push, Groups(call.Outputs), AtMost(rows), 1, Access.Read(dy.Tensor), Access.Read(factors), Access.Write(scaled.Tensor));
            dy = scaled;
        }
        if (gradients.Of(step.OutputBias) is { } dOutputBias)
            ColumnSum(dy, default, rows, call.Outputs, step.Scale, Of(dOutputBias));
        if (gradients.Of(step.B) is { } dB)
        {
            int column = 0;
            for (int i = 0; i < k; i++)
                column += call.Steps[i].Rank;
            Outer(dy, call.Outputs, call.Ending.Downs with { First = call.DownsFirst, Column = column }, step.Rank, rows, step.Scale, Of(dB));
        }
        return dy;
    }

    /// <summary><c>s·Bᵀ·dy</c> [n, R]: the derivative of a step's A·x.</summary>
    private RowView DownBackward(in StepsCall call, LowRankStep step, RowView dy)
    {
        RowView down = NewRows(call.Group.Count, step.Rank);
        Product(Of(step.B), true, call.Outputs, step.Rank, call.Group.Count, dy, down, ProductMode.Store, step.Scale);
        return down;
    }

    /// <summary><c>c[i, j] += Σ_t scale·a[t, i]·b[t, j]</c>.</summary>
    private void Outer(RowView a, int height, RowView b, int width, int rows, float scale, VulkanTensor c)
    {
        uint tall = height <= 16 ? 1u : 4, wide = width <= 16 ? 1u : 4;
        OuterPush push = new(a.Tensor.Address, b.Tensor.Address, c.Address, (uint)rows, (uint)height, (uint)width, (uint)a.First, (uint)a.Stride, (uint)a.Column, (uint)b.First, (uint)b.Stride, (uint)b.Column, scale);
        Dispatch(_kernels["outer", tall, wide], push, Workgroups(width, 16 * (int)wide), Workgroups(height, 16 * (int)tall), 1, Access.Read(a.Tensor), Access.Read(b.Tensor), Access.Write(c));
    }

    /// <summary><c>c[o] += Σ_t scale·x[t, o]</c>, or <c>Σ_t x[t, o]·z[t, o]</c> where z is given.</summary>
    private void ColumnSum(RowView x, RowView z, int rows, int columns, float scale, VulkanTensor c)
    {
        ColumnSumPush push = new(x.Tensor.Address, z.Tensor?.Address ?? 0, c.Address, (uint)rows, (uint)columns, (uint)x.First, (uint)x.Stride, (uint)z.First, (uint)z.Stride, scale);
        Dispatch(_kernels["column_sum"], push, Workgroups(columns, 64), 1, 1, Access.Read(x.Tensor), Access.Read(z.Tensor ?? x.Tensor), Access.Write(c));
    }

    private static VulkanTensor? Trained(Gradients gradients, DeviceTensor? parameter) => gradients.Of(parameter) is { } gradient ? Of(gradient) : null;

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ColumnScalePush(ulong X, ulong Gain, ulong Y, uint Rows, uint Columns, uint XFirst, uint XStride, uint YFirst, uint YStride, uint GainType);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ColumnSumPush(ulong X, ulong Z, ulong C, uint Rows, uint Columns, uint XFirst, uint XStride, uint ZFirst, uint ZStride, float Scale);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct OuterPush(ulong A, ulong B, ulong C, uint Rows, uint Height, uint Width, uint AFirst, uint AStride, uint AColumn, uint BFirst, uint BStride, uint BColumn, float Scale);
}
