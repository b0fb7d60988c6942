using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Rotary frequencies in force, after scaling. F64; angle = position · frequency.</summary>
/// <param name="Frequencies">[r/2] radians a position.</param>
/// <param name="AttentionFactor">Factor on cos and sin: 1 but for yarn.</param>
public sealed record RopeFrequencies(double[] Frequencies, double AttentionFactor)
{
    /// <summary>r/2.</summary>
    public int Pairs => Frequencies.Length;

    /// <summary>Cosines and sines of every position's angles, attention factor included: [T, r/2] each, computed in F64.</summary>
    /// <param name="positions">[T].</param>
    /// <param name="length">Tokens of the sequence as far as they are known.</param>
    /// <param name="cos">[T, r/2].</param>
    /// <param name="sin">[T, r/2].</param>
    public void WriteAngles(ReadOnlySpan<int> positions, int length, Span<float> cos, Span<float> sin)
    {
        int pairs = Pairs;
        for (int t = 0; t < positions.Length; t++)
            for (int i = 0; i < pairs; i++)
            {
                (double s, double c) = Math.SinCos(positions[t] * Frequencies[i]);
                cos[t * pairs + i] = (float)(c * AttentionFactor);
                sin[t * pairs + i] = (float)(s * AttentionFactor);
            }
    }

    /// <summary>Dimensions of a head that are rotated: its share <c>partial_rotary_factor</c>, within the rope section or beside it, or <c>rotary_pct</c>; truncated.</summary>
    /// <param name="config">The model's config.</param>
    /// <param name="headSize">Hd.</param>
    /// <param name="absent">The share where none is named.</param>
    public static int RotatedSize(HfConfig config, int headSize, double absent)
    {
        double share = absent;
        bool named = Section(config).TryGetDouble("partial_rotary_factor", 0, 1, out share) || config.TryGetDouble("partial_rotary_factor", 0, 1, out share) || config.TryGetDouble("rotary_pct", 0, 1, out share);
        int rotated = (int)(headSize * (named ? share : absent));
        return rotated > 0 && rotated % 2 == 0 ? rotated : throw config.Refusal("partial_rotary_factor", $"an even number of the {headSize} dimensions of a head, which {rotated} is not");
    }

    /// <summary>
    /// Reads <c>rope_parameters</c> (or the older <c>rope_scaling</c> beside <c>rope_theta</c>): default, linear, llama3, yarn (arXiv:2309.00071).
    /// Throws <see cref="ModelFileException"/> for another type.
    /// </summary>
    /// <param name="config">The model's config.</param>
    /// <param name="rotated">r: rotated dimensions of a head, even.</param>
    /// <param name="contextLength">max_position_embeddings: the original length where the rope section names none.</param>
    public static RopeFrequencies Read(HfConfig config, int rotated, int contextLength)
    {
        HfConfig rope = Section(config);
        double theta = rope.TryGetDouble("rope_theta", 1, 1e12, out double inner) ? inner : config.GetDouble("rope_theta", 1, 1e12, 10000);
        string type = ReferenceEquals(rope, config) ? "default" : rope.GetString("rope_type", rope.GetString("type", "default"));
        double[] f = new double[rotated / 2];
        for (int i = 0; i < f.Length; i++)
            f[i] = Math.Pow(theta, -2.0 * i / rotated);
        if (rope.TryGetDoubles("frequency_divisors", 1e-9, 1e9, out IReadOnlyList<double> divisors))
            for (int i = 0; i < Math.Min(f.Length, divisors.Count); i++)
                f[i] /= divisors[i];
        switch (type)
        {
            case "default":
                return new(f, 1);
            case "linear":
                double linear = rope.GetDouble("factor", 1e-6, 1e9);
                return new(Array.ConvertAll(f, x => x / linear), 1);
            case "llama3":
                return new(Llama3(rope, f, contextLength), 1);
            case "yarn":
                return Yarn(config, rope, f, rotated, theta, contextLength);
            default:
                throw rope.Refusal(rope.Has("rope_type") ? "rope_type" : "type", "default, linear, llama3 or yarn");
        }
    }

    // The config itself where it has no rope section.
    private static HfConfig Section(HfConfig config)
    {
        foreach (string field in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
            if (config.TryGetObject(field, out HfConfig? section))
                return section;
        return config;
    }

    private static double[] Llama3(HfConfig rope, double[] f, int contextLength)
    {
        double factor = rope.GetDouble("factor", 1e-6, 1e9), low = rope.GetDouble("low_freq_factor", 1e-9, 1e9), high = rope.GetDouble("high_freq_factor", 1e-9, 1e9);
        double original = rope.GetDouble("original_max_position_embeddings", 1, 1e9, contextLength);
        return Array.ConvertAll(f, x =>
        {
            double wavelength = 2 * Math.PI / x;
            if (wavelength > original / low)
                return x / factor;
            if (wavelength < original / high)
                return x;
            double smooth = (original / wavelength - low) / (high - low);
            return (1 - smooth) * x / factor + smooth * x;
        });
    }

    private static RopeFrequencies Yarn(HfConfig config, HfConfig rope, double[] f, int rotated, double theta, int contextLength)
    {
        double original = config.TryGetDouble("original_max_position_embeddings", 1, 1e9, out double beside) ? beside
            : rope.GetDouble("original_max_position_embeddings", 1, 1e9, contextLength);
        double factor = rope.TryGetDouble("factor", 1e-6, 1e9, out double given) ? given : contextLength / original;
        double fast = rope.GetDouble("beta_fast", 1e-9, 1e9, 32), slow = rope.GetDouble("beta_slow", 1e-9, 1e9, 1);
        double Dimension(double rotations) => rotated * Math.Log(original / (rotations * 2 * Math.PI)) / (2 * Math.Log(theta));
        double from = Dimension(fast), to = Dimension(slow);
        if (rope.GetBool("truncate", true))
            (from, to) = (Math.Floor(from), Math.Ceiling(to));
        (from, to) = (Math.Max(from, 0), Math.Min(to, rotated - 1));
        if (from == to)
            to += 0.001;
        double[] blended = new double[f.Length];
        for (int i = 0; i < f.Length; i++)
        {
            double keep = 1 - Math.Clamp((i - from) / (to - from), 0, 1);
            blended[i] = f[i] / factor * (1 - keep) + f[i] * keep;
        }
        static double Magnitude(double scale, double m) => scale <= 1 ? 1 : 0.1 * m * Math.Log(scale) + 1;
        bool hasM = rope.TryGetDouble("mscale", -1e9, 1e9, out double mscale), hasAll = rope.TryGetDouble("mscale_all_dim", -1e9, 1e9, out double all);
        double attention = rope.TryGetDouble("attention_factor", 0, 1e9, out double named) ? named
            : hasM && hasAll && mscale != 0 && all != 0 ? Magnitude(factor, mscale) / Magnitude(factor, all)
            : Magnitude(factor, 1);
        return new(blended, attention);
    }
}
