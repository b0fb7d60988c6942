using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;
using EdgeLora.Tests.Golden;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>ONNX Runtime against the scalar reference, op by op.</summary>
public sealed class GraphVerifierTests
{
    private const double Tolerance = 1e-4;

    [Theory, MemberData(nameof(GgufGoldenTests.Files), MemberType = typeof(GgufGoldenTests))]
    public void Every_op_of_a_GGUF_base_gives_what_the_reference_gives(string folder, string file)
    {
        string path = SharedFolder.Require($"fixtures/gguf/{folder}/{file}.gguf");
        using OnnxBackend device = new("onnx:cpu");
        using ReferenceBackend reference = new();
        IReadOnlyList<OperatorError> errors = GraphVerifier.Compare(() => BaseCheckpoint.Open(path), device, reference, _ => AdapterPath.Root, [1, 5, 9, 2, 7]);
        OperatorError? first = errors.FirstOrDefault(e => !(e.Error <= Tolerance));
        Assert.True(first is null, $"{file}: {first}");
        Assert.Contains(errors, e => e.Step == "decode" && e.Operator.Contains("attention of layer"));
    }
}
