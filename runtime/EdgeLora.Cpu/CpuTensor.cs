using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>An uploaded weight: shown in place, and packed when a linear layer first uses it. Its bytes never change.</summary>
internal sealed unsafe class CpuTensor(Tensor tensor) : HostTensor(tensor)
{
    private bool _asStored;

    /// <summary>The packed form; null until a layer has used it, and for a weight that is used as stored.</summary>
    public PackedWeight? Packed { get; private set; }

    /// <summary>Bytes of the packed form, and of the stored one where it is no mapped file.</summary>
    public override long AllocatedBytes => Packed is null ? ByteLength : Packed.Bytes + (IsMapped ? 0 : ByteLength);

    /// <summary>Room to pack it as [O, I], to be filled; null where it is packed, or used as stored.</summary>
    public PackedWeight? ToFill() => Packed is not null || _asStored ? null : PackedWeight.Allocate(Type, (int)Shape[0], Columns) ?? AsStored();

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
