namespace EdgeLora.Core;

/// <summary>An element-wise nonlinearity.</summary>
public enum Activation
{
    /// <summary><c>x·(1 + erf(x/√2))/2</c>; arXiv:1606.08415.</summary>
    Gelu,
    /// <summary><c>x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2</c>: GPT-2's gelu_new.</summary>
    GeluTanh,
    /// <summary><c>max(0, x)</c>.</summary>
    Relu,
    /// <summary><c>x/(1 + e^-x)</c>; arXiv:1702.03118.</summary>
    Silu,
    /// <summary><c>tanh(x)</c>.</summary>
    Tanh,
}

/// <summary>How rotary pairs lie in a head of r rotated dimensions.</summary>
public enum RopePairs
{
    /// <summary>i with i + r/2: Hugging Face checkpoints.</summary>
    Halves,
    /// <summary>2i with 2i + 1: llama.cpp's permuted checkpoints, Cohere.</summary>
    Adjacent,
}

/// <summary>Shape of an attention: H query heads over K key/value heads of Hd floats.</summary>
/// <param name="Heads">H.</param>
/// <param name="KvHeads">K; query head h reads key/value head h / (H/K).</param>
/// <param name="HeadSize">Hd.</param>
/// <param name="Scale">Factor on q·k: usually 1/√Hd.</param>
/// <param name="Window">W: position i sees i-W &lt; j ≤ i; 0 = all before it.</param>
/// <param name="Causal">False for an encoder: every position sees its whole sequence.</param>
/// <param name="Cap">c of a soft cap, <c>s ← c·tanh(s/c)</c>, after the factor; 0: none. arXiv:2408.00118.</param>
/// <param name="Slopes">[H] F32: what q·k of head h and position j has added before the factor, <see cref="Alibi.Bias"/>; null: nothing. arXiv:2108.12409.</param>
public readonly record struct AttentionShape(int Heads, int KvHeads, int HeadSize, float Scale, int Window, bool Causal = true, float Cap = 0, DeviceTensor? Slopes = null);

/// <summary>
/// The waist of EdgeLora: transformer-shaped ops over <see cref="DeviceTensor"/>, enqueued in order; only <see cref="Read"/> waits. Activations are F32
/// [rows, width] and may have more rows than the batch; ops touch the batch's rows only. Every row's result depends on that row alone: not on
/// its batch mates, not on the thread count. Sites come with the batch's paths, so that a backend may fuse base and adapters. Inputs come first, destination last;
/// a destination may be an input only where an op says so. Shapes are checked by <c>Debug.Assert</c>: the model checked its weights at the door.
/// </summary>
public interface IComputeBackend : IDisposable
{
    /// <summary><c>cpu</c>, <c>reference</c>.</summary>
    string Name { get; }

    /// <summary>One line for people: instruction set, threads, device.</summary>
    string Description { get; }

    /// <summary>Whether an op's result is in host memory when the call returns, so that <see cref="Read"/> costs a copy and no wait: a model may then look at what a step chose.</summary>
    bool IsImmediate => false;

    /// <summary>Brings a stored tensor to the device in its stored form; host backends show it in place, without a copy. Throws <see cref="NotSupportedException"/> for a type that is no weight.</summary>
    DeviceTensor Upload(Tensor tensor);

    /// <summary>A zeroed buffer.</summary>
    DeviceTensor Allocate(string name, DType type, Shape shape);

