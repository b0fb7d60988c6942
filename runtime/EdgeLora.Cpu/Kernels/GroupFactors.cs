using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The factors and minimums of a <see cref="PackedWeight"/>'s groups as floats, for vectors of outputs: [group][vector].</summary>
internal static unsafe class GroupFactors<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>
    /// d, or d·s, of groups [<paramref name="first"/>, first + <paramref name="count"/>) of <paramref name="vectors"/> vectors of outputs from <paramref name="vector"/> on, which take turns with it; groups lie
    /// <paramref name="stride"/> floats apart. Vectors past <paramref name="last"/> repeat it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Factors(PackedWeight weight, int vector, int vectors, int last, int first, int count, float* to, long stride)
    {
        PackedLayout layout = weight.Layout;
        PackedFactors kind = layout.Factors;
        int groups = layout.Span / layout.Group, size = layout.RecordBytes, codes = 2 * PackedWeight.Panel * layout.Halves, panel = vector * O.Count / PackedWeight.Panel;
        float* values = kind == PackedFactors.Codes ? PackedTables.CodesOf(weight.Type) : null;
        long step = (long)weight.InTurn(panel) * size;
        byte* records = weight.FirstRecord(panel) + first / groups * step;
        for (int v = 0; v < vectors; v++, to += O.Count)
        {
            int at = Math.Min(vector + v, last), lane = at * O.Count % PackedWeight.Panel, from = first % groups;
            byte* record = records + (at * O.Count / PackedWeight.Panel - panel) * size;
            float* f = to, end = to + count * stride;
            if (groups == 1 && kind != PackedFactors.Codes)
            {
                for (; f < end; f += stride, record += step)
                    O.Store(O.LoadFiniteF16((ushort*)record + lane), f);
                continue;
            }
            // Of the first span and the last one only some groups may be asked for.
            for (; f < end; record += step, from = 0)
            {
                V d = O.LoadFiniteF16((ushort*)record + lane);
                byte* code = record + codes + from * PackedWeight.Panel + lane;
                float* until = (float*)Math.Min((nuint)(f + (groups - from) * stride), (nuint)end);
                if (values is not null)
                    for (; f < until; code += PackedWeight.Panel, f += stride)
                        for (int l = 0; l < O.Count; l++)
                            f[l] = values[code[l]];
                else if (kind == PackedFactors.Halves)
                    for (; f < until; f += stride)
                        O.Store(d, f);
                else if (kind == PackedFactors.NibblesAndMinimums)
                    for (; f < until; code += PackedWeight.Panel, f += stride)
                        O.Store(O.Multiply(d, O.Field(O.Units(code, 1), 0, 4, false)), f);
                else
                    for (; f < until; code += PackedWeight.Panel, f += stride)
                        O.Store(O.Multiply(d, O.LoadI8((sbyte*)code)), f);
            }
        }
    }

    /// <summary>m, or −min·m: what is added for every input of a group. Otherwise as <see cref="Factors"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Minimums(PackedWeight weight, int vector, int vectors, int last, int first, int count, float* to, long stride)
    {
        PackedLayout layout = weight.Layout;
        PackedFactors kind = layout.Factors;
        int groups = layout.Span / layout.Group, size = layout.RecordBytes, codes = 2 * PackedWeight.Panel * layout.Halves, panel = vector * O.Count / PackedWeight.Panel;
        // Bytes of minimums lie behind those of scales.
        if (kind == PackedFactors.ScalesAndMinimums)
            codes += groups * PackedWeight.Panel;
        long step = (long)weight.InTurn(panel) * size;
        byte* records = weight.FirstRecord(panel) + first / groups * step;
        for (int v = 0; v < vectors; v++, to += O.Count)
        {
            int at = Math.Min(vector + v, last), lane = at * O.Count % PackedWeight.Panel, from = first % groups;
            byte* record = records + (at * O.Count / PackedWeight.Panel - panel) * size;
            for (float* f = to, end = to + count * stride; f < end; record += step, from = 0)
            {
                V min = O.LoadFiniteF16((ushort*)record + PackedWeight.Panel + lane), less = O.Subtract(O.Zero, min);
                byte* code = record + codes + from * PackedWeight.Panel + lane;
                float* until = (float*)Math.Min((nuint)(f + (groups - from) * stride), (nuint)end);
                if (kind == PackedFactors.HalvesAndMinimums)
                    for (; f < until; f += stride)
                        O.Store(min, f);
                else if (kind == PackedFactors.NibblesAndMinimums)
                    for (; f < until; code += PackedWeight.Panel, f += stride)
                        O.Store(O.Multiply(less, O.Field(O.Units(code, 1), 4, 4, false)), f);
                else
                    for (; f < until; code += PackedWeight.Panel, f += stride)
                        O.Store(O.Multiply(less, O.LoadI8((sbyte*)code)), f);
            }
        }
    }

    /// <summary>Asks for the records of some groups of the panels that take turns with a vector's, or what lies there behind the last: the next panels' first.</summary>
    public static void Prefetch(PackedWeight weight, int vector, int first, int count)
    {
        PackedLayout layout = weight.Layout;
        int groups = layout.Span / layout.Group, panel = vector * O.Count / PackedWeight.Panel / PackedWeight.Together * PackedWeight.Together;
        long step = (long)weight.InTurn(panel) * layout.RecordBytes;
        byte* record = weight.FirstRecord(panel) + first / groups * step;
        for (byte* end = record + (count + groups - 1) / groups * step; record < end; record += 64)
            Lanes.Prefetch(record);
    }

    /// <summary>Sums of <paramref name="group"/> (16 or 32) inputs of x each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Sums(float* x, int inputs, int group, float* sums)
    {
        for (int k = 0; k < inputs; k += group, sums++)
        {
            V sum = O.Load(x + k);
            for (int i = O.Count; i < group; i += O.Count)
                sum = O.Add(sum, O.Load(x + k + i));
            *sums = O.Sum(sum);
        }
    }
}
