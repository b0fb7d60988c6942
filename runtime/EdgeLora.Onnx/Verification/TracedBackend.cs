using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>The result of one op of a forward pass.</summary>
/// <param name="Name">Which op, as <see cref="OpNames"/>.</param>
/// <param name="Values">[rows, width].</param>
internal readonly record struct OpResult(string Name, float[] Values);

/// <summary>A backend that runs another one's ops and keeps what each of them gave.</summary>
internal sealed class TracedBackend(IComputeBackend inner) : IComputeBackend
{
    /// <summary>What the ops gave, in order.</summary>
    public List<OpResult> Results { get; } = [];

    public string Name => inner.Name;

    public string Description => inner.Description;

    public DeviceTensor Upload(Tensor tensor) => inner.Upload(tensor);

    public DeviceTensor Allocate(string name, DType type, Shape shape) => inner.Allocate(name, type, shape);

    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) => inner.Write(values, destination, row);

    public void Read(DeviceTensor source, int row, Span<float> destination) => inner.Read(source, row, destination);

    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) => inner.Copy(source, sourceRow, destination, destinationRow, rows);

    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        inner.CopyColumns(rows, source, sourceColumn, destination, destinationColumn, columns, pieces);
        Keep(OpNames.Columns(source, destination), destination, rows);
    }

    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        inner.Embed(batch, site, y);
        Keep(site.Name, y, batch.Rows);
    }

    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y)
    {
        inner.Linear(batch, site, x, y);
        Keep(site.Name, y, batch.Rows);
    }

    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y)
    {
        inner.RmsNorm(batch, site, x, y);
        Keep(site.Name, y, batch.Rows);
    }

    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y)
    {
        inner.LayerNorm(batch, site, x, y);
        Keep(site.Name, y, batch.Rows);
    }

    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x)
    {
        inner.Rope(rows, headSize, pairs, cos, sin, x);
        Keep(OpNames.Rope(x), x, rows);
    }

    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => inner.StoreKeyValues(batch, layer, keys, values);

    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        inner.Attention(batch, layer, shape, q, y);
        Keep(OpNames.Attention(layer), y, batch.Rows);
    }

    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y)
    {
        inner.GatedActivation(rows, kind, gate, up, y);
        Keep(OpNames.Gated(kind), y, rows);
    }

    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        inner.Activate(rows, kind, x, y);
        Keep(OpNames.Activate(kind), y, rows);
    }

    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y)
    {
        inner.Scale(rows, factor, x, y);
        Keep(OpNames.Scale(x), y, rows);
    }

    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        // Before z is written, which may be x or y.
        string name = OpNames.Add(x, y);
        inner.Add(rows, x, y, z);
        Keep(name, z, rows);
    }

    // Not as immediate as the inner one: what is compared is a graph's way, in which every expert runs every row.
    public bool IsImmediate => false;

    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        inner.Route(rows, k, renormalise, logits, weights);
        Keep(OpNames.Route, weights, rows);
    }

    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y) => inner.GatherRows(rows, x, y);

    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        inner.AddRows(count, rows, weights, column, x, y);
        Keep(OpNames.AddRows(x, y), y, count);
    }

    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => inner.DoraGain(site, magnitude, norms, gain);

    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y) => inner.TopK(rows, k, x, y);

    // The inner backend is its owner's.
    public void Dispose() { }

    private void Keep(string name, DeviceTensor tensor, int rows)
    {
        float[] values = new float[rows * tensor.Columns];
        inner.Read(tensor, 0, values);
        Results.Add(new(name, values));
    }
}
