namespace EdgeLora.Core;

// Layout, per module: weight F8 [O, I] (e4m3fn, e5m2 or their fnuz forms) and a factor, multiplied whatever its name says:
//   weight_scale_inv (DeepSeek, transformers fp8) or weight_scale (fbgemm, compressed-tensors, ModelOpt):
//   one number; [O] or [O, 1]; or [ceil(O/b0), ceil(I/b1)] for blocks of weight_block_size. W = f8·scale in F32

/// <summary>8-bit floats with a scale per tensor, per row or per block; without one they mean themselves and are F16, which holds them exactly.</summary>
internal sealed class ScaledFloat8 : QuantizationScheme
{
    private readonly int[]? _block;

    /// <param name="block">Rows and columns of a block, where scales are per block.</param>
    public ScaledFloat8(int[]? block)
    {
        _block = block;
        if (block is not null)
            Facts.Add(("quantBlock", $"{block[0]}x{block[1]}"));
        Facts.Add(("quantBits", 8));
    }

    public override string Name => "FP8";

    public override string Marker => ".weight";

    public override bool Takes(string module, Tensor marker) => Float8.IsWeight(marker.Type);

    public override Tensor Read(string module, PackedModule tensors)
    {
        Tensor weight = tensors.Take("weight", null, null);
        if (!Float8.IsWeight(weight.Type))
            throw tensors.Fault($"weight: expected an 8-bit float, found {weight.Type}");
        string name = module + ".weight";
        Tensor? scale = tensors.Find("weight_scale_inv") ?? tensors.Find("weight_scale");
        if (scale is null)
            return ComputedWeight.Of(name, DType.F16, weight.Shape, storage => QuantBlocks.FromFloats(DType.F16, weight.ToFloats(), storage.Writable));
        int width = weight.Shape.Columns;
        long rows = weight.Shape.Elements / Math.Max(1, width);
        float[] factors = scale.ToFloats();
        int block0 = 1, block1 = width, across = 1;
        if (factors.Length == 1)
            block0 = checked((int)rows);
        else if (factors.Length != rows || (scale.Shape.Rank > 1 && scale.Shape.Columns > 1))
        {
            (block0, block1) = _block is { } sides ? (sides[0], sides[1]) : throw tensors.Fault($"{scale.Name}: {scale.Shape} scales of {weight.Shape} are blocks, whose size weight_block_size does not say");
            across = (width + block1 - 1) / block1;
            tensors.Expect(scale, (rows + block0 - 1) / block0, across);
        }
        return ComputedWeight.Of(name, weight.Shape, (row, to) =>
        {
            ReadOnlySpan<float> table = Float8.Values(weight.Type);
            ReadOnlySpan<byte> bytes = weight.Bytes.Slice(row * width, width);
            for (int i = 0; i < to.Length; i++)
                to[i] = table[bytes[i]] * factors[row / block0 * across + i / block1];
        });
    }
}
