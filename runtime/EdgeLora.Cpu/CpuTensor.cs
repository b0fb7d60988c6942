using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>An uploaded weight: shown in place, and packed when a linear layer, or a low-rank step as its B, first uses it. Its bytes never change.</summary>
internal sealed unsafe class CpuTensor(Tensor tensor) : HostTensor(tensor)
{
    private bool _asStored;

    /// <summary>The packed form; null until a layer has used it, and for a weight that is used as stored.</summary>
    public PackedWeight? Packed { get; private set; }

    /// <summary>The form in which a low-rank step reads it as its B; null until one has used it, and where it is used as stored.</summary>
    public PackedColumns? Columnwise { get; private set; }

    /// <summary>Bytes of the packed forms, and of the stored one where it is no mapped file.</summary>
    public override long AllocatedBytes => Packed is null && Columnwise is null ? ByteLength : (Packed?.Bytes ?? 0) + (Columnwise?.Bytes ?? 0) + (IsMapped ? 0 : ByteLength);

    /// <summary>Room to pack it as a step's B, to be filled; null where it is packed, or used as stored: what is no mapped file would lie in memory twice.</summary>
    public PackedColumns? ColumnsToFill() => Columnwise is null && IsMapped ? PackedColumns.Allocate(Type, (int)Shape[0], Columns) : null;

    /// <summary>Takes what was filled, as <see cref="Fill(PackedWeight)"/>.</summary>
    public void Fill(PackedColumns columns)
    {
        Columnwise = columns;
        MemoryAdvice.ReleaseMapped(Pointer.Bytes(this), ByteLength);
    }

    /// <summary>Room to pack it as [O, I], to be filled; null where it is packed, or used as stored.</summary>
    /// <param name="rounded">For products with rounded inputs, where the type has them.</param>
    public PackedWeight? ToFill(bool rounded) => Packed is not null || _asStored ? null : PackedWeight.Allocate(Type, (int)Shape[0], Columns, rounded) ?? AsStored();

    /// <summary>Takes what was filled. From then on the stored form is read only for single rows and by training, so its mapped pages need not stay in memory.</summary>
    public void Fill(PackedWeight packed)
    {
        if (packed.Special)
        {
            AsStored();
            return;
        }
        Packed = packed;
        if (IsMapped)
            MemoryAdvice.ReleaseMapped(Pointer.Bytes(this), ByteLength);
    }

    private PackedWeight? AsStored()
    {
        _asStored = true;
        return null;
    }
}
