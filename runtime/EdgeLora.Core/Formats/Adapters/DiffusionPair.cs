namespace EdgeLora.Core;

/// <summary>One site of a diffusion adapter that is to be written.</summary>
/// <param name="Module">Component and module: <c>unet.conv_in</c>.</param>
/// <param name="A">[R, I(, k, k)].</param>
/// <param name="B">[O, R(, 1, 1)].</param>
/// <param name="Alpha">alpha, of which s is alpha/R.</param>
/// <param name="Magnitude">DoRA's m [O], or null.</param>
internal sealed record DiffusionPair(string Module, Tensor A, Tensor B, double Alpha, Tensor? Magnitude)
{
    /// <summary>R.</summary>
    public int Rank => (int)A.Shape[0];

    /// <summary>s.</summary>
    public double Scale => Alpha / Rank;

    /// <summary>All sites of an adapter in ordinal order. What is none, and what no diffusion format can hold, is added to <paramref name="refusals"/>.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="held">What the format holds beside s·B·A.</param>
    /// <param name="title">What messages call the format.</param>
    /// <param name="refusals">Where reasons go.</param>
    public static List<DiffusionPair> Of(PeftAdapter adapter, AdapterTraits held, string title, List<string> refusals)
    {
        AdapterContents.Refuse(adapter, held, title, refusals);
        List<DiffusionPair> pairs = [];
        foreach (PeftModule module in adapter.Modules.Values)
        {
            if (module[PeftPart.A] is not { } a || module[PeftPart.B] is not { } b)
            {
                if (module[PeftPart.A] is not null || module[PeftPart.B] is not null)
                    refusals.Add($"{module.Name}.{PeftAdapter.LabelOf(module[PeftPart.A] is null ? PeftPart.A : PeftPart.B)}: is missing");
                continue;
            }
            if (a.Shape.Rank < 2 || a.Shape.Rank != b.Shape.Rank || a.Shape[0] != b.Shape[1] || a.Shape[0] < 1 || b.Shape.Elements != b.Shape[0] * b.Shape[1])
                refusals.Add($"{module.Name}: expected A [rank, inputs(, kernel)] and B [outputs, rank(, 1, 1)], found {a.Shape} and {b.Shape}");
            else if (LowRankPair.Fault(adapter.Config, module, a) is { } fault)
                refusals.Add(fault);
            else if (DiffusionSites.Split(module.Name) is null)
                refusals.Add($"{module.Name}: is no module of a diffusion pipeline: expected a name that begins with {string.Join(", ", DiffusionSites.Components)}");
            else
                pairs.Add(new(module.Name, a, b, AlphaOf(adapter.Config, module.Name, (int)a.Shape[0]), module[PeftPart.Magnitude]));
        }
        if (pairs.Count == 0 && refusals.Count == 0)
            refusals.Add("holds no low-rank pair");
        return pairs;
    }

    // alpha itself where the scale is alpha/r: its quotient and product need not be alpha again.
    private static double AlphaOf(PeftConfig config, string module, int rank) => config.UseRslora ? config.ScaleOf(module, rank) * rank : config.AlphaOf(module);
}
