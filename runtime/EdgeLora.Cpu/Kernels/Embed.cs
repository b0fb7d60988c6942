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
                Row(site, adapter, op.Batch.Tokens[t], op.Columns, op.Y + (long)t * op.Columns, op.Scratch[part].Reserve(0));
        }
    }

    private static void Row(EmbeddingSite site, SiteAdapter? adapter, int token, int width, float* y, float* scratch)
    {
        int replaced = adapter?.Rows is { } rows ? Array.BinarySearch(rows.Ids, token) : -1;
        DeviceTensor table = replaced >= 0 ? adapter!.Rows!.Values : adapter?.Weight ?? site.Table;
        Widen<O, V>.Run(table.Type, Pointer.Bytes(table) + table.Type.Bytes((long)(replaced >= 0 ? replaced : token) * width), y, width);
        if (adapter is null || adapter.Steps.Length == 0)
            return;
        float* u = scratch;
        foreach (LowRankStep step in adapter.Steps)
        {
            byte* column = Pointer.Bytes(step.A);
            int padded = LowRank<O, V>.PaddedRank(step.Rank);
            for (int r = 0; r < padded; r++)
                u[r] = 0;
            for (int r = 0; r < step.Rank; r++)
                Widen<O, V>.Run(step.A.Type, column + step.A.Type.Bytes((long)r * step.A.Columns + token), u + r, 1);
            u += padded;
        }
        LowRank<O, V>.Run(new Finish { Adapter = adapter, Y = y, YStride = width, Rows = 1, Down = scratch }, 0, width, u);
    }
}
