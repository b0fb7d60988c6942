namespace EdgeLora.Core;

/// <summary>A configuration for pairs whose ranks and alphas are known by module: the commonest of each stands for all, the others are named by the shortest ends of names that tell them apart.</summary>
public static class PairConfig
{
    private static readonly string[] s_conv1D = [".attn.c_attn", ".attn.c_proj", ".mlp.c_fc", ".mlp.c_proj"];

    /// <summary>Makes it. Throws <see cref="ModelFileException"/> for <paramref name="path"/> where a name is none.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="pairs">Rank and alpha of every module.</param>
    public static PeftConfig Of(string path, IReadOnlyDictionary<string, (int Rank, double Alpha)> pairs)
    {
        try
        {
            (int rank, PeftPatternValue[] ranks) = Patterns(pairs, p => p.Rank);
            (double alpha, PeftPatternValue[] alphas) = Patterns(pairs, p => p.Alpha);
            return new() { Rank = rank, Alpha = alpha, RankPattern = ranks, AlphaPattern = alphas, TargetModules = [.. pairs.Keys.Order(StringComparer.Ordinal)], FanInFanOut = pairs.Keys.Any(IsConv1D) };
        }
        catch (ArgumentException e)
        {
            throw new ModelFileException(path, $"a module's name is none: {e.Message}", e);
        }
    }

    /// <summary>The alpha that gives <paramref name="scale"/> as alpha/<paramref name="rank"/>, to the last bit where one does.</summary>
    public static double AlphaOf(double scale, int rank)
    {
        double alpha = scale * rank;
        foreach (double near in (ReadOnlySpan<double>)[alpha, Math.BitIncrement(alpha), Math.BitDecrement(alpha)])
            if (near / rank == scale)
                return near;
        return alpha;
    }

    private static (T Common, PeftPatternValue[] Others) Patterns<T>(IReadOnlyDictionary<string, (int Rank, double Alpha)> pairs, Func<(int Rank, double Alpha), T> valueOf)
        where T : struct, IConvertible
    {
        T common = pairs.Values.CountBy(valueOf).MaxBy(c => c.Value).Key;
        // An end of names is a key where all modules that end so agree; null: they do not.
        Dictionary<string, T?> ends = [];
        foreach ((string module, (int, double) pair) in pairs)
            foreach (string end in Ends(module))
                if (!ends.TryAdd(end, valueOf(pair)) && ends[end] is { } other && !other.Equals(valueOf(pair)))
                    ends[end] = null;
        SortedDictionary<string, T> keys = new(StringComparer.Ordinal);
        foreach ((string module, (int, double) pair) in pairs)
            if (!valueOf(pair).Equals(common))
                // A name that is the end of another's stands for itself alone with an anchor.
                keys[Ends(module).FirstOrDefault(e => ends[e] is not null) ?? "^" + module] = valueOf(pair);
        return (common, [.. keys.Select(k => new PeftPatternValue(PythonPattern.DottedEnd(k.Key.StartsWith('^') ? "^" + PythonPattern.Escape(k.Key[1..]) : PythonPattern.Escape(k.Key)), k.Value.ToDouble(null)))]);
    }

    // GPT-2's layers, whose weights a checkpoint has as [inputs, outputs].
    private static bool IsConv1D(string module) => module.StartsWith("transformer.h.", StringComparison.Ordinal) && s_conv1D.Any(l => module.EndsWith(l, StringComparison.Ordinal));

    // q_proj, self_attn.q_proj, 0.self_attn.q_proj, …
    private static IEnumerable<string> Ends(string module)
    {
        for (int dot = module.LastIndexOf('.'); dot > 0; dot = module.LastIndexOf('.', dot - 1))
            yield return module[(dot + 1)..];
        yield return module;
    }
}
