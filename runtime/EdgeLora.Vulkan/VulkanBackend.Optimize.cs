using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// The loss, and the optimizers.
public sealed unsafe partial class VulkanBackend
{
    private const int SumBlock = 4096;

    /// <inheritdoc/>
    public void CrossEntropy(DeviceTensor logits, ReadOnlySpan<int> labels, ReadOnlySpan<float> scales, DeviceTensor losses)
    {
        (VulkanTensor z, VulkanTensor to) = (Of(logits), Of(losses));
        ulong ids = Upload32(MemoryMarshal.Cast<int, uint>(labels)), factors = Upload32(MemoryMarshal.Cast<float, uint>(scales));
        Dispatch(_kernels["cross_entropy"], new CrossEntropyPush(z.Address, ids, factors, to.Address, (uint)labels.Length, (uint)z.Columns), Math.Min(labels.Length, 65535), 1, 1, Access.Write(z), Access.Write(to));
    }

    /// <inheritdoc/>
    public double SumOfSquares(DeviceTensor x)
    {
        VulkanTensor from = Of(x);
        int blocks = checked((int)((from.Shape.Elements + SumBlock - 1) / SumBlock));
        VulkanTensor sums = Scratch(3 * blocks);
        Dispatch(_kernels["sum_of_squares"], new SumPush(from.Address, sums.Address, checked((uint)from.Shape.Elements), (uint)blocks), Math.Min(blocks, 65535), 1, 1, Access.Read(from), Access.Write(sums));
        uint[] parts = new uint[3 * blocks];
        ReadWords(sums, 0, parts);
        double total = 0;
        for (int i = 0; i < parts.Length; i += 3)
        {
            (float sum, float lost) = (BitConverter.UInt32BitsToSingle(parts[i]), BitConverter.UInt32BitsToSingle(parts[i + 1]));
            // What an infinite or undefined sum lost is undefined too.
            total += Math.ScaleB(float.IsFinite(sum) ? (double)sum + lost : sum, 2 * (int)parts[i + 2]);
        }
        return total;
    }

    /// <inheritdoc/>
    public void AdamW(DeviceTensor parameter, DeviceTensor gradient, DeviceTensor m, DeviceTensor v, in AdamWStep step)
    {
        (VulkanTensor p, VulkanTensor g, VulkanTensor first, VulkanTensor second) = (Of(parameter), Of(gradient), Of(m), Of(v));
        AdamWPush push = new(p.Address, g.Address, first.Address, second.Address, checked((uint)p.Shape.Elements), (float)(1 - step.LearningRate * step.WeightDecay),
            (float)step.Beta1, (float)(1 - step.Beta1), (float)step.Beta2, (float)(1 - step.Beta2), (float)(step.LearningRate / (1 - Math.Pow(step.Beta1, step.Step))),
            (float)Math.Sqrt(1 - Math.Pow(step.Beta2, step.Step)), (float)step.Epsilon, (float)step.GradientScale);
        Dispatch(_kernels["adam_w"], push, Groups(p.Shape.Elements), 1, 1, Access.Write(p), Access.Read(g), Access.Write(first), Access.Write(second));
    }

    /// <inheritdoc/>
    public void Sgd(DeviceTensor parameter, DeviceTensor gradient, double learningRate, double weightDecay, double gradientScale)
    {
        (VulkanTensor p, VulkanTensor g) = (Of(parameter), Of(gradient));
        Dispatch(_kernels["sgd"], new SgdPush(p.Address, g.Address, checked((uint)p.Shape.Elements), (float)learningRate, (float)weightDecay, (float)gradientScale), Groups(p.Shape.Elements), 1, 1, Access.Write(p), Access.Read(g));
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct CrossEntropyPush(ulong Z, ulong Labels, ulong Scales, ulong Losses, uint Rows, uint Columns);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct SumPush(ulong X, ulong Sums, uint Count, uint Blocks);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct AdamWPush(ulong P, ulong G, ulong M, ulong V, uint Count, float Decay, float Beta1, float Rest1, float Beta2, float Rest2, float Rate, float Root, float Epsilon, float GradientScale);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct SgdPush(ulong P, ulong G, uint Count, float Rate, float Decay, float GradientScale);
}
