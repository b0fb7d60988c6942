using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Measuring;

namespace EdgeLora.Benchmarks;

/// <summary><c>--onnx [shape=NAME] [type=F32|Q8_0|…] [threads=N] [seconds=S] [device=ID]</c>: ONNX Runtime beside the SIMD backend.</summary>
internal static class OnnxProgram
{
    /// <summary>Runs it. Returns the exit code.</summary>
    public static int Run(string[] args)
    {
        LlamaShape shape = LlamaShape.Of15M;
        DType type = DType.F32;
        int threads = 0;
        double seconds = 20;
        string device = "onnx:cpu";
        foreach (string arg in args)
            switch (arg.Split('='))
            {
                case ["shape", string name] when LlamaShape.Standard.FirstOrDefault(s => s.Name == name) is { } known:
                    shape = known;
                    break;
                case ["type", string name] when Enum.TryParse(name, out type) && type.IsWeight():
                case ["threads", string count] when int.TryParse(count, out threads) && threads > 0:
                case ["seconds", string time] when double.TryParse(time, CultureInfo.InvariantCulture, out seconds) && seconds > 0:
                    break;
                case ["device", string id]:
                    device = id;
                    break;
                default:
                    throw new ArgumentException($"{arg}: expected shape={string.Join('|', LlamaShape.Standard.Select(s => s.Name))}, type=F32|F16|BF16|Q8_0|Q4_0, threads=N, seconds=S or device=ID");
            }
        OnnxBenchmark.Run(shape, type, device, threads, seconds);
        return 0;
    }
}