    /// <summary>Writes F32 <paramref name="values"/> from row <paramref name="row"/> of <paramref name="destination"/> on.</summary>
    void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row);

    /// <summary>Waits for all that was enqueued and reads F32 rows from <paramref name="row"/> on.</summary>
    void Read(DeviceTensor source, int row, Span<float> destination);

    /// <summary>Copies <paramref name="rows"/> whole F32 rows.</summary>
    void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows);

    /// <summary>
    /// Copies <paramref name="columns"/> columns of every row: splits a fused projection. Where heads' parts lie side by side (GPT-NeoX: q, k, v of a head, then of the next), a row is
    /// <paramref name="pieces"/> equal pieces, on both sides, and columns are counted in each piece.
    /// </summary>
    void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1);

    /// <summary><c>y[t] = table[token t]</c>, then the path's steps: <c>y ← gain ∘ (y + s·B·A[:, token])</c>.</summary>
    /// <param name="batch">Tokens and paths.</param>
    /// <param name="site">Table [V, D].</param>
    /// <param name="y">[T, D] F32.</param>
    void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y);

    /// <summary><c>y = W·x</c>, then the path's steps <c>y ← gain ∘ (y + s·B·(A·x) + s·b)</c> in order (A takes <c>mask∘x</c> where a step has a <see cref="Dropout"/>), then <c>y + bias</c>. arXiv:2106.09685, arXiv:2402.09353.</summary>
    /// <param name="batch">Rows and their paths.</param>
    /// <param name="site">W [O, I] (or [I, O]), bias [O].</param>
    /// <param name="x">[T, I] F32.</param>
    /// <param name="y">[T, O] F32, not x.</param>
    void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y);

    /// <summary><see cref="Linear"/> of several sites with the same input, y[i] of sites[i]: q, k and v; gate and up. A backend may run them as one op, with the same bits.</summary>
    /// <param name="batch">Rows and their paths.</param>
    /// <param name="sites">Layers of equal I.</param>
    /// <param name="x">[T, I] F32.</param>
    /// <param name="y">[T, O] of each, not x.</param>
    void Linears(BatchLayout batch, ReadOnlySpan<LinearSite> sites, DeviceTensor x, ReadOnlySpan<DeviceTensor> y)
    {
        for (int i = 0; i < sites.Length; i++)
            Linear(batch, sites[i], x, y[i]);
    }

    /// <summary><c>y[t,d] = (offset + gain[d])·x[t,d]/√(mean(x²)+eps)</c> over each Width piece of a row, piece h with the gains of head h mod Heads; arXiv:1910.07467. y may be x.</summary>
    void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y);

    /// <summary><c>y[t,d] = (offset + gain[d])·(x[t,d]-mean)/√(var+eps) + bias[d]</c> over each Width piece of a row, as <see cref="RmsNorm"/>; arXiv:1607.06450. y may be x.</summary>
    void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y);

    /// <summary>Rotates the first 2·n dimensions of every head in place by the row's angles; arXiv:2104.09864.</summary>
    /// <param name="rows">T.</param>
    /// <param name="headSize">Hd.</param>
    /// <param name="pairs">How pairs lie.</param>
    /// <param name="cos">[T, n] F32: the row's cosines, attention factor included.</param>
    /// <param name="sin">[T, n] F32.</param>
    /// <param name="x">[T, heads·Hd] F32, rotated in place.</param>
    void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x);

    /// <summary>Writes each row's key and value [T, K·Hd] to its sequence's cache at its position. The cache has room.</summary>
    void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values);

    /// <summary><c>y[t,h] = Σ_j softmax_j(cap(scale·(q[t,h]·k[j] + bias[h,j])))·v[j]</c> over the positions j that row t sees in its own sequence; keys and values of the batch are stored already. arXiv:1706.03762.</summary>
    /// <param name="batch">Sequences.</param>
    /// <param name="layer">Layer of the caches.</param>
    /// <param name="shape">Heads, scale, window, soft cap, slopes.</param>
    /// <param name="q">[T, H·Hd] F32.</param>
    /// <param name="y">[T, H·Hd] F32, not q.</param>
    void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y);

    /// <summary><c>y = f(gate)·up</c>: SwiGLU by SiLU, GeGLU by a GELU; arXiv:2002.05202. y may be gate or up.</summary>
    void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y);

    /// <summary><c>y = f(x)</c>. y may be x.</summary>
    void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y);

    /// <summary><c>y = factor·x</c>. y may be x.</summary>
    void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y);

    /// <summary><c>z = x + y</c>. z may be x or y.</summary>
    void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z);

    /// <summary>
    /// Which experts a row takes, and by what weight: <c>weights = softmax(logits)</c> where a column is among the row's best k, else 0. Renormalised: the softmax of the best k alone, so that their
    /// weights sum to 1. By falling logit; a NaN stands before every number, equals by ascending column. arXiv:1701.06538, arXiv:2401.04088.
    /// </summary>
    /// <param name="rows">T.</param>
    /// <param name="k">From 1 to the columns.</param>
    /// <param name="renormalise">Whether the chosen weights sum to 1.</param>
    /// <param name="logits">[T, experts] F32.</param>
    /// <param name="weights">[T, experts] F32, not logits.</param>
    void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights);

    /// <summary><c>y[i] = x[rows[i]]</c>: the rows that an expert takes.</summary>
    /// <param name="rows">Ascending row numbers of x. Copied.</param>
    /// <param name="x">F32.</param>
    /// <param name="y">F32 of x's width, not x.</param>
    void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y);

    /// <summary><c>y[r] += weights[r, column]·x[i]</c>, r = rows[i], or i where no rows are given. A row whose weight is 0 is left as it is, whatever x holds.</summary>
    /// <param name="count">Rows of x.</param>
    /// <param name="rows">Ascending row numbers of y and of weights, or empty. Copied.</param>
    /// <param name="weights">F32.</param>
    /// <param name="column">Column of weights.</param>
    /// <param name="x">F32.</param>
    /// <param name="y">F32 of x's width, not x.</param>
    void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y);

    /// <summary><c>norms[o] = ‖(W + Σ s·B·A)[o]‖</c>, <c>gain[o] = m[o]/norms[o]</c>, 0 where the norm is 0. arXiv:2402.09353.</summary>
    /// <param name="site">W and the adapter's steps.</param>
    /// <param name="magnitude">m [O] F32.</param>
    /// <param name="norms">[O] F32.</param>
    /// <param name="gain">[O] F32.</param>
    void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain);

    /// <summary>The best of each row, so that logits need not travel: <c>y[t, 2j]</c> is the j-th largest of <c>x[t]</c> as it is, <c>y[t, 2j+1]</c> its column. A NaN stands before every number; equals (-0 and 0 too) stand by ascending column.</summary>
    /// <param name="rows">T.</param>
    /// <param name="k">From 1 to x's columns.</param>
    /// <param name="x">[T, V] F32; V at most 2²⁴, so that a column is an F32.</param>
    /// <param name="y">[T, at least 2k] F32, not x; columns from 2k on are left as they are.</param>
    void TopK(int rows, int k, DeviceTensor x, DeviceTensor y);
}
