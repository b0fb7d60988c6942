using System.Diagnostics;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// Attention over the KV caches and rotary positions. How long sequences are is the control block's: no dispatch changes while they grow.
public sealed unsafe partial class VulkanBackend
{
    // As in shaders/common/attention.glsl and the shaders that use attention_tile.glsl.
    private const int Splits = 16, TileRows = 32, BackwardTileRows = 16, MaxHeadSize = 512;

    // From this many rows a sequence on, rows share keys and values; from this many (row, head) on, a workgroup each keeps a device busy.
    private const int ManyRows = 8, ManyHeads = 1024;

    // The most workgroups of a dimension that every device takes; shaders go on in strides.
    private const int MaxGroups = 65535;

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values)
    {
        Debug.Assert(keys.Columns == values.Columns, $"store: {keys}, {values}");
        bool quads = keys.Columns % 4 == 0;
        Dispatch(_kernels["store_key_values", quads ? 1u : 0], new StorePush(Batch(batch), Of(keys).Address, Of(values).Address, (uint)layer, (uint)batch.Rows, (uint)keys.Columns),
            Groups((long)batch.Rows * keys.Columns / (quads ? 4 : 1)), 1, 1, Access.Read(Of(keys)), Access.Read(Of(values)), Access.IndirectWrite);
    }

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        Debug.Assert(q.Columns == shape.Heads * shape.HeadSize && y.Columns == q.Columns && !ReferenceEquals(q, y), $"attention: {q} -> {y}");
        CheckHead(shape);
        uint size = (uint)shape.HeadSize;
        AttentionPush push = Push(batch, layer, shape, q, y);
        if (batch.Rows >= ManyRows * batch.Sequences.Length)
        {
            Dispatch(_kernels["attention", size], push, shape.Heads, Tiles(batch.Rows, TileRows), 1, Access.Read(Of(q)), Slopes(shape, q), Access.Write(Of(y)), Access.Indirect);
            return;
        }
        int rows = Math.Min(batch.Rows, MaxGroups);
        if ((long)batch.Rows * shape.Heads >= ManyHeads)
        {
            Dispatch(_kernels["attention_row", size], push, 1, shape.Heads, rows, Access.Read(Of(q)), Slopes(shape, q), Access.Write(Of(y)), Access.Indirect);
            return;
        }
        // Few heads: each is shared out by positions.
        VulkanTensor partials = Scratch(batch.Rows * shape.Heads * Splits * ((shape.HeadSize + 3) / 4 * 4 + 4));
        push = push with { Scratch = partials.Address };
        Dispatch(_kernels["attention_row", size, 1], push, Splits, shape.Heads, rows, Access.Read(Of(q)), Slopes(shape, q), Access.Write(partials), Access.Indirect);
        Dispatch(_kernels["attention_merge", size], push, shape.Heads, rows, 1, Access.Read(partials), Access.Write(Of(y)));
    }

    /// <inheritdoc/>
    public void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv)
    {
        Debug.Assert(q.Columns == dy.Columns && q.Columns == dq.Columns && dk.Columns == dv.Columns && dk.Columns == shape.KvHeads * shape.HeadSize, $"attention: {q}, {dy} -> {dq}, {dk}, {dv}");
        CheckHead(shape);
        foreach (SequenceSpan sequence in batch.Sequences)
            if (sequence.Past != 0)
                throw new ArgumentException($"the backward of attention knows no past: expected 0 tokens, found {sequence.Past}", nameof(batch));
        VulkanTensor statistics = Scratch(batch.Rows * shape.Heads * 4);
        AttentionPush push = Push(batch, layer, shape, q, dq) with { Scratch = statistics.Address, Dy = Of(dy).Address, Dk = Of(dk).Address, Dv = Of(dv).Address };
        int tiles = Tiles(batch.Rows, BackwardTileRows);
        Dispatch(_kernels["attention_backward_q", (uint)shape.HeadSize], push, shape.Heads, tiles, 1, Access.Read(Of(q)), Slopes(shape, q), Access.Read(Of(dy)), Access.Write(Of(dq)), Access.Write(statistics), Access.Indirect);
        Dispatch(_kernels["attention_backward_kv", (uint)shape.HeadSize], push, shape.KvHeads, tiles, 1, Access.Read(Of(q)), Slopes(shape, q), Access.Read(Of(dy)), Access.Read(statistics), Access.Write(Of(dk)), Access.Write(Of(dv)), Access.Indirect);
    }

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => Rotate(rows, headSize, pairs, cos, sin, x, 1);

    /// <inheritdoc/>
    public void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy) => Rotate(rows, headSize, pairs, cos, sin, dy, -1);

    private void Rotate(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x, float sign)
    {
        Debug.Assert(x.Columns % headSize == 0 && 2 * cos.Columns <= headSize && cos.Columns == sin.Columns, $"rope: {x} by {cos}, {sin}");
        int heads = x.Columns / headSize;
        Dispatch(_kernels["rope", pairs == RopePairs.Adjacent ? 1u : 0], new RopePush(Of(x).Address, Of(cos).Address, Of(sin).Address, (uint)rows, (uint)heads, (uint)headSize, (uint)cos.Columns, sign),
            Groups((long)rows * heads * cos.Columns), 1, 1, Access.Read(Of(cos)), Access.Read(Of(sin)), Access.Write(Of(x)));
    }

    private AttentionPush Push(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y) => new(
        Batch(batch), Of(q).Address, Of(y).Address, 0, 0, 0, 0, shape.Slopes is null ? 0 : Of(shape.Slopes).Address,
        (uint)layer, (uint)batch.Rows, (uint)shape.Heads, (uint)shape.KvHeads, (uint)shape.Window, shape.Causal ? 1u : 0, shape.Scale, shape.Cap, shape.Cap > 0 ? 1 / shape.Cap : 0);

    // Without slopes, nothing more to wait for than q.
    private static Access Slopes(in AttentionShape shape, DeviceTensor q) => Access.Read(Of(shape.Slopes ?? q));

    private static int Tiles(int rows, int tile) => Math.Min((rows + tile - 1) / tile, MaxGroups);

    private static void CheckHead(in AttentionShape shape)
    {
        if (shape.HeadSize > MaxHeadSize)
            throw new NotSupportedException($"attention: heads of {shape.HeadSize}; expected at most {MaxHeadSize}");
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct StorePush(ulong Batch, ulong Keys, ulong Values, uint Layer, uint Rows, uint Width);

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct RopePush(ulong X, ulong Cos, ulong Sin, uint Rows, uint Heads, uint HeadSize, uint Pairs, float Sign);

    // Of every attention shader: shaders/common/attention.glsl.
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct AttentionPush(
        ulong Batch, ulong Q, ulong Y, ulong Scratch, ulong Dy, ulong Dk, ulong Dv, ulong Slopes, uint Layer, uint Rows, uint Heads, uint KvHeads, uint Window, uint Causal, float Scale, float Cap, float InverseCap);
}
