using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Rotary frequencies in force, after scaling. F64; angle = position · frequency.</summary>
/// <param name="Frequencies">[r/2] radians a position.</param>
/// <param name="AttentionFactor">Factor on cos and sin: 1 but for yarn and longrope.</param>
public sealed record RopeFrequencies(double[] Frequencies, double AttentionFactor)
{
    /// <summary>longrope: the frequencies of every position as soon as a text is longer than <see cref="Original"/>; null: there is one set only. arXiv:2402.13753.</summary>
    public double[]? Long { get; init; }

    /// <summary>The longest text that <see cref="Frequencies"/> are for, where there are others.</summary>
    public int Original { get; init; }

    /// <summary>Whether a text of so many tokens takes <see cref="Long"/>.</summary>
    public bool IsLong(int length) => Long is not null && length > Original;

    /// <summary>
    /// Takes a sequence whose keys will be turned. Throws <see cref="InvalidOperationException"/> where those before were turned by the other set: a text that outgrows <see cref="Original"/> has to be computed anew.
    /// </summary>
    public void Take(in SequenceSpan sequence)
    {
        if (Long is null || sequence.Cache is not { } cache)
            return;
        bool isLong = IsLong(sequence.Length);
        if (sequence.Past > 0 && cache.LongRope != isLong)
            throw new InvalidOperationException($"{sequence.Length} tokens take longrope's {(isLong ? "long" : "short")} factors, the keys of the first {sequence.Past} were made with the others: expected a text that is computed anew at {Original} tokens");
        cache.LongRope = isLong;
    }

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
        double[] frequencies = IsLong(length) ? Long! : Frequencies;
        for (int t = 0; t < positions.Length; t++)
            for (int i = 0; i < pairs; i++)
            {
                (double s, double c) = Math.SinCos(positions[t] * frequencies[i]);
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
    /// Reads <c>rope_parameters</c> (or the older <c>rope_scaling</c> beside <c>rope_theta</c>): default, linear, llama3, yarn (arXiv:2309.00071), longrope (arXiv:2402.13753).
    /// Throws <see cref="ModelFileException"/> for another type.
    /// </summary>
    /// <param name="config">The model's config.</param>
    /// <param name="rotated">r: rotated dimensions of a head, even.</param>
    /// <param name="contextLength">max_position_embeddings: the original length where the rope section names none.</param>
    public static RopeFrequencies Read(HfConfig config, int rotated, int contextLength) => Read(config, Section(config), rotated, contextLength, 10000);

    /// <summary>The frequencies of one section: where a model has several, or theta has another default.</summary>
    /// <param name="config">The model's config.</param>
    /// <param name="rope">The section; the config itself where there is none.</param>
    /// <param name="rotated">r.</param>
    /// <param name="contextLength">max_position_embeddings.</param>
    /// <param name="absentTheta">The base where neither the section nor the config names one.</param>
    public static RopeFrequencies Read(HfConfig config, HfConfig rope, int rotated, int contextLength, double absentTheta)
    {
        double theta = rope.TryGetDouble("rope_theta", 1, 1e12, out double inner) ? inner : config.TryGetDouble("rope_theta", 1, 1e12, out double outer) ? outer : config.GetDouble("rotary_emb_base", 1, 1e12, absentTheta);
        string type = ReferenceEquals(rope, config) ? "default" : rope.GetString("rope_type", rope.GetString("type", "default"));
        // Phi-3's first files call longrope by other names.
        if (type == "su" || (type == "yarn" && rope.Has("short_factor")))
            type = "longrope";
        double[] f = Powers(theta, rotated);
        if (rope.TryGetDoubles("frequency_divisors", 1e-9, 1e9, out IReadOnlyList<double> divisors))
            for (int i = 0; i < Math.Min(f.Length, divisors.Count); i++)
                f[i] /= divisors[i];
        switch (type)
        {
            case "default":
                return new(f, 1);
            case "linear":
                double linear = rope.GetDouble("factor", 1e-6, 1e9);
                for (int i = 0; i < f.Length; i++)
                    f[i] /= linear;
                return new(f, 1);
            case "llama3":
                return new(Llama3(rope, f, contextLength), 1);
            case "yarn":
                return Yarn(config, rope, f, rotated, theta, contextLength);
            case "longrope":
                return LongRope(config, rope, f, contextLength);
            default:
                throw rope.Refusal(rope.Has("rope_type") ? "rope_type" : "type", "default, linear, llama3, yarn or longrope");
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

    /// <summary>Unscaled frequencies, θ^(-2i/r).</summary>
    public static double[] Powers(double theta, int rotated)
    {
        double[] f = new double[rotated / 2];
        for (int i = 0; i < f.Length; i++)
            f[i] = Math.Pow(theta, -2.0 * i / rotated);
        return f;
    }

    private static RopeFrequencies LongRope(HfConfig config, HfConfig rope, double[] f, int contextLength)
    {
        int original = config.TryGetInt("original_max_position_embeddings", 2, int.MaxValue, out int beside) ? beside : rope.GetInt("original_max_position_embeddings", 2, int.MaxValue, contextLength);
        double factor = rope.TryGetDouble("factor", 1e-6, 1e9, out double given) ? given : (double)contextLength / original;
        double attention = rope.TryGetDouble("attention_factor", 0, 1e9, out double named) ? named : factor <= 1 ? 1 : Math.Sqrt(1 + Math.Log(factor) / Math.Log(original));
        double[] Divided(string field)
        {
            if (!rope.TryGetDoubles(field, 1e-9, 1e9, out IReadOnlyList<double> divisors) || divisors.Count != f.Length)
                throw rope.Refusal(field, $"{f.Length} numbers, one a rotated pair");
            return [.. f.Select((x, i) => x / divisors[i])];
        }
        return new(Divided("short_factor"), attention) { Long = Divided("long_factor"), Original = original };
    }

    private static double[] Llama3(HfConfig rope, double[] f, int contextLength)
    {
        double factor = rope.GetDouble("factor", 1e-6, 1e9), low = rope.GetDouble("low_freq_factor", 1e-9, 1e9), high = rope.GetDouble("high_freq_factor", 1e-9, 1e9);
        double original = rope.GetDouble("original_max_position_embeddings", 1, 1e9, contextLength);
        for (int i = 0; i < f.Length; i++)
        {
            double x = f[i], wavelength = 2 * Math.PI / x, smooth = (original / wavelength - low) / (high - low);
            f[i] = wavelength > original / low ? x / factor : wavelength < original / high ? x : (1 - smooth) * x / factor + smooth * x;
        }
        return f;
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
        for (int i = 0; i < f.Length; i++)
        {
            double keep = 1 - Math.Clamp((i - from) / (to - from), 0, 1);
            f[i] = f[i] / factor * (1 - keep) + f[i] * keep;
        }
        static double Magnitude(double scale, double m) => scale <= 1 ? 1 : 0.1 * m * Math.Log(scale) + 1;
        bool hasM = rope.TryGetDouble("mscale", -1e9, 1e9, out double mscale), hasAll = rope.TryGetDouble("mscale_all_dim", -1e9, 1e9, out double all);
        double attention = rope.TryGetDouble("attention_factor", 0, 1e9, out double named) ? named
            : hasM && hasAll && mscale != 0 && all != 0 ? Magnitude(factor, mscale) / Magnitude(factor, all)
            : Magnitude(factor, 1);
        return new(f, attention);
    }
}
