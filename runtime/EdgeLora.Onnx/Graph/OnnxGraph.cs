using System.Globalization;
using System.Runtime.InteropServices;

namespace EdgeLora.Onnx;

// onnx.proto3, the fields used:
//   ModelProto: 1 ir_version, 2 producer_name, 7 graph, 8 opset_import {1 domain, 2 version}
//   GraphProto: 1 node, 2 name, 5 initializer, 11 input, 12 output
//   NodeProto:  1 input, 2 output, 3 name, 4 op_type, 5 attribute, 7 domain
//   AttributeProto: 1 name, 2 f, 3 i, 4 s, 8 ints, 20 type (1 float, 2 int, 3 string, 7 ints)
//   TensorProto: 1 dims, 2 data_type, 8 name, 9 raw_data, 13 external_data {1 key, 2 value}, 14 data_location (1 external)
//   ValueInfoProto: 1 name, 2 type {1 tensor_type {1 elem_type, 2 shape {1 dim {1 dim_value, 2 dim_param}}}}

/// <summary>Builds an ONNX model, opset 21 with com.microsoft's operators. Nodes come in the order in which they run.</summary>
/// <param name="name">The graph's name.</param>
public sealed class OnnxGraph(string name)
{
    /// <summary>The domain of ONNX Runtime's own operators.</summary>
    public const string Microsoft = "com.microsoft";

    private const int IrVersion = 10, Opset = 21, MicrosoftOpset = 1;

    private readonly List<ProtobufWriter> _nodes = [], _initializers = [], _inputs = [], _outputs = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private int _fresh;

    /// <summary>Nodes so far.</summary>
    public int NodeCount => _nodes.Count;

    /// <summary>A name that no value has yet, which says what the value is.</summary>
    public string Fresh(string hint) => FormattableString.Invariant($"{hint}#{_fresh++}");

    /// <summary>An input of the graph.</summary>
    public string Input(string value, OnnxType type, params ReadOnlySpan<OnnxDimension> dimensions)
    {
        Claim(value);
        _inputs.Add(ValueInfo(value, type, dimensions));
        return value;
    }

    /// <summary>An input that has a value where none is given. The default's dimensions may differ in the named ones.</summary>
    public string Input<T>(string value, OnnxType type, ReadOnlySpan<OnnxDimension> dimensions, ReadOnlySpan<long> defaultShape, ReadOnlySpan<T> defaultValue) where T : unmanaged
    {
        Input(value, type, dimensions);
        _initializers.Add(Data(value, type, defaultShape).Bytes(9, MemoryMarshal.AsBytes(defaultValue)));
        return value;
    }

    /// <summary>Makes a value an output of the graph.</summary>
    public void Output(string value, OnnxType type, params ReadOnlySpan<OnnxDimension> dimensions) => _outputs.Add(ValueInfo(value, type, dimensions));

    /// <summary>A constant that the model itself holds.</summary>
    public string Constant<T>(string value, OnnxType type, ReadOnlySpan<long> shape, ReadOnlySpan<T> data) where T : unmanaged
    {
        Claim(value);
        _initializers.Add(Data(value, type, shape).Bytes(9, MemoryMarshal.AsBytes(data)));
        return value;
    }

    /// <summary>A constant whose bytes lie elsewhere: in a file, or given to the session with the same name.</summary>
    public string External(string value, OnnxType type, ReadOnlySpan<long> shape, string location, long offset, long length)
    {
        Claim(value);
        ProtobufWriter data = Data(value, type, shape);
        foreach ((string key, string text) in (ReadOnlySpan<(string, string)>)[("location", location), ("offset", Invariant(offset)), ("length", Invariant(length))])
            data.Message(13, new ProtobufWriter().Text(1, key).Text(2, text));
        _initializers.Add(data.Int(14, 1));
        return value;
    }

    /// <summary>Adds a node with one output and returns the output's name.</summary>
    public string Node(string op, ReadOnlySpan<string> inputs, string output, string domain = "", params ReadOnlySpan<OnnxAttribute> attributes)
    {
        Node(op, inputs, [output], domain, attributes);
        return output;
    }

    /// <summary>Adds a node. An empty name leaves an optional input or output out.</summary>
    public void Node(string op, ReadOnlySpan<string> inputs, ReadOnlySpan<string> outputs, string domain = "", params ReadOnlySpan<OnnxAttribute> attributes)
    {
        ProtobufWriter node = new();
        foreach (string input in inputs)
            node.Text(1, input);
        foreach (string output in outputs)
        {
            if (output.Length > 0)
                Claim(output);
            node.Text(2, output);
        }
        node.Text(3, FormattableString.Invariant($"{op}_{_nodes.Count}")).Text(4, op);
        foreach (OnnxAttribute attribute in attributes)
            node.Message(5, Attribute(attribute));
        if (domain.Length > 0)
            node.Text(7, domain);
        _nodes.Add(node);
    }

    /// <summary>The model's bytes.</summary>
    public byte[] ToModel()
    {
        ProtobufWriter graph = new();
        foreach (ProtobufWriter node in _nodes)
            graph.Message(1, node);
        graph.Text(2, name);
        foreach ((int field, List<ProtobufWriter> messages) in (ReadOnlySpan<(int, List<ProtobufWriter>)>)[(5, _initializers), (11, _inputs), (12, _outputs)])
            foreach (ProtobufWriter message in messages)
                graph.Message(field, message);
        ProtobufWriter model = new();
        model.Int(1, IrVersion).Text(2, "EdgeLora").Message(7, graph);
        model.Message(8, new ProtobufWriter().Text(1, "").Int(2, Opset)).Message(8, new ProtobufWriter().Text(1, Microsoft).Int(2, MicrosoftOpset));
        return model.Written.ToArray();
    }

    private static ProtobufWriter Attribute(OnnxAttribute attribute)
    {
        ProtobufWriter message = new ProtobufWriter().Text(1, attribute.Name);
        switch (attribute.Value)
        {
            case float f:
                return message.Float(2, f).Int(20, 1);
            case long i:
                return message.Int(3, i).Int(20, 2);
            case string s:
                return message.Text(4, s).Int(20, 3);
            case long[] many:
                foreach (long i in many)
                    message.Int(8, i);
                return message.Int(20, 7);
            default:
                throw new NotSupportedException($"attribute {attribute.Name}: {attribute.Value.GetType().Name} cannot be written");
        }
    }

    private static ProtobufWriter Data(string value, OnnxType type, ReadOnlySpan<long> shape)
    {
        ProtobufWriter data = new();
        foreach (long dimension in shape)
            data.Int(1, dimension);
        return data.Int(2, (int)type).Text(8, value);
    }

    private static ProtobufWriter ValueInfo(string value, OnnxType type, ReadOnlySpan<OnnxDimension> dimensions)
    {
        ProtobufWriter shape = new();
        foreach (OnnxDimension d in dimensions)
            shape.Message(1, d.Name is { } named ? new ProtobufWriter().Text(2, named) : new ProtobufWriter().Int(1, d.Size));
        return new ProtobufWriter().Text(1, value).Message(2, new ProtobufWriter().Message(1, new ProtobufWriter().Int(1, (int)type).Message(2, shape)));
    }

    private static string Invariant(long value) => value.ToString(CultureInfo.InvariantCulture);

    // A value is made once: two of one name would be a graph that no runtime loads, with a message that names neither op.
    private void Claim(string value)
    {
        if (!_names.Add(value))
            throw new ArgumentException($"graph {name}: two values are named {value}");
    }
}
