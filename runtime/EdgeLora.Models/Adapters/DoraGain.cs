using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>DoRA's gain of one site, <c>m/‖W + s·B·A‖</c> per output, where its magnitude trains: computed anew, on the device, after A, B or m changed.</summary>
public sealed class DoraGain
{
    private readonly IComputeBackend _backend;
    private readonly DoraSite _site;

    internal DoraGain(IComputeBackend backend, DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) =>
        (_backend, _site, Magnitude, Norms, Gain) = (backend, site, magnitude, norms, gain);

    /// <summary>[O] F32, what the path's step multiplies by.</summary>
    public DeviceTensor Gain { get; }

    /// <summary>m [O].</summary>
    public DeviceTensor Magnitude { get; }

    /// <summary>‖W + s·B·A‖ per output [O] when the gain was computed last.</summary>
    public DeviceTensor Norms { get; }

    /// <summary>Computes norms and gain from what is on the device now.</summary>
    public void Refresh() => _backend.DoraGain(_site, Magnitude, Norms, Gain);
}
