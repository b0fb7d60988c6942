using EdgeLora.Core;

namespace EdgeLora.Onnx;

// Ops on rows: norms, positions, attention, nonlinearities.
internal sealed partial class GraphRecorder
{
    private string _keys = "", _values = "";

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(site, x, y, "SimplifiedLayerNormalization");

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(site, x, y, "LayerNormalization");

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x)
    {
        // The angles come by row, so that row t of the table is row t of the batch: position 0 and those after it.
        List<OnnxAttribute> attributes = [("interleaved", pairs == RopePairs.Adjacent ? 1L : 0L), ("num_heads", (long)(x.Columns / headSize))];
        if (cos.Columns * 2 != headSize)
            attributes.Add(("rotary_embedding_dim", cos.Columns * 2L));
        string rotated = _graph.Node("RotaryEmbedding", [Reshape(Value(x), 1, -1, x.Columns), Ints([0]), Value(cos), Value(sin)], Fresh(x.Name), OnnxGraph.Microsoft, [.. attributes]);
        Set(x, Reshape(rotated, -1, x.Columns), OpNames.Rope(x));
    }

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => (_keys, _values) = (Value(keys), Value(values));

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        if (!shape.Causal)
            throw new NotSupportedException($"layer {layer}: attention that sees what follows cannot be a GroupQueryAttention");
        if (shape.Slopes is not null)
            throw new NotSupportedException($"layer {layer}: biases by position (ALiBi) cannot be said in a graph; expected rotary or learned positions");
        int sequences = Rows, kv = shape.KvHeads * shape.HeadSize, width = shape.Heads * shape.HeadSize;
        string[] queries = Sequences(Value(q), width), keys = Sequences(_keys, kv), values = Sequences(_values, kv), mixed = new string[sequences];
        OnnxAttribute[] attributes =
        [
            ("num_heads", (long)shape.Heads), ("kv_num_heads", (long)shape.KvHeads), ("scale", shape.Scale), ("do_rotary", 0L),
            ("local_window_size", shape.Window > 0 ? shape.Window : -1L),
            .. shape.Cap > 0 ? (OnnxAttribute[])[("softcap", shape.Cap)] : [],
        ];
        OnnxDimension[] past = [1, shape.KvHeads, "", shape.HeadSize], present = [.. past];
        for (int s = 0; s < sequences; s++)
        {
            // Each sequence has room of its own.
            (past[2], present[2]) = (StepNames.Of(_plan, s, "past"), StepNames.Of(_plan, s, "present"));
            string pastKeys = StepInput(StepNames.PastKeys(_plan, s, layer), _type, past), pastValues = StepInput(StepNames.PastValues(_plan, s, layer), _type, past);
            string length = StepInput(StepNames.Length(_plan, s), OnnxType.Int32, 1), total = StepInput(StepNames.Total(_plan, s), OnnxType.Int32);
            string presentKeys = StepNames.PresentKeys(_plan, s, layer), presentValues = StepNames.PresentValues(_plan, s, layer);
            mixed[s] = Fresh("mixed");
            _graph.Node("GroupQueryAttention", [queries[s], keys[s], values[s], pastKeys, pastValues, length, total], [mixed[s], presentKeys, presentValues], OnnxGraph.Microsoft, attributes);
            if (_plan.Alone)
                present[2] = AllTokens;
            _graph.Output(presentKeys, _type, present);
            _graph.Output(presentValues, _type, present);
        }
        string joined = sequences == 1 ? mixed[0] : _graph.Node("Concat", mixed, Fresh("mixed"), "", ("axis", 0L));
        Set(y, Reshape(joined, -1, width), OpNames.Attention(layer));
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => Set(y, Multiply(Activated(kind, Value(gate)), Value(up)), OpNames.Gated(kind));

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y) => Set(y, Activated(kind, Value(x)), OpNames.Activate(kind));

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y) => Set(y, Multiply(Value(x), Number(factor)), OpNames.Scale(x));

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z) => Set(z, Sum(Value(x), Value(y)), OpNames.Add(x, y));

    private void Norm(NormSite site, DeviceTensor x, DeviceTensor y, string op)
    {
        string? given = PathTensor(site.Index, s => s.Weight, site.Name + ".weight", [.. site.Gain.Shape.Dimensions], adapter => adapter.Weight);
        string gain = given is null ? Vector(site.Name + ".weight", site.Gain, site.Offset) : site.Offset == 0 ? given : Sum(given, Number(site.Offset));
        string? bias = PathTensor(site.Index, s => s.Bias, site.Name + ".bias", [site.Gains], adapter => adapter.Bias) ?? (site.Bias is { } stored ? Vector(site.Name + ".bias", stored) : null);
        int pieces = x.Columns / site.Width;
        string input = pieces == 1 ? Value(x) : Reshape(Value(x), -1, pieces, site.Width);
        bool shared = site.Heads == 1;
        // A norm's node has one vector of gains; those of heads come behind it.
        string own = shared ? gain : Ones(site.Width);
        string[] inputs = op == "LayerNormalization" && bias is not null && shared ? [input, own, bias] : [input, own];
        string value = _graph.Node(op, inputs, Fresh(y.Name), "", ("axis", -1L), ("epsilon", site.Epsilon), ("stash_type", 1L));
        if (!shared)
            value = Multiply(Reshape(value, -1, site.Heads, site.Width), Reshape(gain, site.Heads, site.Width));
        if (bias is not null && inputs.Length == 2)
            value = Sum(value, shared ? bias : Reshape(bias, site.Heads, site.Width));
        Set(y, pieces == 1 && shared ? value : Reshape(value, -1, x.Columns), site.Name);
    }

    // Small enough to lie in the model itself; not every norm's kernel can share what it makes of one that is given to several sessions.
    private string Vector(string name, DeviceTensor vector, float offset = 0)
    {
        float[] values = vector.ToFloats();
        return Constant(name, offset == 0 ? values : Array.ConvertAll(values, v => offset + v));
    }

    private string Ones(int width)
    {
        string name = FormattableString.Invariant($"ones:{width}");
        if (!_constants.TryGetValue(name, out string? known))
            _constants[name] = known = Constant(name, [.. Enumerable.Repeat(1f, width)]);
        return known;
    }

    private string Constant(string name, float[] values) =>
        _type == OnnxType.Float ? _graph.Constant<float>(name, _type, [values.Length], values) : _graph.Constant<Half>(name, _type, [values.Length], Array.ConvertAll(values, v => (Half)v));

    // [rows, width] as one tensor [1, rows of the sequence, width] a sequence.
    private string[] Sequences(string value, int width)
    {
        if (_plan.Sequences <= 1)
            return [Reshape(value, 1, -1, width)];
        string[] parts = new string[_plan.Sequences];
        for (int s = 0; s < parts.Length; s++)
            parts[s] = Fresh("sequence");
        _graph.Node("Split", [Reshape(value, _plan.Sequences, 1, width)], parts, "", ("axis", 0L), ("num_outputs", (long)parts.Length));
        return parts;
    }

    private string Activated(Activation kind, string value) => kind switch
    {
        Activation.Gelu => _graph.Node("Gelu", [value], Fresh("gelu"), "", ("approximate", "none")),
        Activation.GeluTanh => _graph.Node("Gelu", [value], Fresh("gelu"), "", ("approximate", "tanh")),
        Activation.Relu => _graph.Node("Relu", [value], Fresh("relu")),
        Activation.Silu => Silu(value),
        _ => _graph.Node("Tanh", [value], Fresh("tanh")),
    };

    private string Silu(string value) => Multiply(value, _graph.Node("Sigmoid", [value], Fresh("sigmoid")));

    private string Multiply(string x, string y) => _graph.Node("Mul", [x, y], Fresh("product"));

    private string Sum(string x, string y) => _graph.Node("Add", [x, y], Fresh("sum"));
}
