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
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(source), Of(destination));
        long count = (long)rows * pieces * columns;
        CopyPush push = new(from.Address + (ulong)sourceColumn * sizeof(float), to.Address + (ulong)destinationColumn * sizeof(float), (uint)columns, (uint)(from.Columns / pieces), (uint)(to.Columns / pieces), checked((uint)count));
        Dispatch(_kernels["copy"], push, Groups(count), 1, 1, Access.Read(from), Access.Write(to));
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
        Elements(_kernels["add"], rows, x, y, z);
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => Elements(_kernels["gated_activation", (uint)kind], rows, gate, up, y);

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(x), Of(y));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["activate", (uint)kind], new PairPush(from.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(x), Of(y));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["scale"], new ScalePush(from.Address, to.Address, checked((uint)count), factor), Groups(count), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx)
    {
        (VulkanTensor input, VulkanTensor from, VulkanTensor to) = (Of(x), Of(dy), Of(dx));
        long count = (long)rows * to.Columns;
        Dispatch(_kernels["activate_backward", (uint)kind], new TriplePush(input.Address, from.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(input), Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void GatedActivationBackward(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup)
    {
        (VulkanTensor g, VulkanTensor u, VulkanTensor d, VulkanTensor dg, VulkanTensor du) = (Of(gate), Of(up), Of(dy), Of(dgate), Of(dup));
        long count = (long)rows * d.Columns;
        Dispatch(_kernels["gated_activation_backward", (uint)kind], new GatedBackwardPush(g.Address, u.Address, d.Address, dg.Address, du.Address, checked((uint)count)), Groups(count), 1, 1,
            Access.Read(g), Access.Read(u), Access.Read(d), Access.Write(dg), Access.Write(du));
    }

    private void Elements(Kernel kernel, int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        (VulkanTensor a, VulkanTensor b, VulkanTensor to) = (Of(x), Of(y), Of(z));
        long count = (long)rows * to.Columns;
        Dispatch(kernel, new TriplePush(a.Address, b.Address, to.Address, checked((uint)count)), Groups(count), 1, 1, Access.Read(a), Access.Read(b), Access.Write(to));
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ClearPush(ulong Y, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct PairPush(ulong X, ulong Y, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ScalePush(ulong X, ulong Y, uint Count, float Factor);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct TriplePush(ulong X, ulong Y, ulong Z, uint Count);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct GatedBackwardPush(ulong Gate, ulong Up, ulong Dy, ulong Dgate, ulong Dup, uint Count);
}
