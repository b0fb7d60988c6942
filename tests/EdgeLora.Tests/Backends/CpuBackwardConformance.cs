using EdgeLora.Core;
using EdgeLora.Cpu;

namespace EdgeLora.Tests.Backends;

/// <summary>The SIMD backend's backward ops at the widest tier, two threads.</summary>
public sealed class CpuBackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = new CpuBackend(2);
}

/// <summary>256-bit vectors.</summary>
public sealed class Cpu256BackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = CpuTier.Backend(SimdTier.Vector256);
}

/// <summary>128-bit vectors.</summary>
public sealed class Cpu128BackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = CpuTier.Backend(SimdTier.Vector128);
}

/// <summary>No vectors.</summary>
public sealed class CpuScalarBackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = CpuTier.Backend(SimdTier.Scalar);
}
