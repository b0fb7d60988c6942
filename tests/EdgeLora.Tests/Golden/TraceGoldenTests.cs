using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: ../shared/fixtures/training, made by scripts/training_traces.py there with transformers and PEFT in F64.</summary>
public sealed class TraceGoldenTests
{
    // Soft prompts, IA³ and preferences come later; the rest are no traces.
    private static readonly string[] s_later =
        ["prompt_tuning", "p_tuning_mlp", "prefix_tuning", "prefix_tuning_projected_gpt2", "ia3", "dpo_lora", "bases", "objectives", "sft_masks"];

    public static TheoryData<string> Traces() => new(SharedFolder.Folders("fixtures/training").Except(s_later).DefaultIfEmpty("lora_qv_sgd"));

    [Theory, MemberData(nameof(Traces))]
    public void Reference_backend_trains_like_PEFT(string name) => Check(SharedFolder.Require("fixtures/training/" + name), new ReferenceBackend());

    [Theory, MemberData(nameof(Traces))]
    public void Cpu_backend_trains_like_PEFT(string name) => Check(SharedFolder.Require("fixtures/training/" + name), new CpuBackend());

    // One of each kind: a software driver needs seconds for each. `edgelora verify trace --device vulkan` runs any of them.
    [Theory]
    [InlineData("full"), InlineData("dora"), InlineData("lora_embedding"), InlineData("lora_packed"), InlineData("lora_bert_classify"), InlineData("lora_gpt2"), InlineData("bottleneck_houlsby_gpt2")]
    [InlineData("partial_bitfit_qwen2"), InlineData("lora_modules_to_save")]
    public void Vulkan_backend_trains_like_PEFT(string name) => Check(SharedFolder.Require("fixtures/training/" + name), VulkanDriver.Backend());

    [Fact]
    public void Vulkan_by_storage_buffers_trains_like_PEFT() => Check(SharedFolder.Require("fixtures/training/lora_qv_sgd"), VulkanDriver.Backend(addresses: false));

    [Fact]
    public void A_Q8_0_base_trains_the_same_from_its_blocks()
    {
        string folder = SharedFolder.Require("fixtures/training/lora_q8_base");
        string gguf = Path.Combine(folder, "../bases/llama-q8/model.gguf");
        Check(folder, new ReferenceBackend(), gguf);
        Check(folder, new CpuBackend(), gguf);
    }

    [Fact]
    public void A_Q8_0_base_trains_the_same_from_its_blocks_on_Vulkan()
    {
        string folder = SharedFolder.Require("fixtures/training/lora_q8_base");
        Check(folder, VulkanDriver.Backend(), Path.Combine(folder, "../bases/llama-q8/model.gguf"));
    }

    [Fact]
    public void A_trace_with_another_rate_does_not_pass()
    {
        string source = SharedFolder.Require("fixtures/training/lora_qv_sgd"), copy = Directory.CreateTempSubdirectory().FullName;
        foreach (string file in Directory.GetFiles(source, "*", SearchOption.AllDirectories))
        {
            string to = Path.Combine(copy, Path.GetRelativePath(source, file));
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.WriteAllBytes(to, File.ReadAllBytes(file));
        }
        string recipe = Path.Combine(copy, "recipe.json");
        File.WriteAllText(recipe, File.ReadAllText(recipe).Replace("\"../bases/", $"\"{Path.GetFullPath(Path.Combine(source, ".."))}/bases/").Replace("\"max_grad_norm\": 0.0", "\"max_grad_norm\": 0.5"));
        TraceResult result = TraceReplay.Run(copy, new ReferenceBackend());
        Directory.Delete(copy, true);
        Assert.False(result.Passed);
        Assert.True(result.LossError > result.Tolerance.Loss);
        Assert.True(result.GradientError <= result.Tolerance.Gradient);
    }

    private static void Check(string folder, IComputeBackend backend, string? basePath = null)
    {
        using (backend)
        {
            TraceResult result = TraceReplay.Run(folder, backend, basePath);
            Assert.True(result.Passed, $"loss {result.LossError:g3}, norm {result.GradNormError:g3}, rate {result.RateError:g3}, gradients {result.GradientError:g3}, final {result.FinalError:g3} at {result.Worst}; {string.Join("; ", result.Faults)}");
        }
    }
}
