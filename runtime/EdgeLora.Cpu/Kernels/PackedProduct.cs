using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for a few rows of x and a <see cref="PackedWeight"/>. Lanes are outputs. Where groups have minimums, their products with the sums of the groups' inputs come first, in order. Then every (row, output)
/// adds its inputs in order, in blocks that are then added: of 256, or where groups have factors, of a group, times the factor. They are the sums of <see cref="PackedPanels{O, V}"/>, bit for bit. A weight is
/// widened once for all rows, in registers.
/// </summary>
internal readonly unsafe struct PackedProduct<O, V> : IPackedKernel where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows that are taken here; more go through <see cref="PackedPanels{O, V}"/>.</summary>
    public const int MostRows = 4;

    /// <summary>Vectors of outputs whose factors lie side by side.</summary>
    public const int Vectors = 4;

    private const int Chunk = 512;
    private const int SmallestGroup = 16;
    private const int BytesAhead = 8192;
    private const int RecordsAhead = 1024;

    private static int TurnVectors => PackedWeight.Together * PackedWeight.Panel / O.Count;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int inputs) => (MostRows + Chunk / SmallestGroup) * Vectors * O.Count + MostRows * (inputs + 8L);

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows; start a multiple of 16, end too or the last.</summary>
    public static void Run(in Product product, int start, int end, float* scratch) => PackedKernel.Run<PackedProduct<O, V>>(product, start, end, scratch);

    /// <summary>First step of a vector of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Start<W>(PackedWeight weight, int vector) where W : struct, IPackedType => weight.FirstStep(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel * W.LaneBytes;

    /// <summary>A vector of outputs, or the last one: one past the end is computed, not stored.</summary>
    public static int Within(PackedWeight weight, int vector) => Math.Min(vector, weight.Panels * PackedWeight.Panel / O.Count - 1);

    /// <summary>Fetches what comes so far behind a step. Several rows keep the processor too busy for it to look far ahead by itself; one row does not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch<W>(byte* step) where W : struct, IPackedType
    {
        if (O.Count == PackedWeight.Panel)
            for (int line = 0; line < W.GroupBytes / W.Steps; line += 64)
                Lanes.Prefetch(step + BytesAhead + line);
    }

    /// <summary>The last vector of the panels that take turns with that of <paramref name="vector"/>: a pass does not go on to the next ones, whose groups lie otherwise.</summary>
    private static int LastInTurn(PackedWeight weight, int vector)
    {
        int first = vector / TurnVectors * TurnVectors;
        return first + weight.InTurn(first * O.Count / PackedWeight.Panel) * PackedWeight.Panel / O.Count - 1;
    }

    /// <summary>The total with a block's sum, times its factors where it has some.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add<W>(V sum, V factors, V total) where W : struct, IPackedType => W.HasFactors ? O.Fma(factors, sum, total) : O.Add(total, sum);

    /// <summary>A group's factors for a vector of outputs: floats, or the F16 of its record.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<W>(float* factors, ushort* halves) where W : struct, IPackedType => W.HasHalves ? O.LoadFiniteF16(halves) : W.HasFactors ? O.Load(factors) : O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IPackedType
    {
        PackedWeight weight = p.Packed!;
        float* sums = scratch, factors = sums + MostRows * Vectors * O.Count, rest = factors + Chunk / SmallestGroup * Vectors * O.Count, x = p.X;
        long stride = p.XStride;
        if (p.Inputs % W.Group != 0)
            x = Pad(p, ref stride, rest);
        if (weight.Layout.HasMinimums)
            for (int t = 0; t < p.Rows; t++)
                GroupFactors<O, V>.Sums(x + t * stride, p.Inputs, W.Group, rest + t * weight.Groups);
        float* x1 = x + (p.Rows > 1 ? stride : 0), x2 = x + (p.Rows > 2 ? 2 * stride : 0), x3 = x + (p.Rows > 3 ? 3 * stride : 0);
        V table = O.Table(PackedTables.Of(weight.Type));
        // Factors that are F16 are read where they lie.
        bool lanes = LaneTile.Takes<V>() && typeof(W) == typeof(PackedBytes) && p.Rows == 1, asHalves = W.HasHalves && !lanes;
        int vectors = (end - start + O.Count - 1) / O.Count, first = start / O.Count;
        for (int v = 0; v < vectors;)
        {
            int turn = (first + v) % TurnVectors, count = p.Rows == 1 && vectors - v > 3 && turn % 4 == 0 ? 4 : 2, vector = first + v;
            if (turn + count > TurnVectors)
                count = TurnVectors - turn;
            int last = LastInTurn(weight, vector);
            new Span<float>(sums, MostRows * Vectors * O.Count).Clear();
            if (weight.Layout.HasMinimums)
                Minimums(weight, vector, count, last, p.Rows, rest, factors, sums);
            byte* w0 = Start<W>(weight, vector), w1 = Start<W>(weight, Math.Min(vector + 1, last)), w2 = Start<W>(weight, Math.Min(vector + 2, last)), w3 = Start<W>(weight, Math.Min(vector + 3, last));
            long step = (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * (W.GroupBytes / W.Steps);
            ushort* halves = W.HasHalves ? (ushort*)weight.FirstRecord(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel : null;
            long halfStep = W.HasHalves ? (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * PackedWeight.Panel : 0;
            for (int k = 0, inputs = weight.PaddedInputs, chunk = asHalves ? inputs : W.HasFactors ? Chunk : OuterProduct<O, V>.BlockDepth; k < inputs; k += chunk)
            {
                int depth = Math.Min(chunk, inputs - k);
                ushort* half1 = vector < last ? halves + O.Count : halves;
                if (W.HasFactors && !asHalves)
                {
                    GroupFactors<O, V>.Prefetch(weight, vector, (k + depth) / W.Group, depth / W.Group);
                    GroupFactors<O, V>.Factors(weight, vector, count, last, k / W.Group, depth / W.Group, factors, Vectors * O.Count);
                }
                if (p.Rows > 1)
                    PackedRows<O, V>.Run<W>(w0, w1, step, x + k, x1 + k, x2 + k, x3 + k, depth, factors, halves, half1, halfStep, table, sums);
                else if (count == 4 && lanes)
                    LaneBytes.Run((sbyte*)w0, step, x + k, depth, factors, sums);
                else if (count == 4)
                    Four<W>(w0, w1, w2, w3, step, x + k, depth, factors, halves, halfStep, table, sums);
                else
                    Two<W>(w0, w1, step, x + k, depth, factors, halves, half1, halfStep, table, sums);
                long steps = depth / W.Group * W.Steps * step;
                halves += depth / W.Group * halfStep;
                w0 += steps;
                w1 += steps;
                w2 += steps;
                w3 += steps;
            }
            int outputs = Math.Min(count * O.Count, end - start - v * O.Count);
            for (int t = 0; t < p.Rows; t++)
                new Span<float>(sums + t * Vectors * O.Count, outputs).CopyTo(new Span<float>(p.Y + t * p.YStride + start + v * O.Count, outputs));
            v += count;
        }
    }

    // The groups' minimums times the sums of their inputs.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Minimums(PackedWeight weight, int vector, int vectors, int last, int rows, float* inputs, float* minimums, float* sums)
    {
        const int most = Chunk / SmallestGroup;
        for (int g = 0; g < weight.Groups; g += most)
        {
            int count = Math.Min(most, weight.Groups - g);
            GroupFactors<O, V>.Minimums(weight, vector, vectors, last, g, count, minimums, Vectors * O.Count);
            for (int t = 0; t < rows; t++)
                for (int v = 0; v < vectors; v++)
                {
                    float* to = sums + (t * Vectors + v) * O.Count, m = minimums + v * O.Count;
                    V sum = O.Load(to);
                    for (int i = 0; i < count; i++)
                        sum = O.Fma(O.Load(m + i * Vectors * O.Count), O.Broadcast(inputs[t * weight.Groups + g + i]), sum);
                    O.Store(sum, to);
                }
        }
    }

    // Inputs that are no whole group are filled up with zeros, as the weight is.
    private static float* Pad(in Product p, ref long stride, float* to)
    {
        int padded = p.Packed!.PaddedInputs;
        for (int t = 0; t < p.Rows; t++)
        {
            new Span<float>(p.X + t * p.XStride, p.Inputs).CopyTo(new Span<float>(to + t * padded, p.Inputs));
            new Span<float>(to + t * padded + p.Inputs, padded - p.Inputs).Clear();
        }
        stride = padded;
        return to;
    }

    // One row of x, four vectors of outputs: some inputs more, from whole groups.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<W>(byte* w0, byte* w1, byte* w2, byte* w3, long step, float* x, int inputs, float* factors, ushort* halves, long halfStep, V table, float* sums) where W : struct, IPackedType
    {
        V t0 = O.Load(sums), t1 = O.Load(sums + O.Count), t2 = O.Load(sums + 2 * O.Count), t3 = O.Load(sums + 3 * O.Count);
        for (float* end = x + inputs; x < end;)
        {
            float* last = W.HasFactors ? x + W.Group : end;
            V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
            while (x < last)
            {
                for (int s = 0; s < W.Steps; s++, x += W.Fields)
                {
                    Prefetch<W>(w0);
                    Prefetch<W>(w1);
                    Prefetch<W>(w2);
                    Prefetch<W>(w3);
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), u2 = W.Unit<O, V>(w2), u3 = W.Unit<O, V>(w3), v;
                    v = O.Broadcast(x[0]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 0, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 0, table), v, a1);
                    a2 = O.Fma(W.Load<O, V>(w2, u2, 0, table), v, a2);
                    a3 = O.Fma(W.Load<O, V>(w3, u3, 0, table), v, a3);
                    v = O.Broadcast(x[1]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 1, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 1, table), v, a1);
                    a2 = O.Fma(W.Load<O, V>(w2, u2, 1, table), v, a2);
                    a3 = O.Fma(W.Load<O, V>(w3, u3, 1, table), v, a3);
                    v = O.Broadcast(x[2]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 2, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 2, table), v, a1);
                    a2 = O.Fma(W.Load<O, V>(w2, u2, 2, table), v, a2);
                    a3 = O.Fma(W.Load<O, V>(w3, u3, 2, table), v, a3);
                    v = O.Broadcast(x[3]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 3, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 3, table), v, a1);
                    a2 = O.Fma(W.Load<O, V>(w2, u2, 3, table), v, a2);
                    a3 = O.Fma(W.Load<O, V>(w3, u3, 3, table), v, a3);
                    v = O.Broadcast(x[4]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 4, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 4, table), v, a1);
                    a2 = O.Fma(W.Load<O, V>(w2, u2, 4, table), v, a2);
                    a3 = O.Fma(W.Load<O, V>(w3, u3, 4, table), v, a3);
                    if (W.Fields > 5)
                    {
                        v = O.Broadcast(x[5]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 5, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 5, table), v, a1);
                        a2 = O.Fma(W.Load<O, V>(w2, u2, 5, table), v, a2);
                        a3 = O.Fma(W.Load<O, V>(w3, u3, 5, table), v, a3);
                    }
                    if (W.Fields > 6)
                    {
                        v = O.Broadcast(x[6]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 6, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 6, table), v, a1);
                        a2 = O.Fma(W.Load<O, V>(w2, u2, 6, table), v, a2);
                        a3 = O.Fma(W.Load<O, V>(w3, u3, 6, table), v, a3);
                        v = O.Broadcast(x[7]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 7, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 7, table), v, a1);
                        a2 = O.Fma(W.Load<O, V>(w2, u2, 7, table), v, a2);
                        a3 = O.Fma(W.Load<O, V>(w3, u3, 7, table), v, a3);
                    }
                    w0 += step;
                    w1 += step;
                    w2 += step;
                    w3 += step;
                }
                if (W.Rest > 0)
                {
                    V u0 = W.RestUnit<O, V>(w0 - W.Steps * step, step), u1 = W.RestUnit<O, V>(w1 - W.Steps * step, step), u2 = W.RestUnit<O, V>(w2 - W.Steps * step, step), u3 = W.RestUnit<O, V>(w3 - W.Steps * step, step), v;
                    v = O.Broadcast(x[0]);
                    a0 = O.Fma(W.LoadRest<O, V>(u0, 0), v, a0);
                    a1 = O.Fma(W.LoadRest<O, V>(u1, 0), v, a1);
                    a2 = O.Fma(W.LoadRest<O, V>(u2, 0), v, a2);
                    a3 = O.Fma(W.LoadRest<O, V>(u3, 0), v, a3);
                    if (W.Rest > 1)
                    {
                        v = O.Broadcast(x[1]);
                        a0 = O.Fma(W.LoadRest<O, V>(u0, 1), v, a0);
                        a1 = O.Fma(W.LoadRest<O, V>(u1, 1), v, a1);
                        a2 = O.Fma(W.LoadRest<O, V>(u2, 1), v, a2);
                        a3 = O.Fma(W.LoadRest<O, V>(u3, 1), v, a3);
                    }
                    x += W.Rest;
                }
            }
            // Panels that take turns have their F16 side by side.
            t0 = Add<W>(a0, Factor<W>(factors, halves), t0);
            t1 = Add<W>(a1, Factor<W>(factors + O.Count, halves + O.Count), t1);
            t2 = Add<W>(a2, Factor<W>(factors + 2 * O.Count, halves + 2 * O.Count), t2);
            t3 = Add<W>(a3, Factor<W>(factors + 3 * O.Count, halves + 3 * O.Count), t3);
            if (W.HasHalves)
                for (int line = 0; line < Vectors * O.Count * sizeof(ushort); line += 64)
                    Lanes.Prefetch((byte*)halves + RecordsAhead + line);
            halves += halfStep;
            factors += Vectors * O.Count;
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
        O.Store(t2, sums + 2 * O.Count);
        O.Store(t3, sums + 3 * O.Count);
    }

    // One row of x, two vectors of outputs: some inputs more, from whole groups.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Two<W>(byte* w0, byte* w1, long step, float* x, int inputs, float* factors, ushort* half0, ushort* half1, long halfStep, V table, float* sums) where W : struct, IPackedType
    {
        V t0 = O.Load(sums), t1 = O.Load(sums + O.Count);
        for (float* end = x + inputs; x < end;)
        {
            float* last = W.HasFactors ? x + W.Group : end;
            V a0 = O.Zero, a1 = O.Zero;
            while (x < last)
            {
                for (int s = 0; s < W.Steps; s++, x += W.Fields)
                {
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), v;
                    v = O.Broadcast(x[0]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 0, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 0, table), v, a1);
                    v = O.Broadcast(x[1]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 1, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 1, table), v, a1);
                    v = O.Broadcast(x[2]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 2, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 2, table), v, a1);
                    v = O.Broadcast(x[3]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 3, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 3, table), v, a1);
                    v = O.Broadcast(x[4]);
                    a0 = O.Fma(W.Load<O, V>(w0, u0, 4, table), v, a0);
                    a1 = O.Fma(W.Load<O, V>(w1, u1, 4, table), v, a1);
                    if (W.Fields > 5)
                    {
                        v = O.Broadcast(x[5]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 5, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 5, table), v, a1);
                    }
                    if (W.Fields > 6)
                    {
                        v = O.Broadcast(x[6]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 6, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 6, table), v, a1);
                        v = O.Broadcast(x[7]);
                        a0 = O.Fma(W.Load<O, V>(w0, u0, 7, table), v, a0);
                        a1 = O.Fma(W.Load<O, V>(w1, u1, 7, table), v, a1);
                    }
                    w0 += step;
                    w1 += step;
                }
                if (W.Rest > 0)
                {
                    V u0 = W.RestUnit<O, V>(w0 - W.Steps * step, step), u1 = W.RestUnit<O, V>(w1 - W.Steps * step, step), v;
                    v = O.Broadcast(x[0]);
                    a0 = O.Fma(W.LoadRest<O, V>(u0, 0), v, a0);
                    a1 = O.Fma(W.LoadRest<O, V>(u1, 0), v, a1);
                    if (W.Rest > 1)
                    {
                        v = O.Broadcast(x[1]);
                        a0 = O.Fma(W.LoadRest<O, V>(u0, 1), v, a0);
                        a1 = O.Fma(W.LoadRest<O, V>(u1, 1), v, a1);
                    }
                    x += W.Rest;
                }
            }
            t0 = Add<W>(a0, Factor<W>(factors, half0), t0);
            t1 = Add<W>(a1, Factor<W>(factors + O.Count, half1), t1);
            half0 += halfStep;
            half1 += halfStep;
            factors += Vectors * O.Count;
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
    }
}
