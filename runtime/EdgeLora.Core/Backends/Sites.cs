namespace EdgeLora.Core;

/// <summary>Where an adapter may act: one linear layer of the base with the index that <see cref="SiteTable"/> uses.</summary>
/// <param name="Name">Module name, verbatim: <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Index">Index of the site in every <see cref="SiteTable"/> of the model.</param>
/// <param name="Weight">W: [O, I], or [I, O] when <paramref name="InputMajor"/> (GPT-2's Conv1D). Any weight type.</param>
/// <param name="Bias">[O] F32-readable (F32, F16, BF16), or null where the base has none.</param>
/// <param name="InputMajor">True when the stored weight is [I, O].</param>
public sealed record LinearSite(string Name, int Index, DeviceTensor Weight, DeviceTensor? Bias, bool InputMajor)
{
    /// <summary>I: width of the input.</summary>
    public int Inputs => InputMajor ? (int)Weight.Shape[0] : Weight.Columns;

    /// <summary>O: width of the output.</summary>
    public int Outputs => InputMajor ? Weight.Columns : (int)Weight.Shape[0];
}

/// <summary>A norm of the base. Adapters may replace its gain and bias (modules_to_save, bias=all).</summary>
/// <param name="Name">Module name, verbatim.</param>
/// <param name="Index">Index of the site in every <see cref="SiteTable"/>.</param>
/// <param name="Gain">[W·Heads], W the width that is normalised; F32, F16 or BF16.</param>
/// <param name="Bias">[W·Heads] for a LayerNorm with bias, else null.</param>
/// <param name="Epsilon">Added to the mean square (RmsNorm) or the variance (LayerNorm).</param>
/// <param name="Heads">1: all pieces of a row have the same gains. Else each of so many heads has its own.</param>
/// <param name="Offset">Added to every gain: 1 where a checkpoint holds gains less one (Gemma).</param>
public sealed record NormSite(string Name, int Index, DeviceTensor Gain, DeviceTensor? Bias, float Epsilon, int Heads = 1, float Offset = 0)
{
    /// <summary>Gains: W·Heads.</summary>
    public int Gains => checked((int)Gain.Shape.Elements);

    /// <summary>Width that is normalised: a row is normalised in Columns / Width independent pieces (heads).</summary>
    public int Width => Gains / Heads;
}

/// <summary>A table of embeddings.</summary>
/// <param name="Name">Module name, verbatim.</param>
/// <param name="Index">Index of the site in every <see cref="SiteTable"/>.</param>
/// <param name="Table">[V, D], any weight type.</param>
public sealed record EmbeddingSite(string Name, int Index, DeviceTensor Table);

/// <summary>
/// One low-rank step of a path at one site, applied in path order to the output y that is still without bias:
/// <c>y ← gain ∘ (y + scale·B·(A·x) + scale·outputBias)</c>. For an embedding A is [R, V] and A·x is its column of the token.
/// </summary>
/// <param name="A">[R, I]; F32, F16 or BF16.</param>
/// <param name="B">[O, R].</param>
/// <param name="Rank">R.</param>
/// <param name="Scale">s: alpha/r or alpha/√r, times the path's own strength.</param>
/// <param name="OutputBias">lora_bias [O], scaled like B; or null.</param>
/// <param name="Gain">DoRA: m/‖W + Σ s·B·A‖ per output [O] F32, resolved when the path was built; or null.</param>
/// <param name="Dropout">Training: which inputs of A are dropped; null: none. Embeddings know no dropout.</param>
public sealed record LowRankStep(DeviceTensor A, DeviceTensor B, int Rank, float Scale, DeviceTensor? OutputBias = null, DeviceTensor? Gain = null, Dropout? Dropout = null);

/// <summary>What DoRA's gain of one adapter at one site is made from. arXiv:2402.09353.</summary>
/// <param name="Name">Module name, verbatim.</param>
/// <param name="Weight">W beneath the adapter: [O, I], or [I, O] when <paramref name="InputMajor"/>. Any weight type.</param>
/// <param name="InputMajor">True where the rows of the stored weight are inputs: Conv1D, and tables [V, D], whose inputs are tokens.</param>
/// <param name="Rows">Rows of the stored weight that others stand in place of; or null.</param>
/// <param name="Deltas">The adapter's own steps: A [R, I], B [O, R], rank and scale are looked at.</param>
public sealed record DoraSite(string Name, DeviceTensor Weight, bool InputMajor, ReplacedRows? Rows, LowRankStep[] Deltas);

/// <summary>
/// A bottleneck adapter, a step of a path at the output h of attention or feed-forward: <c>h ← h + up(f(down(h)))</c>. arXiv:1902.00751, arXiv:2005.00247.
/// Its two layers are sites without an index: no other adapter acts on them.
/// </summary>
/// <param name="Down">[S, D] with bias [S].</param>
/// <param name="Up">[D, S] with bias [D].</param>
/// <param name="Activation">f.</param>
public sealed record BottleneckStep(LinearSite Down, LinearSite Up, Activation Activation);

/// <summary>Single output rows (of a table: single tokens) whose weight a path replaces: trainable tokens.</summary>
/// <param name="Ids">Ascending row indices.</param>
/// <param name="Values">[n, I] (for a table [n, D]), row i for Ids[i].</param>
public sealed record ReplacedRows(int[] Ids, DeviceTensor Values);

/// <summary>All that a path does at one site. Immutable; shared by every session on that path.</summary>
/// <param name="Steps">Low-rank steps in path order.</param>
/// <param name="Weight">A whole weight in place of the base's, same layout (modules_to_save, or a fused overlay); null: the base's.</param>
/// <param name="Bias">A bias in place of the base's; null: the base's.</param>
/// <param name="Rows">Rows in place of the weight's own, before the steps; or null.</param>
/// <param name="Bottlenecks">At a bottleneck's site: bottlenecks in path order; else null.</param>
/// <param name="ScaledForNext">Whether a step's gain scales the inputs of the layer behind (IA3): a path must add nothing after it.</param>
public sealed record SiteAdapter(LowRankStep[] Steps, DeviceTensor? Weight = null, DeviceTensor? Bias = null, ReplacedRows? Rows = null, BottleneckStep[]? Bottlenecks = null, bool ScaledForNext = false);

/// <summary>A path resolved against a model: what it does at each site. The root's table is <see cref="Base"/>.</summary>
public sealed class SiteTable(SiteAdapter?[] sites)
{
    private readonly SiteAdapter?[] _sites = sites;

    /// <summary>The untouched base.</summary>
    public static SiteTable Base { get; } = new([]);

    /// <summary>Sites that the table knows; at those beyond it the path does nothing.</summary>
    public int Count => _sites.Length;

    /// <summary>What the path does at the site with this index; null: nothing.</summary>
    public SiteAdapter? this[int index] => (uint)index < (uint)_sites.Length ? _sites[index] : null;
}
