using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// A weight [O, I] of 16 or fewer bits an element in the order in which products read it: groups of 8 inputs of a panel of 16 outputs, in which the 16 outputs lie side by side. Q8_0: a byte an input;
/// Q4_0: an output's eight fields in a 32-bit word, signed; F16 and BF16: words of two inputs. Four panels (the last ones may be fewer) take turns group by group, for products read them together:
/// one stream of memory is half as fast again as four. The factors of quantised blocks lie before all panels in the same turns, 16 a block. The bytes are those of the stored form, but that O is
/// rounded up to 16 and I to 8 with zeros.
/// </summary>
internal sealed unsafe class PackedWeight
{
    /// <summary>Outputs of a panel.</summary>
    public const int Panel = 16;

    /// <summary>Panels that take turns.</summary>
    public const int Together = 4;

    /// <summary>Inputs of a group.</summary>
    public const int Group = 8;

    private const int Alignment = 64;
    private readonly byte[] _bytes;
    private volatile bool _special;

    private PackedWeight(DType type, int outputs, int inputs, long scales, long data)
    {
        (Type, Outputs, Inputs) = (type, outputs, inputs);
        _bytes = GC.AllocateUninitializedArray<byte>(checked((int)(scales + data + Alignment)), pinned: true);
        byte* start = (byte*)Unsafe.AsPointer(ref _bytes[0]);
        Scales = start + (Alignment - (nint)start % Alignment) % Alignment;
        Data = Scales + scales;
        MemoryAdvice.PreferHugePages(Scales, scales + data);
    }

    /// <summary>Type of the stored form.</summary>
    public DType Type { get; }

    /// <summary>O.</summary>
    public int Outputs { get; }

    /// <summary>I.</summary>
    public int Inputs { get; }

    /// <summary>Factors: F16 [four panels][block of 32 inputs][panel][16].</summary>
    public byte* Scales { get; }

    /// <summary>Groups: [four panels][group][panel][…].</summary>
    public byte* Data { get; }

    /// <summary>Bytes in memory.</summary>
    public long Bytes => _bytes.Length;

    /// <summary>Panels, the last one filled up.</summary>
    public int Panels => (Outputs + Panel - 1) / Panel;

    /// <summary>Groups of a panel, the last one filled up.</summary>
    public int Groups => (Inputs + Group - 1) / Group;

    /// <summary>Panels that take turns with this one, itself included.</summary>
    public int InTurn(int panel) => Math.Min(Together, Panels - panel / Together * Together);

    /// <summary>First group of a panel; from one to the next it is <see cref="InTurn"/> groups.</summary>
    public byte* FirstGroup(int panel, int groupBytes) => Data + ((long)(panel / Together * Together) * Groups + panel % Together) * groupBytes;

    /// <summary>First factors of a panel; from one block's to the next it is <see cref="InTurn"/> times 16.</summary>
    public ushort* FirstScales(int panel) => (ushort*)Scales + ((long)(panel / Together * Together) * (Inputs / 32) + panel % Together) * Panel;

    /// <summary>True where an element cannot be packed: an F16 that is infinite or no number. The weight is then used as stored.</summary>
    public bool Special => _special;

    /// <summary>Bytes of a group of a type.</summary>
    public static int GroupBytes(DType type) => type switch
    {
        DType.Q8_0 => PackedQ8_0.GroupBytes,
        DType.Q4_0 => PackedQ4_0.GroupBytes,
        DType.F16 => PackedF16.GroupBytes,
        _ => PackedBF16.GroupBytes,
    };

    /// <summary>Room for a weight; null where this type is read as stored, or for one that does not fit an array.</summary>
    public static PackedWeight? Allocate(DType type, int outputs, int inputs)
    {
        if (type is not (DType.F16 or DType.BF16 or DType.Q8_0 or DType.Q4_0))
            return null;
        long panels = (outputs + Panel - 1) / Panel, groups = (inputs + Group - 1) / Group;
        long scales = type.BlockSize() > 1 ? panels * (inputs / 32) * Panel * sizeof(ushort) : 0, data = panels * groups * GroupBytes(type);
        return scales + data + Alignment <= Array.MaxLength ? new(type, outputs, inputs, scales, data) : null;
    }

    /// <summary>Fills panels [<paramref name="first"/>, <paramref name="last"/>) from the stored form.</summary>
    public void Fill(byte* stored, int first, int last)
    {
        long rowBytes = Type.Bytes(Inputs);
        byte** rows = stackalloc byte*[Panel];
        for (int panel = first; panel < last; panel++)
        {
            for (int r = 0; r < Panel; r++)
                rows[r] = panel * Panel + r < Outputs ? stored + (long)(panel * Panel + r) * rowBytes : null;
            byte* data = FirstGroup(panel, GroupBytes(Type));
            int turns = InTurn(panel);
            switch (Type)
            {
                case DType.Q8_0:
                    PackPanel.Q8_0(rows, Inputs / 32, FirstScales(panel), data, turns);
                    break;
                case DType.Q4_0:
                    PackPanel.Q4_0(rows, Inputs / 32, FirstScales(panel), (uint*)data, turns);
                    break;
                default:
                    if (PackPanel.Halves(rows, Inputs, Groups, (uint*)data, turns, infinities: Type == DType.F16))
                        _special = true;
                    break;
            }
        }
    }
}
