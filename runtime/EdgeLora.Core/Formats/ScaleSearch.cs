using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace EdgeLora.Core;

/// <summary>
/// The searches that choose a group's scale when it is quantised: ggml's own (ggml-quants.c, make_qkx3_quants, make_qp_quants, make_qx_quants) with an importance of 1. Groups are multiples
/// of 8 elements. Sums run in eight lanes whatever the processor, so that the same numbers give the same bytes everywhere.
/// </summary>
internal static class ScaleSearch
{
    // Smaller groups count as zeros.
    private const float Smallest = 1e-15f;

    /// <summary>The scale s and the minimum m ≥ 0 of x ≈ s·q − m, q from 0 to <paramref name="largest"/>, with the least weighted square error of 38 tries.</summary>
    public static float WithMinimum(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, int largest, out float minimum)
    {
        ReadOnlySpan<Vector256<float>> xs = MemoryMarshal.Cast<float, Vector256<float>>(x), ws = MemoryMarshal.Cast<float, Vector256<float>>(weight);
        Span<Vector256<float>> q = stackalloc Vector256<float>[xs.Length];
        Vector256<float> lows = xs[0], highs = xs[0], weights = default, products = default;
        for (int i = 0; i < xs.Length; i++)
        {
            lows = Vector256.Min(lows, xs[i]);
            highs = Vector256.Max(highs, xs[i]);
            weights += ws[i];
            products += ws[i] * xs[i];
        }
        float min = 0, max = Lane(highs, 0), sumW = Sum(weights), sumX = Sum(products);
        for (int lane = 0; lane < 8; lane++)
            (min, max) = (Math.Min(min, Lane(lows, lane)), Math.Max(max, Lane(highs, lane)));
        minimum = -min;
        if (max <= min)
            return 0;
        float scale = (max - min) / largest, bestError = float.PositiveInfinity;
        // The first try is the plain range; the others fit scale and minimum to the levels that a slightly other scale gives.
        for (int step = -1; step <= 36; step++)
        {
            float inverse = step < 0 ? largest / (max - min) : (-0.9f + 0.05f * step + largest) / (max - min);
            float thisScale = 1 / inverse, thisMin = min;
            Vector256<float> sums = default, squares = default, crossed = default;
            for (int i = 0; i < xs.Length; i++)
            {
                Vector256<float> level = Level((xs[i] - Vector256.Create(min)) * inverse, 0, largest), weighted = ws[i] * level;
                q[i] = level;
                sums += weighted;
                squares += weighted * level;
                crossed += weighted * xs[i];
            }
            if (step >= 0)
            {
                float sumL = Sum(sums), sumL2 = Sum(squares), sumXL = Sum(crossed), determinant = sumW * sumL2 - sumL * sumL;
                if (!(determinant > 0))
                    continue;
                thisScale = (sumW * sumXL - sumX * sumL) / determinant;
                thisMin = (sumL2 * sumX - sumL * sumXL) / determinant;
                if (thisMin > 0)
                    (thisMin, thisScale) = (0, sumXL / sumL2);
            }
            Vector256<float> errors = default;
            for (int i = 0; i < xs.Length; i++)
            {
                Vector256<float> off = q[i] * thisScale + Vector256.Create(thisMin) - xs[i];
                errors += ws[i] * off * off;
            }
            float error = Sum(errors);
            if (!(error < bestError))
                continue;
            (bestError, scale, min) = (error, thisScale, thisMin);
        }
        minimum = -min;
        return scale;
    }

