using System.Diagnostics;

namespace EdgeLora.Fuzz;

/// <summary>What a run came to.</summary>
/// <param name="Inputs">Inputs that were judged.</param>
/// <param name="Accepted">Of these: loaded, not refused.</param>
/// <param name="Corpus">Inputs that reached something new, seeds among them.</param>
/// <param name="Cells">Cells of the trace that were reached; 0 without instrumentation.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="MostBeyond">Most bytes allocated beyond 4 times an input's length.</param>
/// <param name="SlowestSeconds">The longest that one input took.</param>
/// <param name="Findings">What is wrong, once each, with the smallest input known.</param>
internal sealed record FuzzReport(long Inputs, long Accepted, int Corpus, int Cells, double Seconds, long MostBeyond, double SlowestSeconds, IReadOnlyList<(Finding Finding, byte[] Input)> Findings);

/// <summary>Mutates, judges, and keeps what reaches new code as a source of more.</summary>
internal sealed class FuzzRun(FuzzFormat format, string folder, int seed, Coverage? coverage, bool isAlone = true)
{
    private const int MostOfOneKind = 1, PerSource = 16, CostlySourceEvery = 64;

    // A source whose kin cost so much is tried seldom: a loop of a million rounds is no more new than one of ten.
    private const long Costly = 1 << 20;

    private readonly List<(byte[] Input, bool IsCostly)> _corpus = [];
    private readonly Dictionary<string, int> _seen = [];
    private readonly List<(Finding, byte[])> _findings = [];

    /// <summary>Told of each input before it is judged.</summary>
    public Action<long>? Judging { get; init; }

    /// <summary>Told of inputs that reached something new, seeds not among them.</summary>
    public Action<byte[]>? Kept { get; init; }

    /// <summary>Runs until so many inputs were judged or so long has passed.</summary>
    /// <param name="inputs">Most inputs.</param>
    /// <param name="limit">Longest time.</param>
    /// <param name="seeds">Where it starts; the format's own come before.</param>
    public FuzzReport Run(long inputs, TimeSpan limit, IEnumerable<byte[]> seeds)
    {
        format.Prepare(folder);
        Judge judge = new(format, folder, isAlone);
        Mutator mutator = new(format, seed);
        long start = Stopwatch.GetTimestamp(), count = 0;
        bool isNew = false;
        // What the reader compiles and keeps is paid for before anything is measured.
        byte[][] own = [.. format.Seeds()];
        foreach (byte[] input in own)
            _ = judge.Run(input);
        foreach (byte[] input in own.Concat(seeds))
        {
            Try(input);
            _corpus.Add((input, judge.Allocated > Costly));
        }
        while (count < inputs && Stopwatch.GetElapsedTime(start) < limit)
        {
            // Half of the time one of the newest: they have been tried least.
            int newest = Math.Min(32, _corpus.Count);
            (byte[] source, bool isCostly) = _corpus[mutator.Next(2) == 0 ? _corpus.Count - 1 - mutator.Next(newest) : mutator.Next(_corpus.Count)];
            byte[] other = _corpus[mutator.Next(_corpus.Count)].Input;
            if (isCostly && mutator.Next(CostlySourceEvery) > 0)
                continue;
            for (int i = 0; i < PerSource && count < inputs; i++)
            {
                byte[] input = mutator.Mutate(source, other);
                if (mutator.Next(4) > 0)
                    input = format.Repair(input) ?? input;
                if (!Try(input))
                    continue;
                _corpus.Add((input, judge.Allocated > Costly));
                Kept?.Invoke(input);
            }
        }
        return new(count, judge.Accepted, _corpus.Count, coverage?.Reached ?? 0, Stopwatch.GetElapsedTime(start).TotalSeconds, judge.MostBeyond, judge.Slowest.TotalSeconds, _findings);

        bool Try(byte[] input)
        {
            Judging?.Invoke(count);
            count++;
            isNew = false;
            Finding? finding = judge.Run(input, coverage is null ? null : coverage.Begin, coverage is null ? null : () => isNew = coverage.End());
            if (finding is not null)
            {
                string key = finding.Kind + finding.Where;
                int known = _seen.GetValueOrDefault(key);
                if (known < MostOfOneKind)
                {
                    _seen[key] = known + 1;
                    _findings.Add((finding, Smallest(judge, finding, input)));
                }
            }
            return isNew;
        }
    }

    // Cuts pieces out, halving their size, as long as the same thing stays wrong.
    private byte[] Smallest(Judge judge, Finding finding, byte[] input)
    {
        if (finding.Kind == "time")
            return input;
        int tries = 0;
        for (int size = input.Length / 2; size > 0; size /= 2)
            for (int at = 0; at + size <= input.Length && tries < 3000; tries++)
            {
                Judging?.Invoke(0);
                byte[] shorter = [.. input.AsSpan(0, at), .. input.AsSpan(at + size)];
                if (judge.Run(shorter) is { } same && same.Kind == finding.Kind && same.Where == finding.Where)
                    input = shorter;
                else
                    at += size;
            }
        return input;
    }
}
