namespace EdgeLora.Core;

/// <summary>Numbers of one AdamW step. arXiv:1711.05101.</summary>
/// <param name="LearningRate">lr, scheduled.</param>
/// <param name="Beta1">β₁.</param>
/// <param name="Beta2">β₂.</param>
/// <param name="Epsilon">eps, outside the root, after bias correction.</param>
/// <param name="WeightDecay">wd, decoupled.</param>
/// <param name="Step">n, from 1.</param>
/// <param name="GradientScale">Factor on the gradient: clipping.</param>
public readonly record struct AdamWStep(double LearningRate, double Beta1, double Beta2, double Epsilon, double WeightDecay, int Step, double GradientScale);

/// <summary>
/// The backward ops. Each is named after its forward op and takes the same arguments: dy is the loss's derivative with respect to the forward op's output and is left as it is;
/// what an op computes is <b>added</b> to dx and to the gradients of the tensors that <see cref="Gradients"/> names, in an order that does not depend on the thread count.
/// A dx of null is not wanted. Row t of dx depends on row t of dy only (Attention: on its sequence's rows); a parameter's gradient depends only on the rows whose path uses it.
/// Sums over rows go in row order, so a job's bits do not depend on the jobs beside it. No dx may be its dy.
/// </summary>
public interface ITrainingBackend : IComputeBackend
{
    /// <summary>Why it does not train as it was opened; null: it does.</summary>
    string? NoTraining => null;

    /// <summary>Sets the first <paramref name="rows"/> rows to zero.</summary>
    void Clear(int rows, DeviceTensor x);

