using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>What a graph is recorded for.</summary>
/// <param name="Shapes">The shape of each path: one for all rows, or one a sequence (then all plain).</param>
/// <param name="Example">A path of the first shape.</param>
/// <param name="Sequences">0: rows of one sequence, any number. Else so many sequences of one row each.</param>
/// <param name="Hidden">Whether the hidden states of all layers are outputs.</param>
/// <param name="Trace">Whether the result of every op is an output.</param>
/// <param name="Alone">Whether it is for others to run: inputs and outputs by the usual convention, see <see cref="GraphExport"/>. Then of one sequence.</param>
internal sealed record GraphPlan(PathShape[] Shapes, SiteTable Example, int Sequences, bool Hidden = false, bool Trace = false, bool Alone = false)
{
    /// <summary>Whether each sequence stands on a path of its own.</summary>
    public bool PathPerSequence => Shapes.Length > 1;

    /// <summary>Equal for plans of one graph.</summary>
    public GraphKey Key => new(Shapes[0].Key, Sequences, Shapes.Length, Hidden, Trace);
}

/// <summary>What two plans of one graph have in common.</summary>
internal readonly record struct GraphKey(string Shape, int Sequences, int Paths, bool Hidden, bool Trace);

/// <summary>A graph as it was recorded: the model and what to give it.</summary>
/// <param name="Model">Bytes of the model, without the base's weights.</param>
/// <param name="Weights">Initializers that the session has to be given.</param>
/// <param name="AdapterInputs">What paths fill.</param>
/// <param name="Inputs">Which step inputs it has.</param>
/// <param name="Outputs">Outputs besides logits, keys and values, in order.</param>
/// <param name="Nodes">Nodes.</param>
internal sealed record RecordedGraph(byte[] Model, IReadOnlyList<string> Weights, IReadOnlyList<AdapterInput> AdapterInputs, IReadOnlySet<string> Inputs, IReadOnlyList<string> Outputs, int Nodes);

/// <summary>Names of what a step gives a graph and takes from it.</summary>
internal static class StepNames
{
    /// <summary>[T] int64.</summary>
    public const string Tokens = "input_ids";
    /// <summary>[T] int64, where positions are learned.</summary>
    public const string Positions = "position_ids";
    /// <summary>[T, r/2].</summary>
    public const string Cos = "cos";
    /// <summary>[T, r/2].</summary>
    public const string Sin = "sin";
    /// <summary>[T, r/2], of layers with a window where theirs differ.</summary>
    public const string WindowCos = "window cos";
    /// <summary>[T, r/2], of layers with a window where theirs differ.</summary>
    public const string WindowSin = "window sin";
    /// <summary>[L] int64: rows whose logits are wanted. Absent in a graph of several sequences, which gives all.</summary>
    public const string LogitRows = "logit_rows";
    /// <summary>[L, V].</summary>
    public const string Logits = "logits";

    /// <summary>[1] int32: tokens of the sequence, this step's included, less one.</summary>
    public static string Length(GraphPlan plan, int sequence) => Of(plan, sequence, "seqlens_k");
    /// <summary>[] int32: tokens of the sequence, this step's included.</summary>
    public static string Total(GraphPlan plan, int sequence) => Of(plan, sequence, "total_sequence_length");
    /// <summary>[1, K, capacity, Hd].</summary>
    public static string PastKeys(GraphPlan plan, int sequence, int layer) => Of(plan, sequence, FormattableString.Invariant($"past_key_values.{layer}.key"));
    /// <summary>[1, K, capacity, Hd].</summary>
    public static string PastValues(GraphPlan plan, int sequence, int layer) => Of(plan, sequence, FormattableString.Invariant($"past_key_values.{layer}.value"));
    /// <summary>[1, K, capacity, Hd]; may be the same memory.</summary>
    public static string PresentKeys(GraphPlan plan, int sequence, int layer) => Of(plan, sequence, FormattableString.Invariant($"present.{layer}.key"));
    /// <summary>[1, K, capacity, Hd]; may be the same memory.</summary>
    public static string PresentValues(GraphPlan plan, int sequence, int layer) => Of(plan, sequence, FormattableString.Invariant($"present.{layer}.value"));

    /// <summary>A name of one of several paths or sequences.</summary>
    public static string Of(GraphPlan plan, int index, string name) => plan.Sequences > 0 ? FormattableString.Invariant($"{index}/{name}") : name;
}
