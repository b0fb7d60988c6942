using EdgeLora.Core;
using EdgeLora.Onnx;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Xunit;
using Tensor = EdgeLora.Core.Tensor;

namespace EdgeLora.Tests.Onnx;

/// <summary>Graphs y = x·W + (x·A)·B of ../shared/fixtures/onnx_adapter/graph (scripts/onnx_adapters.py), whose inputs A and B come from adapters, run by ONNX Runtime.</summary>
public sealed class OnnxAdapterGraphTests
{
    [Theory]
    [InlineData(0, "f32")]
    [InlineData(1, "f32")]
    [InlineData(0, "f16")]
    [InlineData(1, "f16")]
    public void An_adapter_fed_as_inputs_gives_the_recorded_numbers(int rank, string type)
    {
        string folder = SharedFolder.Require("fixtures/onnx_adapter/graph"), again = Path.GetTempFileName();
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        using SessionOptions options = OnnxDevices.Options("onnx:cpu", 1);
        using InferenceSession session = new(Path.Combine(folder, $"lora_default_rank{rank}_{type}.onnx"), options);
        double tolerance = type == "f32" ? 1e-6 : 3e-3;
        Check("none", Run(session, expected.Tensors["x"], type, null));
        foreach (string name in new[] { "rank1", "rank4", "rank7" })
        {
            string path = Path.Combine(folder, $"{name}_{type}.onnx_adapter");
            using OnnxAdapter adapter = OnnxAdapter.Read(path);
            float[] fed = Run(session, expected.Tensors["x"], type, adapter);
            Check(name, fed);
            // Written by us and made active by ONNX Runtime itself: the same bits.
            OnnxAdapter.Write(again, [.. adapter.File.Tensors.Values], cancellation: TestContext.Current.CancellationToken);
            using OrtLoraAdapter active = OrtLoraAdapter.Create(again, null);
            Assert.Equal(fed, Run(session, expected.Tensors["x"], type, null, active));
        }
        File.Delete(again);

        void Check(string name, float[] found)
        {
            float[] exact = expected.Tensors["exact." + name].ToFloats(), recorded = expected.Tensors[$"rank{rank}_{type}.{name}"].ToFloats();
            for (int i = 0; i < found.Length; i++)
            {
                Assert.InRange(found[i], exact[i] - tolerance, exact[i] + tolerance);
                Assert.InRange(found[i], recorded[i] - tolerance, recorded[i] + tolerance);
            }
        }
    }

    private static float[] Run(InferenceSession session, Tensor x, string type, OnnxAdapter? adapter, OrtLoraAdapter? active = null)
    {
        Dictionary<string, OrtValue> inputs = new() { ["x"] = Value(QuantBlocks.ToTensor("x", type == "f32" ? DType.F32 : DType.F16, x.Shape, x.ToFloats())) };
        foreach (Tensor tensor in adapter?.File.Tensors.Values ?? [])
            inputs.Add(tensor.Name, Value(tensor));
        using RunOptions run = new();
        if (active is not null)
            run.AddActiveLoraAdapter(active);
        using IDisposableReadOnlyCollection<OrtValue> outputs = session.Run(run, inputs, ["y"]);
        foreach (OrtValue input in inputs.Values)
            input.Dispose();
        return type == "f32" ? outputs[0].GetTensorDataAsSpan<float>().ToArray() : Array.ConvertAll(outputs[0].GetTensorDataAsSpan<Float16>().ToArray(), h => (float)h);
    }

    private static OrtValue Value(Tensor tensor)
    {
        OrtValue value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, tensor.Type == DType.F32 ? TensorElementType.Float : TensorElementType.Float16, tensor.Shape.Dimensions.ToArray());
        tensor.Bytes.CopyTo(value.GetTensorMutableRawData());
        return value;
    }
}
