using System.Diagnostics;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Norms. Gains and biases of paths are found through the path table; a gain that trains gets its gradient by runs of rows on one path.
public sealed unsafe partial class VulkanBackend
{
    private const int ParameterColumns = 64;

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: true);

    /// <inheritdoc/>
    public void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(batch, site, x, dy, dx, gradients, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(batch, site, x, dy, dx, gradients, subtractMean: true);

    private void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y, bool subtractMean)
    {
        Debug.Assert(x.Columns % site.Width == 0 && y.Columns == x.Columns, $"{site.Name}: {x} -> {y}");
        int pieces = x.Columns / site.Width;
        VulkanTensor gain = Of(site.Gain), bias = Of(site.Bias ?? site.Gain);
        NormPush push = new(Batch(batch), Of(x).Address, Of(y).Address, gain.Address, site.Bias is null ? 0 : bias.Address,
            (uint)site.Index, (uint)gain.Kind, (uint)bias.Kind, (uint)batch.Rows, (uint)pieces, (uint)site.Width, (uint)site.Heads, site.Epsilon, site.Offset);
        Dispatch(NormKernel("norm", site.Width, subtractMean), push, PieceGroups(batch, pieces), 1, 1, Access.Read(Of(x)), Access.Write(Of(y)), Access.Read(gain), Access.Read(bias), Access.Indirect);
    }

    private void NormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients, bool subtractMean)
    {
        Debug.Assert(!ReferenceEquals(dy, dx), $"{site.Name}: dx is dy");
        Debug.Assert(x.Columns % site.Width == 0 && dy.Columns == x.Columns && (dx is null || dx.Columns == x.Columns), $"{site.Name}: {x}, {dy} -> {dx}");
        int width = site.Width, pieces = x.Columns / width;
        bool trains = false;
        foreach (RowGroup group in batch.Groups)
            trains |= gradients.Of(group.Path[site.Index]?.Weight ?? site.Gain) is not null;
        VulkanTensor gain = Of(site.Gain), from = Of(x), slope = Of(dy);
        // Mean in two floats and scale of every piece.
        VulkanTensor? statistics = trains ? Scratch(checked(4 * batch.Rows * pieces)) : null;
        if (trains || dx is not null)
        {
            NormBackwardPush push = new(Batch(batch), from.Address, slope.Address, dx is null ? 0 : Of(dx).Address, statistics?.Address ?? 0, gain.Address,
                (uint)site.Index, (uint)gain.Kind, (uint)batch.Rows, (uint)pieces, (uint)width, (uint)site.Heads, site.Epsilon, site.Offset);
            Dispatch(NormKernel("norm_backward", width, subtractMean), push, PieceGroups(batch, pieces), 1, 1,
                Access.Read(from), Access.Read(slope), Access.Read(gain), Access.Indirect, WriteOr(dx, from), WriteOr(statistics, from));
        }
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor? dGain = gradients.Of(adapter?.Weight ?? site.Gain), dBias = gradients.Of(adapter?.Bias ?? site.Bias);
            if (dGain is null && dBias is null)
                continue;
            NormParametersPush push = new(from.Address, slope.Address, statistics?.Address ?? 0, dGain is null ? 0 : Of(dGain).Address, dBias is null ? 0 : Of(dBias).Address,
                (uint)(group.Start * pieces), (uint)(group.Count * pieces), (uint)width, (uint)site.Heads);
            Dispatch(_kernels["norm_backward_parameters"], push, (site.Gains + ParameterColumns - 1) / ParameterColumns, 1, 1,
                Access.Read(from), Access.Read(slope), Access.Read(statistics ?? from), WriteOr(dGain, from), WriteOr(dBias, from));
        }
    }

    // What is absent is nothing more to wait for than what is read anyway.
    private static Access WriteOr(DeviceTensor? written, VulkanTensor read) => written is null ? Access.Read(read) : Access.Write(Of(written));

    // Threads by the width alone: they decide the order of a sum.
    private Kernel NormKernel(string name, int width, bool subtractMean) => _kernels[name, subtractMean ? 1u : 0, width > 1024 ? 256u : 64, width % 4 == 0 ? 1u : 0];

    private static int PieceGroups(BatchLayout batch, int pieces) => (int)Math.Min((long)batch.Rows * pieces, MaxGroups);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct NormPush(ulong Batch, ulong X, ulong Y, ulong Gain, ulong Bias, uint Site, uint GainType, uint BiasType, uint Rows, uint Pieces, uint Width, uint Heads, float Epsilon, float Offset);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct NormBackwardPush(ulong Batch, ulong X, ulong Dy, ulong Dx, ulong Statistics, ulong Gain, uint Site, uint GainType, uint Rows, uint Pieces, uint Width, uint Heads, float Epsilon, float Offset);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct NormParametersPush(ulong X, ulong Dy, ulong Statistics, ulong DGain, ulong DBias, uint First, uint Count, uint Width, uint Heads);
}
