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

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv) => throw new NotImplementedException();
}
