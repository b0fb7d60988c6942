using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary><c>y[t] = table[token t]</c>, then the path's steps with u = A[:, token].</summary>
internal static unsafe class Embed<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part: a run of rows.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (int start, int end) = WorkerPool.Split(op.Rows, part, parts);
        EmbeddingSite site = op.Embedding!;
        foreach (RowGroup group in op.Batch!.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            int last = Math.Min(end, group.Start + group.Count);
            for (int t = Math.Max(start, group.Start); t < last; t++)
                Row(site, adapter, adapter?.Steps.Length ?? 0, false, op.Batch.Tokens[t], op.Columns, op.Y + (long)t * op.Columns, op.Scratch[part].Reserve(0));
        }
    }

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(BatchLayout batch, EmbeddingSite site)
    {
        int rank = 0, ranks = 0;
        foreach (RowGroup group in batch.Groups)
        {
            int sum = 0;
            foreach (LowRankStep step in group.Path[site.Index]?.Steps ?? [])
            {
                rank = Math.Max(rank, step.Rank);
                sum += LowRank<O, V>.PaddedRank(step.Rank);
            }
            ranks = Math.Max(ranks, sum);
        }
        return LowRank<O, V>.ScratchFloats(rank) + ranks;
    }

    /// <summary>The row of one token after the first <paramref name="steps"/> steps, without the last one's gain where <paramref name="beforeGain"/>.</summary>
    public static void Row(EmbeddingSite site, SiteAdapter? adapter, int steps, bool beforeGain, int token, int width, float* y, float* scratch)
    {
        int replaced = adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, token) : -1;
        DeviceTensor table = replaced >= 0 ? adapter!.Rows!.Values : adapter?.Weight ?? site.Table;
        Widen<O, V>.Run(table.Type, Pointer.Bytes(table) + table.Type.Bytes((long)(replaced >= 0 ? replaced : token) * width), y, width);
        if (steps == 0)
            return;
        float* u = scratch;
        for (int s = 0; s < steps; s++)
        {
            LowRankStep step = adapter!.Steps[s];
            int padded = LowRank<O, V>.PaddedRank(step.Rank);
            new Span<float>(u, padded).Clear();
            Column(step, token, u);
            u += padded;
        }
        LowRank<O, V>.Run(new Finish { Adapter = adapter, Steps = steps, BeforeGain = beforeGain, Y = y, YStride = width, Rows = 1, PathRows = 1, Down = scratch }, 0, width, u);
    }

    /// <summary>A[:, token].</summary>
    public static void Column(LowRankStep step, int token, float* u)
    {
        byte* a = Pointer.Bytes(step.A);
        for (int r = 0; r < step.Rank; r++)
            Widen<O, V>.Run(step.A.Type, a + step.A.Type.Bytes((long)r * step.A.Columns + token), u + r, 1);
    }
}
