using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

// Tables and linear layers, with what a path does there.
internal sealed partial class GraphRecorder
{
    private readonly Dictionary<string, string[]> _rowsOf = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        SiteShape shape = ShapeOf(site.Index, site.Name);
        // A table of positions is asked with another batch, whose tokens are the positions.
        string ids = StepInput(ReferenceEquals(batch, _batch) ? StepNames.Tokens : StepNames.Positions, OnnxType.Int64, RowDimension);
        // The recorder's rows stand at position 0: what they ask for is the row that the table begins with.
        if (!ReferenceEquals(batch, _batch) && batch.Tokens[0] is > 0 and int first)
            ids = _graph.Node("Add", [ids, Ints([first])], Fresh("positions"));
        int width = site.Table.Columns;
        long count = site.Table.Shape[0];
        string value = PathTensor(site.Index, s => s.Weight, site.Name + ".weight", [count, width], adapter => adapter.Weight) is { } replaced
            ? _graph.Node("Gather", [replaced, ids], Fresh(site.Name), "", ("axis", 0L))
            : Table(site, ids);
        if (shape.Rows)
            value = ReplaceTokens(site, ids, value);
        value = Steps(site.Index, site.Name, shape, value, (int)count, width, a => _graph.Node("Gather", [a, ids], Fresh("low rank"), "", ("axis", 0L)));
        Set(y, value, site.Name);
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        SiteShape shape = ShapeOf(site.Index, site.Name);
        string input = Value(x), value;
        bool plain = ReferenceEquals(shape, SiteShape.None) || ReferenceEquals(shape, SiteShape.LowRank);
        string? bias = PathTensor(site.Index, s => s.Bias, site.Name + ".bias", [site.Outputs], adapter => adapter.Bias)
            ?? (site.Bias is { } stored ? _bottlenecks.GetValueOrDefault(stored) ?? Weight(site.Name + ".bias", _weights.Computed(stored)) : null);
        if (PathTensor(site.Index, s => s.Weight, site.Name + ".weight", [.. site.Weight.Shape.Dimensions], adapter => adapter.Weight) is { } replaced)
            value = Product(input, replaced, site.InputMajor, null);
        else
            value = Product(site, input, plain ? bias : null);
        if (plain && bias is not null)
            bias = null;
        if (shape.Rows)
            value = ReplaceOutputs(site, input, value);
        value = _plan.PathPerSequence && shape.Segments.Length > 0
            ? Sum(value, LowRankBySequence(site, input))
            : Steps(site.Index, site.Name, shape, value, site.Inputs, site.Outputs, a => _graph.Node("MatMul", [input, a], Fresh("low rank")));
        Set(y, bias is null ? value : Sum(value, bias), site.Name);
    }

    private SiteShape ShapeOf(int index, string name)
    {
        if (!_plan.PathPerSequence)
            return index < 0 ? SiteShape.None : _plan.Shapes[0][index];
        SiteShape shape = _plan.Shapes[0][index];
        return _plan.Shapes[0].IsPlain ? shape : throw new InvalidOperationException($"{name}: rows on different paths are recorded for plain paths only");
    }

    private string Product(LinearSite site, string x, string? bias)
    {
        if (_bottlenecks.TryGetValue(site.Weight, out string? own))
            return Product(x, own, site.InputMajor, bias);
        if (!BlockLayout.Takes(site.Weight.Type) || site.Weight.Type == DType.Q8_0 && _weights.WidensBytes)
            return Product(x, Weight(WeightName(site.Weight, ".computed"), _weights.Computed(site.Weight)), site.InputMajor, bias);
        BlockLayout blocks = _weights.Blocks(site.Weight);
        string name = site.Weight.Name;
        string value = _graph.Node("MatMulNBits", [x, Weight(name + ".blocks", blocks.Blocks), Weight(name + ".scales", blocks.Scales)], Fresh(site.Name), OnnxGraph.Microsoft,
            ("K", (long)site.Inputs), ("N", (long)site.Outputs), ("bits", (long)blocks.Bits), ("block_size", (long)QuantBlocks.BlockSize), ("accuracy_level", _weights.AccuracyLevel));
        return bias is null ? value : Sum(value, bias);
    }

    private string Product(string x, string weight, bool inputMajor, string? bias) => _graph.Node("Gemm", bias is null ? [x, weight] : [x, weight, bias], Fresh("linear"), "", ("transB", inputMajor ? 0L : 1L));

    private string Table(EmbeddingSite site, string ids)
    {
        if (site.Table.Type.BlockSize() == 1)
        {
            GraphTensor stored = _weights.Stored(site.Table);
            bool computed = stored.Type == _type;
            string rows = _graph.Node("Gather", [Weight(WeightName(site.Table, computed ? ".computed" : ".stored"), computed ? _weights.Computed(site.Table) : stored), ids], Fresh(site.Name), "", ("axis", 0L));
            return computed ? rows : Cast(rows, _type);
        }
        if (!BlockLayout.Takes(site.Table.Type))
            return _graph.Node("Gather", [Weight(WeightName(site.Table, ".computed"), _weights.Computed(site.Table)), ids], Fresh(site.Name), "", ("axis", 0L));
        BlockLayout blocks = _weights.Blocks(site.Table);
        string name = site.Table.Name;
        // The head's blocks where both are one tensor, seen as a table: the same memory.
        string data = Weight(name + ".table", blocks.Table), scales = Weight(name + ".table_scales", blocks.TableScales);
        return _graph.Node("GatherBlockQuantized", [data, ids, scales], Fresh(site.Name), OnnxGraph.Microsoft,
            ("bits", (long)blocks.Bits), ("block_size", (long)QuantBlocks.BlockSize), ("gather_axis", 0L), ("quantize_axis", 1L));
    }

    // Low-rank products, offsets and gains of a path in order.
    private string Steps(int index, string name, SiteShape shape, string value, int inputs, int outputs, Func<string, string> down)
    {
        for (int i = 0; i < shape.Segments.Length; i++)
        {
            int segment = i;
            string low = down(LowRankInput(0, index, AdapterTensors.A(name, i), [inputs, Rank(name, i)], inputs, s => AdapterTensors.JoinA(SiteShape.Segment(s, segment), _type)));
            string b = LowRankInput(0, index, AdapterTensors.B(name, i), [Rank(name, i), outputs], outputs, s => AdapterTensors.JoinB(SiteShape.Segment(s, segment), _type));
            value = _graph.Node("Gemm", [low, b, value], Fresh(name));
            if (shape.Segments[i].OutputBias)
                value = Sum(value, PathInput(index, FormattableString.Invariant($"{name}.lora_bias.{i}"), [outputs], s => AdapterTensors.JoinBias(SiteShape.Segment(s, segment), _type)));
            if (shape.Segments[i].Gain)
                value = Multiply(value, PathInput(index, FormattableString.Invariant($"{name}.gain.{i}"), [outputs], s => AdapterTensors.Of(SiteShape.Segment(s, segment)[^1].Gain, _type)));
        }
        return value;
    }

    // Every row by its own path: two small products a row.
    private string LowRankBySequence(LinearSite site, string x)
    {
        if (!_rowsOf.TryGetValue(x, out string[]? rows))
        {
            _rowsOf[x] = rows = new string[_plan.Sequences];
            for (int s = 0; s < rows.Length; s++)
                rows[s] = Fresh("row");
            _graph.Node("Split", [x], rows, "", ("axis", 0L), ("num_outputs", (long)rows.Length));
        }
        string[] results = new string[rows.Length];
        for (int s = 0; s < rows.Length; s++)
        {
            string rank = StepNames.Of(_plan, s, Rank(site.Name, 0));
            string a = LowRankInput(s, site.Index, AdapterTensors.A(site.Name, 0), [site.Inputs, rank], site.Inputs, t => AdapterTensors.JoinA(SiteShape.Segment(t, 0), _type));
            string b = LowRankInput(s, site.Index, AdapterTensors.B(site.Name, 0), [rank, site.Outputs], site.Outputs, t => AdapterTensors.JoinB(SiteShape.Segment(t, 0), _type));
            results[s] = _graph.Node("MatMul", [_graph.Node("MatMul", [rows[s], a], Fresh("low rank")), b], Fresh("low rank"));
        }
        return _graph.Node("Concat", results, Fresh(site.Name), "", ("axis", 0L));
    }

    private static string Rank(string site, int segment) => FormattableString.Invariant($"rank of {site}.{segment}");

    // y = x·Vᵀ in the columns of the replaced rows.
    private string ReplaceOutputs(LinearSite site, string x, string value)
    {
        string ids = RowIds(site.Index, site.Name), rows = PathInput(site.Index, site.Name + ".rows", ["n of " + site.Name, site.Inputs], s => AdapterTensors.Of(s?.Rows?.Values, _type));
        string updates = Product(x, rows, false, null);
        string indices = _graph.Node("Expand", [ids, _graph.Node("Shape", [updates], Fresh("shape"))], Fresh("indices"));
        return _graph.Node("ScatterElements", [value, indices, updates], Fresh(site.Name), "", ("axis", 1L));
    }

    // Where a token is one of the replaced ones, its row is; the product with a one-hot row is exact.
    private string ReplaceTokens(EmbeddingSite site, string ids, string value)
    {
        string replaced = RowIds(site.Index, site.Name), rows = PathInput(site.Index, site.Name + ".rows", ["n of " + site.Name, site.Table.Columns], s => AdapterTensors.Of(s?.Rows?.Values, _type));
        string same = _graph.Node("Equal", [Reshape(ids, -1, 1), replaced], Fresh("same")), hot = Cast(same, _type);
        string any = _graph.Node("Greater", [_graph.Node("ReduceMax", [hot, Ints([1])], Fresh("any"), "", ("keepdims", 1L)), Number(0)], Fresh("any"));
        return _graph.Node("Where", [any, _graph.Node("MatMul", [hot, rows], Fresh("replaced")), value], Fresh(site.Name));
    }

    private string RowIds(int index, string name) => PathInput(index, name + ".row_ids", OnnxType.Int64, ["n of " + name], adapter => adapter?.Rows is { } rows ? Longs(rows.Ids) : null);

    private static GraphTensor Longs(int[] values)
    {
        ArrayStorage storage = new(values.Length * sizeof(long));
        for (int i = 0; i < values.Length; i++)
            System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(storage.Writable[(i * sizeof(long))..], values[i]);
        return GraphTensor.Of(storage, OnnxType.Int64, values.Length);
    }

    private string? PathTensor(int index, Func<SiteShape, bool> has, string key, OnnxDimension[] dimensions, Func<SiteAdapter, DeviceTensor?> tensor) =>
        index >= 0 && has(_plan.Shapes[0][index]) ? PathInput(index, key, dimensions, adapter => adapter is null ? null : AdapterTensors.Of(tensor(adapter), _type)) : null;

    private string PathInput(int index, string key, OnnxDimension[] dimensions, Func<SiteAdapter?, GraphTensor?> tensor) => PathInput(index, key, _type, dimensions, tensor);

    private string PathInput(int index, string key, OnnxType type, OnnxDimension[] dimensions, Func<SiteAdapter?, GraphTensor?> tensor)
    {
        key = "path/" + key;
        if (_adapterInputs.TrueForAll(i => i.Name != key))
        {
            _graph.Input(key, type, dimensions);
            _adapterInputs.Add(new(key, 0, key, table => tensor(table[index])));
        }
        return key;
    }

    // A rank of zero is silently wrong on DirectML: where a path has no product, one of rank 1 adds zeros.
    private string LowRankInput(int group, int index, string key, OnnxDimension[] dimensions, int width, Func<SiteAdapter?, GraphTensor?> tensor)
    {
        string name = _plan.PathPerSequence ? StepNames.Of(_plan, group, key) : key;
        long[] one = [dimensions[0].Name is null ? width : 1, dimensions[0].Name is null ? 1 : width];
        if (_type == OnnxType.Float)
            _graph.Input<float>(name, _type, dimensions, one, new float[width]);
        else
            _graph.Input<Half>(name, _type, dimensions, one, new Half[width]);
        _adapterInputs.Add(new(name, group, key, table => tensor(table[index])));
        return name;
    }

    private static string WeightName(DeviceTensor weight, string form) => weight.Name + form;

    // A bottleneck's layers are sites of their own; the pass finds them in the path, so their tensors are known beforehand.
    private void DeclareBottlenecks(SiteCatalog sites)
    {
        foreach ((string name, int index) in sites.Bottlenecks)
            for (int i = 0; i < (_plan.Example[index]?.Bottlenecks?.Length ?? 0); i++)
            {
                int at = i;
                BottleneckStep step = _plan.Example[index]!.Bottlenecks![i];
                void Declare(string part, DeviceTensor tensor, OnnxDimension[] dimensions, Func<BottleneckStep, DeviceTensor> of) =>
                    _bottlenecks.TryAdd(tensor, PathInput(index, FormattableString.Invariant($"{name}.{at}.{part}"), dimensions, s => AdapterTensors.Of(of(s!.Bottlenecks![at]), _type)));
                string size = FormattableString.Invariant($"size of {name}.{at}");
                Declare("down.weight", step.Down.Weight, [size, step.Down.Inputs], s => s.Down.Weight);
                Declare("down.bias", step.Down.Bias!, [size], s => s.Down.Bias!);
                Declare("up.weight", step.Up.Weight, [step.Up.Outputs, size], s => s.Up.Weight);
                Declare("up.bias", step.Up.Bias!, [step.Up.Outputs], s => s.Up.Bias!);
            }
    }
}
