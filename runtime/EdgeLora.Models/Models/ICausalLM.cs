using System.Buffers;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Sees the hidden state while a forward runs: index 0 is what enters layer 0, i what leaves layer i-1. Rows [T, D].</summary>
public delegate void HiddenObserver(int index, ReadOnlySpan<float> hidden);

/// <summary>The second seam: tokens + cache + adapters -> logits.</summary>
public interface ICausalLM : IDisposable
{
    /// <summary>The model's numbers.</summary>
    ModelConfig Config { get; }

    /// <summary>Where adapters may act.</summary>
    SiteCatalog Sites { get; }

    /// <summary>An empty cache with room for <paramref name="capacity"/> tokens; it grows.</summary>
    KvBuffer CreateCache(int capacity);

    /// <summary>Runs the batch, appends its keys and values to its caches, and writes the logits of <paramref name="logitRows"/> to <paramref name="logits"/>.</summary>
    /// <param name="batch">Rows; the caches must have room for them.</param>
    /// <param name="logitRows">Batch rows whose logits are wanted; may be empty.</param>
    /// <param name="logits">[logitRows, V] F32.</param>
    /// <param name="observer">Optional, slow: sees every layer's hidden state.</param>
    void Forward(BatchLayout batch, ReadOnlySpan<int> logitRows, Span<float> logits, HiddenObserver? observer = null);

    /// <summary>As <see cref="Forward"/>, for who chooses next tokens: where the best few scores are wanted, the others need not leave the device.</summary>
    /// <param name="batch">Rows; the caches must have room for them.</param>
    /// <param name="rows">Batch rows whose scores are wanted; may be empty.</param>
    /// <param name="scores">For each of them, what takes its scores.</param>
    void Score(BatchLayout batch, ReadOnlySpan<int> rows, ReadOnlySpan<TokenScores> scores) => ScoreAll(this, batch, rows, scores);

    /// <summary>All scores of every row, by <see cref="Forward"/>.</summary>
    protected static void ScoreAll(ICausalLM model, BatchLayout batch, ReadOnlySpan<int> rows, ReadOnlySpan<TokenScores> scores)
    {
        int vocabulary = model.Config.Vocabulary;
        float[] rented = ArrayPool<float>.Shared.Rent(rows.Length * vocabulary);
        model.Forward(batch, rows, rented.AsSpan(0, rows.Length * vocabulary));
        for (int i = 0; i < rows.Length; i++)
            scores[i].Set(rented.AsSpan(i * vocabulary, vocabulary));
        ArrayPool<float>.Shared.Return(rented);
    }
}