    /// <summary>The scale s of numbers x ≈ s·q that are not negative, q from 0 to <paramref name="largest"/>: nine tries, then levels moved one by one while the error falls.</summary>
    public static float OfPositive(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, int largest, Span<int> q)
    {
        float max = 0;
        foreach (float value in x)
            max = Math.Max(max, value);
        q.Clear();
        if (max < Smallest)
            return 0;
        float best = float.PositiveInfinity, chosen = 0;
        for (int step = 0; step < 9; step++)
        {
            // The untouched range comes first and wins when equal.
            float inverse = (0.1f * (step == 0 ? 0 : step <= 4 ? step - 5 : step - 4) + largest) / max, scale = 1 / inverse, error = 0;
            for (int i = 0; i < x.Length; i++)
            {
                float off = x[i] - scale * Math.Min(largest, MathF.Round(inverse * x[i]));
                error += weight[i] * off * off;
            }
            if (error < best)
                (best, chosen) = (error, inverse);
        }
        float sumXL = 0, sumL2 = 0;
        for (int i = 0; i < x.Length; i++)
        {
            q[i] = (int)Math.Min(largest, MathF.Round(chosen * x[i]));
            sumXL += weight[i] * x[i] * q[i];
            sumL2 += weight[i] * q[i] * q[i];
        }
        for (int round = 0, changed = 1; round < 5 && changed > 0; round++)
        {
            changed = 0;
            for (int i = 0; i < x.Length; i++)
            {
                float w = weight[i], xl = sumXL - w * x[i] * q[i], l2 = sumL2 - w * q[i] * q[i];
                if (!(xl > 0 && l2 > 0))
                    continue;
                int moved = (int)Math.Min(largest, MathF.Round(x[i] * l2 / xl));
                if (moved == q[i])
                    continue;
                xl += w * x[i] * moved;
                l2 += w * moved * moved;
                if (!(xl * xl * sumL2 > sumXL * sumXL * l2))
                    continue;
                (q[i], sumXL, sumL2) = (moved, xl, l2);
                changed++;
            }
        }
        return sumL2 > 0 ? sumXL / sumL2 : 0;
    }

    /// <summary>The scale s, of either sign, of x ≈ s·q, q from −<paramref name="half"/> to half − 1: 19 tries around the largest magnitude. 0 where all is zero.</summary>
    /// <param name="x">The group.</param>
    /// <param name="weight">How much each element's error counts.</param>
    /// <param name="half">Half the number of levels.</param>
    /// <param name="inverse">What x is multiplied by to give the levels of the best try.</param>
    public static float Signed(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, int half, out float inverse)
    {
        float extreme = Extreme(x), scale = 0, best = float.NegativeInfinity;
        inverse = 0;
        if (MathF.Abs(extreme) < Smallest)
            return 0;
        ReadOnlySpan<Vector256<float>> xs = MemoryMarshal.Cast<float, Vector256<float>>(x), ws = MemoryMarshal.Cast<float, Vector256<float>>(weight);
        for (int step = 0; step < 19; step++)
        {
            float tried = -(half + 0.1f * (step == 0 ? 0 : step <= 9 ? step - 10 : step - 9)) / extreme;
            Vector256<float> crossed = default, squares = default;
            for (int i = 0; i < xs.Length; i++)
            {
                Vector256<float> level = Level(xs[i] * tried, -half, half - 1), weighted = ws[i] * level;
                crossed += weighted * xs[i];
                squares += weighted * level;
            }
            float sumXL = Sum(crossed), sumL2 = Sum(squares);
            if (step > 0 && !(sumL2 > 0 && sumXL * sumXL > best * sumL2))
                continue;
            scale = sumL2 > 0 ? sumXL / sumL2 : 0;
            (best, inverse) = (scale * sumXL, tried);
        }
        return scale;
    }

    /// <summary>The element of the largest magnitude, with its sign; the first of equals.</summary>
    public static float Extreme(ReadOnlySpan<float> x)
    {
        float extreme = 0;
        foreach (float value in x)
            if (MathF.Abs(value) > MathF.Abs(extreme))
                extreme = value;
        return extreme;
    }

    /// <summary>x rounded to the nearest whole number, ties to even, and kept between two bounds.</summary>
    public static Vector256<float> Level(Vector256<float> x, int low, int high) =>
        Vector256.Min(Vector256.Max(Vector256.Round(x), Vector256.Create((float)low)), Vector256.Create((float)high));

    /// <summary>The sum of squares.</summary>
    public static float SquareSum(ReadOnlySpan<float> x)
    {
        Vector256<float> sum = default;
        foreach (Vector256<float> v in MemoryMarshal.Cast<float, Vector256<float>>(x))
            sum += v * v;
        return Sum(sum);
    }

    private static float Sum(Vector256<float> v)
    {
        Vector128<float> four = v.GetLower() + v.GetUpper();
        return four[0] + four[2] + (four[1] + four[3]);
    }

    private static float Lane(Vector256<float> v, int lane) => v.GetElement(lane);
}
