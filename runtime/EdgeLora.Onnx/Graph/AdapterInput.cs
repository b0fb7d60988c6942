using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>An input of a graph that a path fills.</summary>
/// <param name="Name">The graph's name of it: <paramref name="Key"/>, in a graph of several paths with the path's number before it.</param>
/// <param name="Group">Which of the batch's paths fills it.</param>
/// <param name="Key">Names the tensor among all that a path gives.</param>
/// <param name="Tensor">Makes the tensor of a path; null where the path has none and the default stands.</param>
internal sealed record AdapterInput(string Name, int Group, string Key, Func<SiteTable, GraphTensor?> Tensor);

/// <summary>Inputs that a path fills, by the names they are known by.</summary>
internal static class AdapterTensors
{
    /// <summary>A of a site's product <paramref name="segment"/>: [I, R]; the first is named as adapter files name it.</summary>
    public static string A(string site, int segment) => segment == 0 ? OnnxLowRank.NameOf(site, PeftPart.A) : $"{site}.lora_A.{segment}";

    /// <summary>B of it, with every scale: [R, O].</summary>
    public static string B(string site, int segment) => segment == 0 ? OnnxLowRank.NameOf(site, PeftPart.B) : $"{site}.lora_B.{segment}";

    /// <summary>Every A of the steps side by side: [I, ΣR].</summary>
    public static GraphTensor? JoinA(ReadOnlySpan<LowRankStep> steps, OnnxType type)
    {
        int rank = Rank(steps), at = 0;
        if (rank == 0)
            return null;
        int inputs = steps[0].A.Columns;
        float[] joined = new float[checked(inputs * rank)];
        foreach (LowRankStep step in steps)
        {
            ReadOnlySpan<float> a = Floats(step.A);
            for (int i = 0; i < inputs; i++)
                for (int r = 0; r < step.Rank; r++)
                    joined[i * rank + at + r] = a[r * inputs + i];
            at += step.Rank;
        }
        return GraphTensor.Of(joined, type, inputs, rank);
    }

    /// <summary>Every s·B of the steps below each other: [ΣR, O].</summary>
    public static GraphTensor? JoinB(ReadOnlySpan<LowRankStep> steps, OnnxType type)
    {
        int rank = Rank(steps), at = 0;
        if (rank == 0)
            return null;
        int outputs = (int)steps[0].B.Shape[0];
        float[] joined = new float[checked(outputs * rank)];
        foreach (LowRankStep step in steps)
        {
            ReadOnlySpan<float> b = Floats(step.B);
            for (int o = 0; o < outputs; o++)
                for (int r = 0; r < step.Rank; r++)
                    joined[(at + r) * outputs + o] = step.Scale * b[o * step.Rank + r];
            at += step.Rank;
        }
        return GraphTensor.Of(joined, type, rank, outputs);
    }

    /// <summary>Σ s·b of the steps: [O].</summary>
    public static GraphTensor? JoinBias(ReadOnlySpan<LowRankStep> steps, OnnxType type)
    {
        if (steps.Length == 0)
            return null;
        double[] sum = new double[steps[0].B.Shape[0]];
        foreach (LowRankStep step in steps)
            if (step.OutputBias?.ToFloats() is { } offset)
                for (int o = 0; o < sum.Length; o++)
                    sum[o] += (double)step.Scale * offset[o];
        return GraphTensor.Of(Array.ConvertAll(sum, x => (float)x), type, sum.Length);
    }

    /// <summary>A tensor of a path as graphs compute with it: its stored dimensions.</summary>
    public static GraphTensor? Of(DeviceTensor? tensor, OnnxType type)
    {
        if (tensor is null)
            return null;
        // A mapped adapter is shown where it lies; the path keeps its file open.
        return tensor is HostTensor host && type == OnnxType.Float && tensor.Type == DType.F32
            ? GraphTensor.Of(host, tensor.Shape.Dimensions)
            : GraphTensor.Of(tensor.ToFloats(), type, tensor.Shape.Dimensions);
    }

    private static ReadOnlySpan<float> Floats(DeviceTensor tensor) => tensor is HostTensor { Type: DType.F32 } host ? host.ReadFloats : tensor.ToFloats();

    private static int Rank(ReadOnlySpan<LowRankStep> steps)
    {
        int rank = 0;
        foreach (LowRankStep step in steps)
            rank += step.Rank;
        return rank;
    }
}
