using EdgeLora.Core;
using EdgeLora.Cpu;

namespace EdgeLora.Tests.Backends;

/// <summary>The SIMD backend at the widest tier, two threads.</summary>
public sealed class CpuConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = new CpuBackend(2);
}

/// <summary>256-bit vectors.</summary>
public sealed class Cpu256Conformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = CpuTier.Backend(SimdTier.Vector256);
}

/// <summary>128-bit vectors.</summary>
public sealed class Cpu128Conformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = CpuTier.Backend(SimdTier.Vector128);
}

/// <summary>No vectors.</summary>
public sealed class CpuScalarConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = CpuTier.Backend(SimdTier.Scalar);
}

/// <summary>Backends at a tier below the hardware's.</summary>
internal static class CpuTier
{
    /// <summary>A backend at <paramref name="tier"/>; skips the test, with the reason, where the hardware has none.</summary>
    public static CpuBackend Backend(SimdTier tier)
    {
        if (tier > SimdTiers.Hardware)
            Xunit.Assert.Skip($"{tier} does not run here: the widest tier is {SimdTiers.Hardware}");
        return new CpuBackend(2, tier);
    }
}
