namespace EdgeLora.Core;

/// <summary>Which tensors train, each with the buffer its gradient is added to: same shape, F32. A tensor that is not in here is frozen.</summary>
public sealed class Gradients
{
    private readonly Dictionary<DeviceTensor, DeviceTensor> _of = new(ReferenceEqualityComparer.Instance);

    /// <summary>Tensors that train.</summary>
    public int Count => _of.Count;

    /// <summary>Makes <paramref name="parameter"/> trainable.</summary>
    public void Add(DeviceTensor parameter, DeviceTensor gradient) => _of.Add(parameter, gradient);

    /// <summary>Freezes <paramref name="parameter"/> again.</summary>
    public void Remove(DeviceTensor parameter) => _of.Remove(parameter);

    /// <summary>The gradient of <paramref name="parameter"/>; null where it is frozen or absent.</summary>
    public DeviceTensor? Of(DeviceTensor? parameter) => parameter is not null && _of.TryGetValue(parameter, out DeviceTensor? gradient) ? gradient : null;

    /// <summary>Whether anything that <paramref name="adapter"/> brings trains.</summary>
    public bool AnyOf(SiteAdapter? adapter)
    {
        if (adapter is null || _of.Count == 0)
            return false;
        if (Of(adapter.Weight) is not null || Of(adapter.Bias) is not null)
            return true;
        foreach (LowRankStep step in adapter.Steps)
            if (Of(step.A) is not null || Of(step.B) is not null || Of(step.OutputBias) is not null || Of(step.Gain) is not null)
                return true;
        return false;
    }
}
