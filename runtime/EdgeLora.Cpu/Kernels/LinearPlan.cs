using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>The products and finishing steps of one call, as the pool's threads see them. Refilled for every call, allocates only while it grows.</summary>
internal sealed unsafe class LinearPlan(Scratch[] scratch) : IDisposable
{
    /// <summary>Matrix products.</summary>
    public Product[] Products = new Product[8];

    /// <summary>One for every path of the batch.</summary>
    public Finish[] Finishes = new Finish[4];

    /// <summary>Products in use: base products, then A·x of the steps.</summary>
    public int ProductCount;

    /// <summary>Base products.</summary>
    public int BaseCount;

    /// <summary>Finishes in use.</summary>
    public int FinishCount;

    /// <summary>Sites.</summary>
    public int SiteCount;

    /// <summary>Scratch of every part.</summary>
    public readonly Scratch[] Scratch = scratch;

    /// <summary>u = A·x of all steps.</summary>
    public readonly Scratch Down = new();

    /// <summary>Inputs of steps with dropout.</summary>
    public MaskedRows[] Masks = new MaskedRows[4];

    /// <summary>Masks in use.</summary>
    public int MaskCount;

    /// <summary>What masks write.</summary>
    public readonly Scratch Masked = new();

    /// <summary>The input's first row.</summary>
    public float* X;

    /// <summary>Floats from one row of the input to the next.</summary>
    public long XStride;

    /// <summary>Inputs.</summary>
    public int Inputs;

    /// <summary>Rows of the input, those between groups too.</summary>
    public int RowCount;

    /// <summary>Whether a base product reads the input rounded to 8 bits, and to 16.</summary>
    public bool RoundedTo8, RoundedTo16;

    private readonly Scratch _rounded8 = new(), _rounded16 = new();

    /// <summary>Room for the rounded rows that are wanted.</summary>
    public void ReserveRounded()
    {
        if (RoundedTo8)
            _rounded8.Reserve(RowCount * RowWords(8));
        if (RoundedTo16)
            _rounded16.Reserve(RowCount * RowWords(16));
    }

    /// <summary>Row <paramref name="row"/> of the input in so many words a group.</summary>
    public int* Row(int row, int words) => (int*)(words == 8 ? _rounded8 : _rounded16).Reserve(0) + row * RowWords(words);

    /// <summary>32-bit words of a rounded row.</summary>
    public long RowWords(int words) => Inputs / RoundedRows.Group * (long)RoundedRows.Stride(words);

    /// <summary>Appends a product.</summary>
    public ref Product AddProduct() => ref Growing.Append(ref Products, ref ProductCount);

    /// <summary>Appends a finish.</summary>
    public ref Finish AddFinish() => ref Growing.Append(ref Finishes, ref FinishCount);

    /// <summary>Appends a mask.</summary>
    public ref MaskedRows AddMask() => ref Growing.Append(ref Masks, ref MaskCount);

    /// <summary>Forgets the call, so that adapters may be collected.</summary>
    public void Clear()
    {
        Array.Clear(Products, 0, ProductCount);
        Array.Clear(Finishes, 0, FinishCount);
        Array.Clear(Masks, 0, MaskCount);
        ProductCount = BaseCount = FinishCount = MaskCount = SiteCount = RowCount = 0;
        RoundedTo8 = RoundedTo16 = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Down.Dispose();
        Masked.Dispose();
        _rounded8.Dispose();
        _rounded16.Dispose();
    }
}
