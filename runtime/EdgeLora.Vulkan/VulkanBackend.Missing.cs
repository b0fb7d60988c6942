using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Ops without a shader yet; the backend is not offered to anyone until there are none.
public sealed unsafe partial class VulkanBackend
{
    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) => throw new NotImplementedException();
}
