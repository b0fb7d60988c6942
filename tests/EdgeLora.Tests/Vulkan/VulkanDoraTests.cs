using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>DoRA's gains are made on the device.</summary>
public sealed class VulkanDoraTests
{
    [Fact]
    public void Neither_resolving_a_path_with_DoRA_nor_its_gains_anew_reads_from_the_device()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(Path.Combine(SharedFolder.Repository, "adapters", "nano", "base")), backend);
        PeftAdapter fresh = AdapterStart.Of(new TrainingRecipe { LoraRank = 3, UseDora = true }, model.Sites);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(LoraAdapter.Fit(fresh, model.Sites, "dora"), backend, null);
        VulkanCounters before = backend.Counters;
        PathResolver.Extend(AdapterPath.Root, "dora", model.Sites, backend, adapter);
        foreach (DoraGain gain in adapter.Gains)
            gain.Refresh();
        Assert.Equal((before.ReadBytes, before.Submitted), (backend.Counters.ReadBytes, backend.Counters.Submitted));
        Assert.Equal(7 * model.Config.Layers, adapter.Gains.Count);
        // B is 0 before the first step, so the weight has its own norm.
        foreach (DoraGain gain in adapter.Gains)
            Assert.All(gain.Gain.ToFloats(), v => Assert.InRange(v, 1 - 1e-6f, 1 + 1e-6f));
    }
}
