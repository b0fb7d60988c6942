using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// B [O, R] of a frozen low-rank step in the order in which <c>y += s·B·u</c> reads it: panels of 16 outputs, and in a panel rank after rank those 16 side by side, in the stored type. The bytes are those of
/// the stored form, but that O is rounded up to 16 with zeros. Stored as B is, its columns had to be put together anew for every token.
/// </summary>
internal sealed unsafe class PackedColumns
{
    /// <summary>Outputs of a panel.</summary>
    public const int Panel = 16;

    private const int Alignment = 64;
    private readonly byte[] _bytes;
    private readonly int _outputs;

    private PackedColumns(DType type, int outputs, int rank)
    {
        (Type, _outputs, Rank) = (type, outputs, rank);
        _bytes = GC.AllocateUninitializedArray<byte>(checked((int)(Panels * PanelBytes + Alignment)), pinned: true);
        byte* start = (byte*)Unsafe.AsPointer(ref _bytes[0]);
        Data = start + (Alignment - (nint)start % Alignment) % Alignment;
    }

    /// <summary>Type of the stored form: F32, F16 or BF16.</summary>
    public DType Type { get; }

    /// <summary>R.</summary>
    public int Rank { get; }

    /// <summary>[panel][rank][16].</summary>
    public byte* Data { get; }

    /// <summary>Bytes in memory.</summary>
    public long Bytes => _bytes.Length;

    /// <summary>Panels, the last one filled up.</summary>
    public int Panels => (_outputs + Panel - 1) / Panel;

    /// <summary>Bytes of a panel.</summary>
    public long PanelBytes => Type.Bytes((long)Rank * Panel);

    /// <summary>Room for a B [<paramref name="outputs"/>, <paramref name="rank"/>]; null where this type is read as stored, or for one that does not fit an array.</summary>
    public static PackedColumns? Allocate(DType type, int outputs, int rank) =>
        type is DType.F32 or DType.F16 or DType.BF16 && type.Bytes(((long)outputs + Panel) * rank) + Alignment <= Array.MaxLength ? new(type, outputs, rank) : null;

    /// <summary>Fills panels [<paramref name="first"/>, <paramref name="last"/>) from the stored form.</summary>
    public void Fill(byte* stored, int first, int last)
    {
        for (int panel = first; panel < last; panel++)
        {
            byte* from = stored + panel * PanelBytes, to = Data + panel * PanelBytes;
            int rows = Math.Min(Panel, _outputs - panel * Panel);
            if (rows < Panel)
                new Span<byte>(to, (int)PanelBytes).Clear();
            if (Type == DType.F32)
                Transpose.Scaled((float*)from, rows, Rank, 1, (float*)to, Panel);
            else
                for (int r = 0; r < Rank; r++)
                    for (int o = 0; o < rows; o++)
                        ((ushort*)to)[r * Panel + o] = ((ushort*)from)[o * Rank + r];
        }
    }
}
