using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// A weight [O, I] of 16 or fewer bits an element in the order in which products read it: groups of 8, 16 or 32 inputs of a panel of 16 outputs, in which the 16 outputs lie side by side. Q8_0: a byte an input;
/// F16 and BF16: words of two inputs; the others: words of as many fields as fit (<see cref="IPackedType"/>). Four panels (the last ones may be fewer) take turns step by step (<see cref="IPackedType"/>), for products read
/// them together: one stream of memory is half as fast again as four. The factors of quantised groups lie before all panels in the same turns (<see cref="PackedLayout"/>). The bytes are those of the stored form, but that
/// O is rounded up to 16 and I of floats to 8 with zeros, and that a few types take a little more: Q4_K 4.625 bits an element for 4.5 (its scales whole bytes), Q5_K 5.625 for 5.5, Q3_K 3.5625 for 3.4375, IQ4_XS
/// 4.3125 for 4.25 and TQ1_0 2.0625 for 1.6875.
/// </summary>
internal sealed unsafe class PackedWeight
{
    /// <summary>Outputs of a panel.</summary>
    public const int Panel = 16;

    /// <summary>Panels that take turns.</summary>
    public const int Together = 4;

    private const int Alignment = 64;
    private readonly byte[] _bytes;
    private volatile bool _special;

    private PackedWeight(DType type, PackedLayout layout, int outputs, int inputs, int roundedWords, long records, long data)
    {
        (Type, Layout, Outputs, Inputs, RoundedWords) = (type, layout, outputs, inputs, roundedWords);
        _bytes = GC.AllocateUninitializedArray<byte>(checked((int)(records + data + Alignment)), pinned: true);
        byte* start = (byte*)Unsafe.AsPointer(ref _bytes[0]);
        Records = start + (Alignment - (nint)start % Alignment) % Alignment;
        Data = Records + records;
        MemoryAdvice.PreferHugePages(Records, records + data);
    }

    /// <summary>Type of the stored form.</summary>
    public DType Type { get; }

    /// <summary>How it is laid out.</summary>
    public PackedLayout Layout { get; }

    /// <summary>O.</summary>
    public int Outputs { get; }

    /// <summary>I.</summary>
    public int Inputs { get; }

    /// <summary>What its products read of a group of the input: words of <see cref="RoundedRows"/>; 0: floats. Q8_0 then has pairs of inputs side by side, [4 pairs][16 outputs][2] in a step, and five bits are words of 8 low ones and a word of 32 high ones (<see cref="IIntegerType"/>).</summary>
    public int RoundedWords { get; }

    /// <summary>Factors: [four panels][span of inputs][panel][record].</summary>
    public byte* Records { get; }

    /// <summary>Groups: [four panels][group][step][panel][…].</summary>
    public byte* Data { get; }

    /// <summary>Bytes in memory.</summary>
    public long Bytes => _bytes.Length;

    /// <summary>Panels, the last one filled up.</summary>
    public int Panels => (Outputs + Panel - 1) / Panel;

    /// <summary>Groups of a panel, the last one filled up.</summary>
    public int Groups => (Inputs + Layout.Group - 1) / Layout.Group;

    /// <summary>Inputs, the last group filled up.</summary>
    public int PaddedInputs => Groups * Layout.Group;

    /// <summary>Panels that take turns with this one, itself included.</summary>
    public int InTurn(int panel) => Math.Min(Together, Panels - panel / Together * Together);

    /// <summary>First step of a panel; from one to the next it is <see cref="InTurn"/> steps.</summary>
    public byte* FirstStep(int panel) => Data + (long)(panel / Together * Together) * Groups * Layout.GroupBytes + panel % Together * Layout.StepBytes;

    /// <summary>First record of a panel; from one to the next it is <see cref="InTurn"/> records.</summary>
    public byte* FirstRecord(int panel) => Records + ((long)(panel / Together * Together) * (Inputs / Layout.Span) + panel % Together) * Layout.RecordBytes;

    /// <summary>True where an element or a factor cannot be packed: an F16 that is infinite or no number. The weight is then used as stored.</summary>
    public bool Special => _special;

    /// <summary>Room for a weight, for products with rounded inputs where the type has them and that is wanted; null where this type is read as stored, or for one that does not fit an array.</summary>
    public static PackedWeight? Allocate(DType type, int outputs, int inputs, bool rounded)
    {
        if (PackedLayout.Of(type) is not { } layout)
            return null;
        long panels = (outputs + Panel - 1) / Panel, groups = (inputs + layout.Group - 1) / layout.Group;
        long records = layout.Span > 0 ? panels * (inputs / layout.Span) * layout.RecordBytes : 0, data = panels * groups * layout.GroupBytes;
        return records + data + Alignment <= Array.MaxLength ? new(type, layout, outputs, inputs, rounded ? RoundedRows.Words(type) : 0, records, data) : null;
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
            byte* data = FirstStep(panel);
            int turns = InTurn(panel);
            bool special = Type switch
            {
                DType.F16 or DType.BF16 => PackPanel.Halves(rows, Inputs, Groups, (uint*)data, turns) && Type == DType.F16,
                DType.Q8_0 when RoundedWords > 0 => PackPanel.Q8_0Pairs(rows, Inputs / 32, (ushort*)FirstRecord(panel), data, turns),
                DType.Q8_0 => PackPanel.Q8_0(rows, Inputs / 32, (ushort*)FirstRecord(panel), data, turns),
                DType.Q4_0 => PackPanel.Q4_0(rows, Inputs / 32, (ushort*)FirstRecord(panel), (uint*)data, turns),
                _ => PackBlocks.Run(Type, Layout, rows, Inputs, FirstRecord(panel), data, turns, planes: RoundedWords > 0 && Layout.Bits == 5),
            };
            if (special)
                _special = true;
        }
    }
}