    /// <summary>Backward of Embed: <c>dW[token] += dy</c> for a trained table, <c>dA[:, token] += s·Bᵀ·dy</c>, <c>dB += s·dy·A[:, token]ᵀ</c>, gains, and paths with replaced rows, as in <see cref="LinearBackward"/>.</summary>
    void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients);

    /// <summary>
    /// Backward of Linear: <c>db += Σ dy</c>; steps in reverse order, each first <c>dgain += Σ dy·(y before the gain)</c>, <c>dy ← gain ∘ dy</c>, then
    /// <c>dB += s·dy·(A·x)ᵀ</c>, <c>dA += s·(Bᵀ·dy)·xᵀ</c>, <c>doutputBias += s·dy</c>, <c>dx += s·Aᵀ·(Bᵀ·dy)</c>; last <c>dW += dy·xᵀ</c> and <c>dx += Wᵀ·dy</c>
    /// (W frozen or not, of any weight type). What trains may be the path's or, where the site itself was made trainable, the site's weight and bias.
    /// On a path with replaced rows the weight and those rows are frozen; its steps may train, and dx goes through the replaced rows.
    /// A step with dropout takes <c>mask∘x</c> for x, by the forward call's mask, and <c>dx += s·mask∘(Aᵀ·(Bᵀ·dy))</c>.
    /// </summary>
    /// <param name="batch">Rows and their paths, as in the forward call.</param>
    /// <param name="site">The site.</param>
    /// <param name="x">[T, I] input of the forward call.</param>
    /// <param name="dy">[T, O].</param>
    /// <param name="dx">[T, I], or null.</param>
    /// <param name="gradients">What trains.</param>
    void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients);

    /// <summary>Backward of RmsNorm, over each Width piece of a row: with r = 1/√(mean(x²)+eps), x̂ = x·r, g = (offset + gain)∘dy: <c>dx += r·(g - x̂·mean(g∘x̂))</c>, <c>dgain += Σ dy∘x̂</c>.</summary>
    void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients);

    /// <summary>Backward of LayerNorm, over each Width piece: with x̂ = (x-mean)/√(var+eps), g = (offset + gain)∘dy: <c>dx += (g - mean(g) - x̂·mean(g∘x̂))/√(var+eps)</c>, <c>dgain += Σ dy∘x̂</c>, <c>dbias += Σ dy</c>.</summary>
    void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients);

    /// <summary>Backward of Rope: the inverse rotation (scaled by the attention factor alike), in place on dy.</summary>
    void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy);

    /// <summary>
    /// Backward of Attention by recomputation, in memory linear in the tokens: with p the softmax and dp[j] = dy·v[j], <c>dv[j] += p[j]·dy</c>, <c>ds[j] = p[j]·(dp[j] - Σ p∘dp)</c>,
    /// <c>dq += scale·Σ ds[j]·k[j]</c>, <c>dk[j] += scale·ds[j]·q</c>; under a soft cap ds[j] has a factor 1 - (s[j]/c)², s the capped score. The batch's sequences must have no past; their caches still hold the layer's keys and values.
    /// </summary>
    /// <param name="batch">Sequences, each with Past = 0.</param>
    /// <param name="layer">Layer of the caches.</param>
    /// <param name="shape">Heads, scale, window.</param>
    /// <param name="q">[T, H·Hd] as in the forward call.</param>
    /// <param name="dy">[T, H·Hd].</param>
    /// <param name="dq">[T, H·Hd].</param>
    /// <param name="dk">[T, K·Hd], row t for the batch's row t.</param>
    /// <param name="dv">[T, K·Hd].</param>
    void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv);

    /// <summary>Backward of GatedActivation: <c>dgate += dy·up·f'(gate)</c>, <c>dup += dy·f(gate)</c>.</summary>
    void GatedActivationBackward(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup);

    /// <summary>Backward of Activate: <c>dx += dy·f'(x)</c>; f'(0) of ReLU is 0, f'(NaN) of each is NaN.</summary>
    void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx);

    /// <summary>Backward of Route, the choice a constant: with p the softmax that the weights were taken from, <c>dlogits += p∘(dweights - Σ dweights∘p)</c>, dweights 0 where a column was not chosen, and renormalised nothing there.</summary>
    void RouteBackward(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor dweights, DeviceTensor dlogits);

    /// <summary>Backward of GatherRows: <c>dx[rows[i]] += dy[i]</c>.</summary>
    void GatherRowsBackward(ReadOnlySpan<int> rows, DeviceTensor dy, DeviceTensor dx);

    /// <summary>Backward of AddRows: <c>dx[i] += weights[r, column]·dy[r]</c>, <c>dweights[r, column] += Σ dy[r]∘x[i]</c>, nothing where the weight is 0: that row was not chosen.</summary>
    void AddRowsBackward(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor dy, DeviceTensor dx, DeviceTensor dweights);

    /// <summary>Backward of DoraGain to its magnitude, the norm a constant of the step (arXiv:2402.09353, section 4.3): <c>dmagnitude += dgain/norms</c>, nothing where the norm is 0. All [O] F32.</summary>
    void DoraGainBackward(DeviceTensor norms, DeviceTensor dgain, DeviceTensor dmagnitude);

    /// <summary>
    /// Softmax cross-entropy of each row with its label, and its gradient in place of the logits: <c>losses[t] = -log softmax(z)[label]</c> (0 for a negative label),
    /// <c>z ← scale[t]·(softmax(z) - onehot(label))</c> (0 for a negative label).
    /// </summary>
    /// <param name="logits">[T, V] F32; rows 0..labels.Length-1 are used.</param>
    /// <param name="labels">[T]; negative = no loss. Copied.</param>
    /// <param name="scales">[T]: what the loss of a row counts, 1/N. Copied.</param>
    /// <param name="losses">[T, 1] F32.</param>
    void CrossEntropy(DeviceTensor logits, ReadOnlySpan<int> labels, ReadOnlySpan<float> scales, DeviceTensor losses);

    /// <summary>Σ x² in F64, in element order by fixed blocks. Waits.</summary>
    double SumOfSquares(DeviceTensor x);

    /// <summary><c>p ← p·(1 - lr·wd)</c>, <c>m ← β₁m + (1-β₁)g</c>, <c>v ← β₂v + (1-β₂)g²</c>, <c>p ← p - lr/(1-β₁ⁿ)·m/(√v/√(1-β₂ⁿ) + eps)</c>, g the gradient times its scale. All F32, of one shape.</summary>
    void AdamW(DeviceTensor parameter, DeviceTensor gradient, DeviceTensor m, DeviceTensor v, in AdamWStep step);

    /// <summary><c>p ← p - lr·(g + wd·p)</c>, g the gradient times <paramref name="gradientScale"/>.</summary>
    void Sgd(DeviceTensor parameter, DeviceTensor gradient, double learningRate, double weightDecay, double gradientScale);
}
