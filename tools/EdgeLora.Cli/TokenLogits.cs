using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>Logits of every position of a sequence, a chunk of rows at a time: no more than a chunk is in memory.</summary>
internal static class TokenLogits
{
    private const int ChunkRows = 64;

    /// <summary>Gives <paramref name="each"/> the [V] logits after token <c>row</c>, for every row from <paramref name="first"/> on.</summary>
    public static void Run(ICausalLM model, AdapterPath path, int[] ids, int first, CancellationToken cancellation, RowLogits each)
    {
        Check(model, ids);
        int vocabulary = model.Config.Vocabulary, active = path.ActivationStart(ids);
        using KvBuffer cache = model.CreateCache(ids.Length);
        BatchLayout batch = new();
        float[] logits = new float[Math.Min(ChunkRows, ids.Length) * vocabulary];
        for (int from = 0; from < ids.Length; from += ChunkRows)
        {
            cancellation.ThrowIfCancellationRequested();
            int count = Math.Min(ChunkRows, ids.Length - from);
            cache.Reserve(from + count);
            batch.Clear();
            batch.BeginSequence(cache, from, ids.Length);
            for (int i = from; i < from + count; i++)
                batch.Add(ids[i], i >= active ? path.Table : path.BeforeInvocation);
            int[] wanted = [.. Enumerable.Range(0, count).Where(i => from + i >= first)];
            model.Forward(batch, wanted, logits.AsSpan(0, wanted.Length * vocabulary));
            for (int i = 0; i < wanted.Length; i++)
                each(from + wanted[i], logits.AsSpan(i * vocabulary, vocabulary));
        }
    }

    private static void Check(ICausalLM model, int[] ids)
    {
        if (ids.Length == 0)
            throw new ArgumentException("no tokens: give at least one");
        if (ids.Length > model.Config.ContextLength)
            throw new ArgumentException($"{ids.Length} tokens do not fit the context of {model.Config.ContextLength}");
        foreach (int id in ids)
            if ((uint)id >= (uint)model.Config.Vocabulary)
                throw new ArgumentException($"token id {id}: expected 0..{model.Config.Vocabulary - 1}");
    }
}

/// <summary>Takes the [V] logits after token <paramref name="row"/>.</summary>
internal delegate void RowLogits(int row, ReadOnlySpan<float> logits);
