namespace EdgeLora.Core;

/// <summary>
/// One number that scales all pairs of a file, where the format has only one: the number itself (MLX), or it over each pair's rank (GGUF, loralib). What of a pair's scale it does not say is left over for B.
/// Engines compute the scale in single precision, so scales that are one number there are one number.
/// </summary>
internal static class OneAlpha
{
    /// <summary>alpha, so that alpha/rank is the scale of as many pairs as can be, and what is left over for each.</summary>
    /// <param name="pairs">At least one.</param>
    /// <param name="isSingle">Whether the file stores alpha as F32.</param>
    /// <param name="given">alpha, where it is settled already.</param>
    public static (double Alpha, double[] Left) OverRank(IReadOnlyList<LowRankPair> pairs, bool isSingle, double? given = null)
    {
        double alpha = given ?? Common(pairs, p => PairConfig.AlphaOf(p.Scale, p.Rank), isSingle);
        return (alpha, [.. pairs.Select(p => Left(p.Scale, alpha / p.Rank))]);
    }

    /// <summary>The factor that is the scale of as many pairs as can be, and what is left over for each.</summary>
    public static (double Scale, double[] Left) Plain(IReadOnlyList<LowRankPair> pairs)
    {
        double scale = Common(pairs, p => p.Scale, isSingle: false);
        return (scale, [.. pairs.Select(p => Left(p.Scale, scale))]);
    }

    private static double Common(IReadOnlyList<LowRankPair> pairs, Func<LowRankPair, double> value, bool isSingle) =>
        pairs.Select(p => isSingle ? (float)value(p) : value(p)).Where(v => v != 0).CountBy(v => v).OrderByDescending(c => c.Value).ThenBy(c => c.Key).Select(c => c.Key).FirstOrDefault(1);

    // Within one step of single precision it is the same number.
    private static double Left(double scale, double carried) => Math.Abs(scale - carried) <= Math.Abs(carried) * 1.2e-7 ? 1 : scale / carried;
}
