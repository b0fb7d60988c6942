namespace EdgeLora.Core;

/// <summary>Multiplies what a format has no place for into B: each number is rounded once, and not at all where the factor is a power of two that the type has room for.</summary>
public static class ScaleFold
{
    /// <summary>Whether every number of <paramref name="b"/> times <paramref name="factor"/> is a number of <paramref name="type"/>, or was rounded to that type anyway.</summary>
    public static bool IsExact(Tensor b, double factor, DType type)
    {
        if (factor == 1)
            return true;
        if (!IsPowerOfTwo(factor))
            return false;
        // Where the type is changed, that rounds already, and a power of two rounds no more.
        if (type != b.Type)
            return true;
        foreach (float value in b.ToFloats())
            if (value != 0 && Rounded(value * factor, type) / factor != value)
                return false;
        return true;
    }

    /// <summary>Throws <see cref="ModelFileException"/> for <paramref name="path"/> where a number of <see cref="Apply"/> would be too large for <paramref name="type"/>.</summary>
    public static void Require(Tensor b, double factor, DType type, string label, string path)
    {
        if (factor == 1 && type == b.Type)
            return;
        foreach (float value in b.ToFloats())
            if (float.IsFinite(value) && !double.IsFinite(Rounded((float)(value * factor), type)))
                throw new ModelFileException(path, $"{label}: holds numbers too large for {type}");
    }

    /// <summary>B times <paramref name="factor"/> in <paramref name="type"/>, named as it is. The numbers are multiplied in double precision.</summary>
    /// <param name="b">Any matrix.</param>
    /// <param name="factor">What it is multiplied with.</param>
    /// <param name="type">F32, F16 or BF16.</param>
    public static Tensor Apply(Tensor b, double factor, DType type)
    {
        if (factor == 1 && type == b.Type)
            return b;
        float[] values = b.ToFloats();
        for (int i = 0; factor != 1 && i < values.Length; i++)
            values[i] = (float)(values[i] * factor);
        return QuantBlocks.ToTensor(b.Name, type, b.Shape, values);
    }

    /// <summary>What <see cref="Apply"/> rounds off: ‖stored − factor·B‖ over ‖factor·B‖; 0 for a B of zeros.</summary>
    public static double Error(Tensor b, double factor, DType type)
    {
        double off = 0, all = 0;
        foreach (float value in b.ToFloats())
        {
            double exact = value * factor, lost = Rounded((float)exact, type) - exact;
            off += lost * lost;
            all += exact * exact;
        }
        return all > 0 ? Math.Sqrt(off / all) : 0;
    }

    /// <summary>The largest <see cref="Error"/> of some that round, when it is asked for.</summary>
    public static Lazy<double> Worst(IEnumerable<(Tensor B, double Factor, DType Type)> rounded) => new(() => rounded.Select(r => Error(r.B, r.Factor, r.Type)).DefaultIfEmpty().Max());

    /// <summary>A verdict with one reason for each factor that rounds, with the first modules that have it.</summary>
    /// <param name="pairs">Each module's factor and the type that its B is written as.</param>
    /// <param name="format">What messages call the format.</param>
    /// <param name="refusals">What the format cannot hold at all.</param>
    public static AdapterVerdict Judge(IEnumerable<(LowRankPair Pair, double Factor, DType Type)> pairs, string format, IReadOnlyList<string> refusals)
    {
        const int Named = 3;
        List<string> reasons = [];
        (LowRankPair Pair, double Factor, DType Type)[] rounded = [.. pairs.Where(p => !IsExact(p.Pair.B, p.Factor, p.Type))];
        foreach (IGrouping<double, string> group in rounded.GroupBy(p => p.Factor, p => p.Pair.Module))
        {
            string[] modules = [.. group];
            string more = modules.Length > Named ? $" and {modules.Length - Named} more" : "";
            reasons.Add(FormattableString.Invariant($"scale {group.Key:R} of {string.Join(", ", modules.Take(Named))}{more} has no place in {format}"));
        }
        return new(reasons, refusals) { Rounding = Worst(rounded.Select(p => (p.Pair.B, p.Factor, p.Type))) };
    }

    /// <summary>The type that a tensor is written as: <paramref name="asked"/>, or its own where the format has it, or F32.</summary>
    public static DType TypeOf(Tensor tensor, DType? asked, params ReadOnlySpan<DType> held) => asked ?? (held.Contains(tensor.Type) ? tensor.Type : DType.F32);

    /// <summary>The same for B times <paramref name="factor"/>: where nothing was asked for and the product rounds, F32, in which it rounds by less than 1e-7.</summary>
    public static DType TypeOf(Tensor b, double factor, DType? asked, params ReadOnlySpan<DType> held) =>
        asked is null && TypeOf(b, null, held) is DType own && !IsExact(b, factor, own) ? DType.F32 : TypeOf(b, asked, held);

    private static bool IsPowerOfTwo(double factor) => factor != 0 && double.IsFinite(factor) && (BitConverter.DoubleToInt64Bits(factor) & 0xFFFFFFFFFFFFF) == 0;

    private static double Rounded(double value, DType type) => type switch
    {
        DType.F16 => (double)(Half)value,
        DType.BF16 => Dequantize.BFloat16(Dequantize.ToBFloat16((float)value)),
        _ => (float)value,
    };
}
