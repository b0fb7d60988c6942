using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// What sampling needs of logits.
public sealed unsafe partial class VulkanBackend
{
    // Columns that one workgroup searches.
    private const int PartOfTopK = 4096;

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y)
    {
        (VulkanTensor from, VulkanTensor destination) = (Of(x), Of(y));
        (int columns, int stride, bool pairs) = (from.Columns, from.Columns, false);
        while (true)
        {
            // A part gives k of its columns, at most a quarter: each round leaves fewer, until one part is left.
            int part = (int)Math.Max(PartOfTopK, 4L * k), parts = Workgroups(columns, part);
            VulkanTensor to = parts == 1 ? destination : Scratch(checked(2 * rows * parts * k));
            int toStride = parts == 1 ? destination.Columns : 2 * parts * k;
            TopKPush push = new(from.Address, to.Address, (uint)rows, (uint)columns, (uint)stride, (uint)toStride, (uint)part, (uint)k, pairs ? 1u : 0);
            Dispatch(_kernels["top_k"], push, parts, AtMost(rows), 1, Access.Read(from), Access.Write(to));
            if (parts == 1)
                return;
            (from, columns, stride, pairs) = (to, parts * k, toStride, true);
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct TopKPush(ulong X, ulong Y, uint Rows, uint Columns, uint XStride, uint YStride, uint Part, uint Count, uint Pairs);
}
