using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Copies and element-wise ops.
public sealed unsafe partial class VulkanBackend
{
    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows)
    {
        FlushIfLong();
        (VulkanTensor from, VulkanTensor to) = (Of(source), Of(destination));
        uint count = checked((uint)(rows * (long)from.Columns));
        CopyPush push = new(from.Address + (ulong)((long)sourceRow * from.Columns * sizeof(float)), to.Address + (ulong)((long)destinationRow * to.Columns * sizeof(float)), count, 0, 0, count);
        Dispatch(_kernels["copy"], push, Groups(count), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(source), Of(destination));
        CopyPush push = new(from.Address + (ulong)sourceColumn * sizeof(float), to.Address + (ulong)destinationColumn * sizeof(float), (uint)columns, (uint)from.Columns, (uint)to.Columns, checked((uint)((long)rows * columns)));
        Dispatch(_kernels["copy"], push, Groups((long)rows * columns), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void Clear(int rows, DeviceTensor x)
    {
        VulkanTensor to = Of(x);
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["clear"], new ClearPush(to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Write(to));
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        FlushIfLong();
        Elements("add", rows, x, y, z);
    }

    /// <inheritdoc/>
    public void SwiGlu(int rows, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => Elements("swi_glu", rows, gate, up, y);

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(x), Of(y));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["activate", (uint)kind], new PairPush(from.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx)
    {
        (VulkanTensor input, VulkanTensor from, VulkanTensor to) = (Of(x), Of(dy), Of(dx));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["activate_backward", (uint)kind], new TriplePush(input.Address, from.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(input), Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void SwiGluBackward(int rows, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup)
    {
        (VulkanTensor g, VulkanTensor u, VulkanTensor d, VulkanTensor dg, VulkanTensor du) = (Of(gate), Of(up), Of(dy), Of(dgate), Of(dup));
        long count = (long)rows * d.Columns;
        Dispatch(_kernels["swi_glu_backward"], new SwiGluBackwardPush(g.Address, u.Address, d.Address, dg.Address, du.Address, checked((uint)count)), Groups(count), 1, 1,
            Access.Read(g), Access.Read(u), Access.Read(d), Access.Write(dg), Access.Write(du));
    }

    private void Elements(string shader, int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        (VulkanTensor a, VulkanTensor b, VulkanTensor to) = (Of(x), Of(y), Of(z));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels[shader], new TriplePush(a.Address, b.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(a), Access.Read(b), Access.Write(to));
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ClearPush(ulong Y, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct PairPush(ulong X, ulong Y, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct TriplePush(ulong X, ulong Y, ulong Z, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct SwiGluBackwardPush(ulong Gate, ulong Up, ulong Dy, ulong Dgate, ulong Dup, uint Count);
}
