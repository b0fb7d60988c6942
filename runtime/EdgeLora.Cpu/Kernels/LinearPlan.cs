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
        ProductCount = BaseCount = FinishCount = MaskCount = SiteCount = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Down.Dispose();
        Masked.Dispose();
    }
}
