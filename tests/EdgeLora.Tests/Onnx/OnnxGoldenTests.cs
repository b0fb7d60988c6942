using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;
using EdgeLora.Tests.Golden;
using EdgeLora.Tests.Training;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>The golden numbers of every decoder and adapter (as in <see cref="ModelGoldenTests"/>, <see cref="AdapterGoldenTests"/>, <see cref="GgufGoldenTests"/>), on ONNX Runtime's CPU.</summary>
public sealed class OnnxGoldenTests
{
    /// <summary>All but one, whose biases by position a graph cannot say.</summary>
    public static TheoryData<string> Models() => new(ModelGoldenTests.Folders().Where(f => f != "falcon-alibi"));

    [Theory, MemberData(nameof(Models))]
    public void Decoders_give_the_reference_library_s_numbers(string name)
    {
        using OnnxBackend backend = new("onnx:cpu");
        IReadOnlyList<GoldenError> errors = ModelGolden.Verify(SharedFolder.Require("fixtures/models/" + name), backend);
        Assert.True(errors.Count >= 6, $"{name}: only {errors.Count} comparisons");
        Assert.All(errors, e => Assert.True(e.Passed, $"{name} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
    }

    /// <summary>All but the one on an encoder, which is refused.</summary>
    public static TheoryData<string> Adapters() => new(AdapterGoldenTests.Folders().Where(f => f != "bert-cls"));

    [Fact]
    public void An_encoder_is_refused_by_name() =>
        Assert.Contains("bert", Assert.Throws<NotSupportedException>(() => AdapterGolden.Verify(SharedFolder.Require("fixtures/peft/bert-cls"), () => new OnnxBackend("onnx:cpu"))).Message);

    [Fact]
    public void Biases_by_position_are_refused_by_name()
    {
        using FreshBase fresh = new();
        string folder = fresh.Make("rw", FreshBase.Config("falcon", """, "alibi": true, "multi_query": false, "parallel_attn": false"""));
        using OnnxBackend backend = new("onnx:cpu");
        Assert.Contains("ALiBi", Assert.Throws<NotSupportedException>(() => DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), backend)).Message);
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Adapters_give_PEFT_s_numbers(string name)
    {
        IReadOnlyList<GoldenError> errors = AdapterGolden.Verify(SharedFolder.Require("fixtures/peft/" + name), () => new OnnxBackend("onnx:cpu"));
        Assert.True(errors.Count >= 2, $"{name}: only {errors.Count} comparisons");
        Assert.All(errors, e => Assert.True(e.Passed, $"{name} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
    }

    [Theory, MemberData(nameof(GgufGoldenTests.Files), MemberType = typeof(GgufGoldenTests))]
    public void GGUF_bases_give_the_logits_of_their_weights(string folder, string file) => GgufGoldenTests.Check(folder, file, new OnnxBackend("onnx:cpu"));

    [Theory, InlineData("llama-Q8_0"), InlineData("llama-Q4_0")]
    public void Blocks_of_both_sizes_are_exact_with_F32_activations(string file) => GgufGoldenTests.Check("llama", file, new OnnxBackend("onnx:cpu") { KeepsCaches = true });
}
