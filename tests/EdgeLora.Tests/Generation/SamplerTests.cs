using System.Text.Json;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Generation;

public class SamplerTests
{
    private static readonly float[] Ramp = [.. Enumerable.Range(0, 100).Select(i => MathF.Sin(i * 12.9898f) * 4)];

    [Fact]
    public void Every_reference_distribution_is_matched()
    {
        string folder = SharedFolder.Require("fixtures/sampling");
        using JsonDocument logits = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "logits.json")));
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "distributions.json")));
        int count = 0;
        List<string> faults = [];
        foreach (JsonElement row in rows.RootElement.GetProperty("cases").EnumerateArray())
        {
            count++;
            string name = row.GetProperty("logits").GetString()!;
            if (SamplingFixture.Difference(row, SamplingFixture.Logits(logits.RootElement.GetProperty(name))) is string fault)
                faults.Add($"{name} {row.GetProperty("settings")}: {fault}");
        }
        Assert.True(faults.Count == 0, $"{faults.Count} of {count}\n" + string.Join('\n', faults.Take(20)));
        Assert.True(count >= 340);
    }

    [Fact]
    public void Greedy_picks_the_lowest_id_of_the_largest_logits()
    {
        foreach (int size in new[] { 1, 2, 7, 8, 9, 16, 31, 33, 1000, 151_936 })
            foreach (int at in new[] { 0, size / 3, size - 1 })
            {
                float[] logits = new float[size];
                Array.Fill(logits, -2f);
                logits[at] = 3f;
                logits[size - 1] = 3f;
                Assert.Equal(at, new Sampler(new(), size).Next(logits, [], []));
            }
    }

    [Fact]
    public void Greedy_obeys_the_penalties_and_ignores_the_warpers()
    {
        Sampler sampler = new(new() { SuppressTokens = [2], LogitBias = new Dictionary<int, double> { [0] = 10 }, TopK = 1, TypicalP = 0.1 }, 3);
        Assert.Equal(0, sampler.Next([1, 2, 30], [], []));
        Assert.Equal([0], sampler.Distribution([1, 2, 30], [], []).Ids);
    }

    [Fact]
    public void The_same_seed_gives_the_same_tokens_and_Reset_starts_over()
    {
        SamplingOptions options = new() { Temperature = 1, TopP = 0.95, Seed = 42 };
        int[] Draw(Sampler s) => [.. Enumerable.Range(0, 50).Select(_ => s.Next(Ramp, [], []))];
        Sampler first = new(options, 100);
        int[] tokens = Draw(first);
        Assert.Equal(tokens, Draw(new(options, 100)));
        Assert.NotEqual(tokens, Draw(first));
        first.Reset();
        Assert.Equal(tokens, Draw(first));
        Assert.NotEqual(tokens, Draw(new(options with { Seed = 43 }, 100)));
    }

    [Fact]
    public void Drawn_tokens_follow_the_distribution()
    {
        Sampler sampler = new(new() { Temperature = 1.5, TopK = 12, Seed = 7 }, 100);
        TokenDistribution expected = sampler.Distribution(Ramp, [], []);
        const int Draws = 40_000;
        int[] counts = new int[100];
        for (int i = 0; i < Draws; i++)
            counts[sampler.Next(Ramp, [], [])]++;
        Assert.Equal(Draws, expected.Ids.Sum(id => counts[id]));
        for (int i = 0; i < expected.Ids.Count; i++)
        {
            double p = expected.Probabilities[i];
            Assert.InRange(counts[expected.Ids[i]], Draws * p - 5 * Math.Sqrt(Draws * p) - 5, Draws * p + 5 * Math.Sqrt(Draws * p) + 5);
        }
        Assert.Equal(1, expected.Probabilities.Sum(), 12);
    }

    [Fact]
    public void The_random_numbers_are_those_of_the_published_generator()
    {
        // xoshiro256** seeded by SplitMix64 from 42: the first draws times 1000, computed with the authors' formulas in exact integers.
        Sampler sampler = new(new() { Temperature = 1, Seed = 42 }, 1000);
        int[] tokens = [.. Enumerable.Range(0, 12).Select(_ => sampler.Next(new float[1000], [], []))];
        Assert.Equal([83, 378, 680, 924, 991, 769, 719, 850, 761, 583, 682, 290], tokens);
    }

    [Fact]
    public void Choosing_allocates_nothing_after_the_first_call()
    {
        SamplingOptions all = new()
        {
            LogitBias = new Dictionary<int, double> { [3] = 1 },
            SequenceBias = [new([1, 2], -1)],
            RepetitionPenalty = 1.1,
            FrequencyPenalty = 0.1,
            PresencePenalty = 0.1,
            NoRepeatNgramSize = 3,
            BadWordsIds = [[4, 5]],
            MinNewTokens = 100,
            EosTokenIds = [0],
            SuppressTokens = [9],
            Temperature = 0.8,
            TopK = 40,
            TopP = 0.9,
            MinP = 0.01,
            TypicalP = 0.9,
        };
        int[] prompt = [1, 2, 3, 1], generated = [2, 3, 4];
        foreach (SamplingOptions options in new[] { new(), all, all with { Temperature = 0 }, all with { TopK = 0 }, new() { Temperature = 1 } })
        {
            Sampler sampler = new(options, 100);
            for (int i = 0; i < 3; i++)
                sampler.Next(Ramp, prompt, generated);
            // The runtime may allocate once on this thread while it retiers; what a call allocates shows in every round.
            long least = long.MaxValue;
            for (int round = 0; round < 5; round++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 100; i++)
                    sampler.Next(Ramp, prompt, generated);
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            Assert.Equal(0, least);
        }
    }

    [Fact]
    public void Malformed_options_are_refused_with_every_fault_named()
    {
        SamplingOptions bad = new() { Temperature = -1, TopP = 1.5, MinP = double.NaN, TypicalP = 0, TopK = -3, RepetitionPenalty = 0, SuppressTokens = [50], MinNewTokens = 2, BadWordsIds = [[]] };
        ArgumentException e = Assert.Throws<ArgumentException>(() => new Sampler(bad, 50));
        foreach (string part in new[] { "Temperature: expected 0 (greedy) or more, found -1", "TopP: expected a number in [0, 1], found 1.5", "MinP", "TypicalP", "TopK", "RepetitionPenalty", "SuppressTokens: expected token ids in [0, 50), found 50", "EosTokenIds", "BadWordsIds[0]" })
            Assert.Contains(part, e.Message);
        Assert.Throws<ArgumentException>(() => new Sampler(new(), 0));
        Assert.Throws<ArgumentException>(() => new Sampler(new(), 50).Next(new float[49], [], []));
        Assert.Throws<ArgumentException>(() => new Sampler(new() { RepetitionPenalty = 2 }, 50).Next(new float[50], [50], []));
    }

    [Fact]
    public void Nothing_to_choose_from_is_an_error_not_a_token()
    {
        float[] none = [float.NegativeInfinity, float.NegativeInfinity];
        foreach (double temperature in new[] { 0.0, 1.0 })
        {
            Sampler sampler = new(new() { Temperature = temperature }, 2);
            Assert.Throws<InvalidOperationException>(() => sampler.Next(none, [], []));
            Assert.Contains("token 1", Assert.Throws<InvalidOperationException>(() => sampler.Next([0, float.NaN], [], [])).Message);
        }
    }

    [Fact]
    public void A_large_vocabulary_is_filtered_as_a_sorted_one_would_be()
    {
        Random random = new(5);
        float[] logits = [.. Enumerable.Range(0, 20_000).Select(_ => (float)(random.NextDouble() * 12))];
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i])];
        double total = logits.Sum(l => Math.Exp(l)), mass = 0;
        int count = 0;
        while (mass < 0.7 * total)
            mass += Math.Exp(logits[order[count++]]);
        Assert.Equal(order.Take(count).Order(), new Sampler(new() { Temperature = 1, TopP = 0.7 }, logits.Length).Distribution(logits, [], []).Ids);
        Assert.Equal(order.Take(5000).Order(), new Sampler(new() { Temperature = 1, TopK = 5000 }, logits.Length).Distribution(logits, [], []).Ids);
    }
}
