using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

// A graph for others: what its steps are given is made of the usual inputs. One sequence, as a batch of one.
internal sealed partial class GraphRecorder
{
    private const string NewTokens = "sequence_length", PastTokens = "past_sequence_length", AllTokens = "total_sequence_length";

    private readonly Dictionary<string, string> _usual = new(StringComparer.Ordinal);

    private string UsualInput(string name, OnnxType type, ReadOnlySpan<OnnxDimension> dimensions)
    {
        if (_usual.TryGetValue(name, out string? known))
            return known;
        string value;
        if (name is StepNames.Tokens or StepNames.Positions)
        {
            _inputs.Add(name);
            value = Reshape(_graph.Input(name, OnnxType.Int64, 1, NewTokens), -1);
        }
        else if (name is StepNames.Cos or StepNames.Sin or StepNames.WindowCos or StepNames.WindowSin)
            value = Angles(name);
        else if (name == StepNames.Length(_plan, 0))
            value = Cast(_graph.Node("Sub", [_graph.Node("ReduceSum", [Mask(), Ints([1])], Fresh(name), "", ("keepdims", 0L)), Ints([1])], Fresh(name)), OnnxType.Int32);
        else if (name == StepNames.Total(_plan, 0))
            value = Cast(_graph.Node("Squeeze", [_graph.Node("Shape", [Mask()], Fresh(name), "", ("start", 1L), ("end", 2L))], Fresh(name)), OnnxType.Int32);
        else
            value = _graph.Input(name, type, dimensions[0], dimensions[1], PastTokens, dimensions[3]);
        return _usual[name] = value;
    }

    private string Mask()
    {
        const string Name = "attention_mask";
        return _usual.TryGetValue(Name, out string? known) ? known : _usual[Name] = _graph.Input(Name, OnnxType.Int64, 1, AllTokens);
    }

    // Row t is that of token t's position.
    private string Angles(string name)
    {
        RopeFrequencies rope = name is StepNames.Cos or StepNames.Sin ? _config.Rope! : _config.WindowRope!;
        if (rope.Long is not null)
            throw new NotSupportedException("longrope: which factors a text takes depends on its length, which a graph for others cannot say");
        int positions = _config.ContextLength, pairs = rope.Pairs;
        float[] cos = new float[checked(positions * pairs)], sin = new float[cos.Length];
        rope.WriteAngles([.. Enumerable.Range(0, positions)], 0, cos, sin);
        string table = Weight($"rope.{name}", GraphTensor.Of(name is StepNames.Cos or StepNames.WindowCos ? cos : sin, _type, positions, pairs));
        return _graph.Node("Gather", [table, UsualInput(StepNames.Positions, OnnxType.Int64, [])], Fresh(name), "", ("axis", 0L));
    }

    private void ExposeLogits(string value)
    {
        _graph.Node("Identity", [Reshape(Widen(value), 1, -1, _config.Vocabulary)], StepNames.Logits);
        _graph.Output(StepNames.Logits, OnnxType.Float, 1, NewTokens, _config.Vocabulary);
    }
}
