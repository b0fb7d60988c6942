using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>What the ops of a pass are called where two devices are compared op by op; an op at a site has the site's name.</summary>
internal static class OpNames
{
    public static string Columns(DeviceTensor source, DeviceTensor destination) => $"{destination.Name} of {source.Name}";

    public static string Rope(DeviceTensor x) => $"rope of {x.Name}";

    public static string Attention(int layer) => FormattableString.Invariant($"attention of layer {layer}");

    public static string Gated(Activation kind) => kind == Activation.Silu ? "SwiGLU" : $"gated {kind}";

    public static string Scale(DeviceTensor x) => $"{x.Name} scaled";

    public static string Activate(Activation kind) => kind.ToString();

    public const string Route = "route";

    public static string AddRows(DeviceTensor x, DeviceTensor y) => $"{y.Name} + weighted {x.Name}";

    public static string Add(DeviceTensor x, DeviceTensor y) => $"{x.Name} + {y.Name}";
}
