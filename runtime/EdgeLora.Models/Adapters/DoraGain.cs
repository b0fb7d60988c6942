using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>DoRA's gain of one site, <c>m/‖W + s·B·A‖</c> per output, with what it takes to compute it anew after A, B or m changed.</summary>
public sealed class DoraGain
{
    private readonly IComputeBackend _backend;
    private readonly Func<double[]> _computeNorms;
    private double[] _norms = [];

    internal DoraGain(IComputeBackend backend, DeviceTensor gain, DeviceTensor? magnitude, Func<double[]> computeNorms)
    {
        _backend = backend;
        Gain = gain;
        Magnitude = magnitude;
        _computeNorms = computeNorms;
    }

    /// <summary>[O] F32, what the path's step multiplies by.</summary>
    public DeviceTensor Gain { get; }

    /// <summary>m [O] on the device where it trains; else null.</summary>
    public DeviceTensor? Magnitude { get; }

    /// <summary>‖W + s·B·A‖ per output when the gain was computed last.</summary>
    public ReadOnlySpan<double> Norms => _norms;

    /// <summary>Computes norms and gain from what is on the device now. Slow: reads weight and factors back.</summary>
    public void Refresh() => Refresh(Magnitude!.ToFloats());

    internal void Refresh(float[] magnitude)
    {
        _norms = _computeNorms();
        float[] gain = new float[magnitude.Length];
        for (int o = 0; o < gain.Length; o++)
            gain[o] = _norms[o] > 0 ? (float)(magnitude[o] / _norms[o]) : 0;
        _backend.Write(gain, Gain, 0);
    }
}
