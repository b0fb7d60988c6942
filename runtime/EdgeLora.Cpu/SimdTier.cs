using System.Runtime.Intrinsics;

namespace EdgeLora.Cpu;

/// <summary>Width of the vectors that the kernels use. Results differ in the last bits between tiers, never within one.</summary>
internal enum SimdTier
{
    /// <summary>No vector instructions.</summary>
    Scalar,
    /// <summary>128 bits: SSE, NEON.</summary>
    Vector128,
    /// <summary>256 bits: AVX2.</summary>
    Vector256,
    /// <summary>512 bits: AVX-512.</summary>
    Vector512,
}

/// <summary>Finds the widest tier of this machine.</summary>
internal static class SimdTiers
{
    /// <summary>The widest tier that runs in hardware here.</summary>
    public static SimdTier Hardware { get; } =
        Vector512.IsHardwareAccelerated ? SimdTier.Vector512 :
        Vector256.IsHardwareAccelerated ? SimdTier.Vector256 :
        Vector128.IsHardwareAccelerated ? SimdTier.Vector128 : SimdTier.Scalar;
}
