using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// DoRA's gain: made where weight and factors are, so that neither travels.
public sealed unsafe partial class VulkanBackend
{
    private const int DeltaWords = 8;

    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain)
    {
        FlushIfLong();
        (VulkanTensor weight, VulkanTensor m, VulkanTensor norm, VulkanTensor factor) = (Of(site.Weight), Of(magnitude), Of(norms), Of(gain));
        Span<uint> deltas = stackalloc uint[DeltaWords * site.Deltas.Length];
        Span<Access> accesses = stackalloc Access[5 + 2 * site.Deltas.Length];
        for (int k = 0; k < site.Deltas.Length; k++)
        {
            (VulkanTensor a, VulkanTensor b) = (Of(site.Deltas[k].A), Of(site.Deltas[k].B));
            Span<uint> to = deltas.Slice(DeltaWords * k, DeltaWords);
            (to[0], to[1], to[2], to[3]) = ((uint)a.Address, (uint)(a.Address >> 32), (uint)b.Address, (uint)(b.Address >> 32));
            (to[4], to[5], to[6], to[7]) = (BitConverter.SingleToUInt32Bits(site.Deltas[k].Scale), (uint)site.Deltas[k].Rank, (uint)a.Kind | (uint)b.Kind << 8, 0);
            (accesses[5 + 2 * k], accesses[6 + 2 * k]) = (Access.Read(a), Access.Read(b));
        }
        VulkanTensor? values = site.Rows is { } rows ? Of(rows.Values) : null;
        (accesses[0], accesses[1], accesses[2], accesses[3], accesses[4]) = (Access.Read(weight), Access.Read(m), Access.Write(norm), Access.Write(factor), Access.Read(values ?? weight));
        (int outputs, int inputs) = site.InputMajor ? (weight.Columns, (int)weight.Shape[0]) : ((int)weight.Shape[0], weight.Columns);
        DoraGainPush push = new(weight.Address, Upload32(deltas), site.Rows is null ? 0 : Upload32(MemoryMarshal.Cast<int, uint>(site.Rows.Ids.AsSpan())), values?.Address ?? 0, m.Address, norm.Address, factor.Address,
            weight.ScalesWord, (uint)inputs, (uint)outputs, (uint)site.Deltas.Length, (uint)(site.Rows?.Ids.Length ?? 0), (uint)(values?.Kind ?? 0), values?.ScalesWord ?? 0);
        Dispatch(_kernels["dora_gain", (uint)weight.Kind, site.InputMajor ? 1u : 0], push, Workgroups(outputs, 16), 1, 1, accesses);
    }

    /// <inheritdoc/>
    public void DoraGainBackward(DeviceTensor norms, DeviceTensor dgain, DeviceTensor dmagnitude)
    {
        (VulkanTensor norm, VulkanTensor d, VulkanTensor to) = (Of(norms), Of(dgain), Of(dmagnitude));
        Dispatch(_kernels["dora_gain_backward"], new DoraGainBackwardPush(norm.Address, d.Address, to.Address, checked((uint)d.Shape.Elements)), Groups(d.Shape.Elements), 1, 1, Access.Read(norm), Access.Read(d), Access.Write(to));
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct DoraGainPush(ulong Weight, ulong Deltas, ulong Ids, ulong Values, ulong Magnitude, ulong Norms, ulong Gain,
        uint Scales, uint Inputs, uint Outputs, uint DeltaCount, uint Replaced, uint ValuesType, uint ValuesScales);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct DoraGainBackwardPush(ulong Norms, ulong Dgain, ulong Dmagnitude, uint Count);
}
