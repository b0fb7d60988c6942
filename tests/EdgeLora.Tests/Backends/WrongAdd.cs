using EdgeLora.Core;

namespace EdgeLora.Tests.Backends;

/// <summary>The reference, but that it adds the second operand twice; it cannot train.</summary>
internal sealed class WrongAdd : IComputeBackend
{
    private readonly ReferenceBackend _right = new();

    public string Name => "wrong";

    public string Description => "a reference that cannot add";

    public DeviceTensor Upload(Tensor tensor) => _right.Upload(tensor);

    public DeviceTensor Allocate(string name, DType type, Shape shape) => _right.Allocate(name, type, shape);

    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) => _right.Write(values, destination, row);

    public void Read(DeviceTensor source, int row, Span<float> destination) => _right.Read(source, row, destination);

    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) => _right.Copy(source, sourceRow, destination, destinationRow, rows);

    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1) => _right.CopyColumns(rows, source, sourceColumn, destination, destinationColumn, columns, pieces);

    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y) => _right.Embed(batch, site, y);

    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => _right.Linear(batch, site, x, y);

    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => _right.RmsNorm(batch, site, x, y);

    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => _right.LayerNorm(batch, site, x, y);

    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => _right.Rope(rows, headSize, pairs, cos, sin, x);

    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => _right.StoreKeyValues(batch, layer, keys, values);

    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y) => _right.Attention(batch, layer, shape, q, y);

    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => _right.GatedActivation(rows, kind, gate, up, y);

    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y) => _right.Activate(rows, kind, x, y);

    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y) => _right.Scale(rows, factor, x, y);

    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights) => _right.Route(rows, k, renormalise, logits, weights);

    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y) => _right.GatherRows(rows, x, y);

    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y) => _right.AddRows(count, rows, weights, column, x, y);

    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        _right.Add(rows, x, y, z);
        _right.Add(rows, z, y, z);
    }

    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => _right.DoraGain(site, magnitude, norms, gain);

    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y) => _right.TopK(rows, k, x, y);

    public void Dispose() => _right.Dispose();
}
