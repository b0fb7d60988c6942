using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Mixtures of experts. Which rows an expert takes stays on the device: models run each expert on every row, and rows whose weight is 0 are left as they are.
public sealed unsafe partial class VulkanBackend
{
    /// <inheritdoc/>
    public bool IsImmediate => false;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(logits), Of(weights));
        RoutePush push = new(from.Address, 0, to.Address, (uint)rows, (uint)from.Columns, (uint)k, renormalise ? 1u : 0);
        Dispatch(_kernels["route"], push, RouteGroups(rows), 1, 1, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(x), Of(y));
        MoveRows(_kernels["gather_rows"], rows.Length, rows, from, to, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        FlushIfLong();
        (VulkanTensor from, VulkanTensor to, VulkanTensor factors) = (Of(x), Of(y), Of(weights));
        long elements = (long)count * from.Columns;
        AddRowsPush push = new(from.Address, to.Address, factors.Address, Numbers(rows), checked((uint)elements), (uint)from.Columns, (uint)factors.Columns, (uint)column);
        Dispatch(_kernels["add_rows"], push, Groups(elements), 1, 1, Access.Read(from), Access.Read(factors), Access.Write(to));
    }

    /// <inheritdoc/>
    public void RouteBackward(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor dweights, DeviceTensor dlogits)
    {
        (VulkanTensor from, VulkanTensor dy, VulkanTensor dx) = (Of(logits), Of(dweights), Of(dlogits));
        RoutePush push = new(from.Address, dy.Address, dx.Address, (uint)rows, (uint)from.Columns, (uint)k, renormalise ? 1u : 0);
        Dispatch(_kernels["route_backward"], push, RouteGroups(rows), 1, 1, Access.Read(from), Access.Read(dy), Access.Write(dx));
    }

    /// <inheritdoc/>
    public void GatherRowsBackward(ReadOnlySpan<int> rows, DeviceTensor dy, DeviceTensor dx)
    {
        (VulkanTensor from, VulkanTensor to) = (Of(dy), Of(dx));
        MoveRows(_kernels["gather_rows_backward"], rows.Length, rows, from, to, Access.Read(from), Access.Write(to));
    }

    /// <inheritdoc/>
    public void AddRowsBackward(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor dy, DeviceTensor dx, DeviceTensor dweights)
    {
        (VulkanTensor factors, VulkanTensor from, VulkanTensor d, VulkanTensor to, VulkanTensor dFactors) = (Of(weights), Of(x), Of(dy), Of(dx), Of(dweights));
        AddRowsBackwardPush push = new(from.Address, factors.Address, d.Address, to.Address, dFactors.Address, Numbers(rows), (uint)count, (uint)from.Columns, (uint)factors.Columns, (uint)column);
        Dispatch(_kernels["add_rows_backward"], push, Math.Clamp(count, 1, 65535), 1, 1, Access.Read(factors), Access.Read(from), Access.Read(d), Access.Write(to), Access.Write(dFactors));
    }

    private void MoveRows(Kernel kernel, int count, ReadOnlySpan<int> rows, VulkanTensor from, VulkanTensor to, Access read, Access write)
    {
        if (count == 0)
            return;
        long elements = (long)count * from.Columns;
        Dispatch(kernel, new MoveRowsPush(from.Address, to.Address, Numbers(rows), checked((uint)elements), (uint)from.Columns), Groups(elements), 1, 1, read, write);
    }

    private ulong Numbers(ReadOnlySpan<int> rows) => rows.IsEmpty ? 0 : Upload32(MemoryMarshal.Cast<int, uint>(rows));

    private static int RouteGroups(int rows) => Math.Min((rows + 63) / 64, 65535);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct RoutePush(ulong Logits, ulong Dweights, ulong Destination, uint Rows, uint Columns, uint Count, uint Renormalise);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct MoveRowsPush(ulong X, ulong Y, ulong Numbers, uint Count, uint Columns);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct AddRowsPush(ulong X, ulong Y, ulong Weights, ulong Numbers, uint Count, uint Columns, uint WeightColumns, uint Column);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct AddRowsBackwardPush(ulong X, ulong Weights, ulong Dy, ulong Dx, ulong Dweights, ulong Numbers, uint Rows, uint Columns, uint WeightColumns, uint Column);
}
