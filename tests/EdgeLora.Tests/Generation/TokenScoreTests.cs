using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Generation;

/// <summary>Choosing from the best few scores, while the others stay where they were computed.</summary>
public sealed class TokenScoreTests
{
    private const int Vocabulary = 1100;

    private static readonly int[] s_prompt = [0, 29, 202, 303, 300];

    private static readonly SamplingOptions[] s_options =
    [
        new(), new() { Temperature = 1, TopK = 1 }, new() { Temperature = 0.7, TopK = 5 }, new() { Temperature = 1.3, TopK = 40, TopP = 0.9, MinP = 0.02 },
        new() { Temperature = 1, TopK = 127, TypicalP = 0.8 }, new() { Temperature = 1e-310, TopK = 3 }, new() { Temperature = 1e300, TopK = 3 },
    ];

    [Fact]
    public void The_best_scores_choose_what_all_scores_choose()
    {
        using CpuBackend backend = new(1);
        foreach (SamplingOptions options in s_options)
            foreach ((string kind, Func<Random, float> draw) in ((string, Func<Random, float>)[])[
                ("different", r => 20 * r.NextSingle() - 10), ("many equal", r => r.Next(-300, 3)), ("few allowed", r => r.Next(200) == 0 ? r.NextSingle() : float.NegativeInfinity),
                ("zeros of both signs", r => r.Next(2) == 0 ? 0f : -0f), ("infinite ones", r => r.Next(100) == 0 ? float.PositiveInfinity : r.NextSingle())])
            {
                using Scored scored = new(backend, options);
                Sampler all = new(options, Vocabulary);
                Random random = new(7);
                for (int i = 0; i < 40; i++)
                {
                    float[] logits = [.. Enumerable.Range(0, Vocabulary).Select(_ => draw(random))];
                    int expected = all.Next(logits, [], []), found = scored.Next(logits);
                    Assert.True(expected == found, $"{options}, {kind}, {i}: expected {expected}, found {found}");
                }
            }
    }

    [Fact]
    public void What_cannot_be_chosen_from_fails_as_with_all_scores()
    {
        using CpuBackend backend = new(1);
        float[] nothing = new float[Vocabulary], noNumber = new float[Vocabulary];
        Array.Fill(nothing, float.NegativeInfinity);
        noNumber[800] = noNumber[900] = float.NaN;
        foreach (SamplingOptions options in s_options)
            foreach (float[] logits in (float[][])[nothing, noNumber])
            {
                using Scored scored = new(backend, options);
                Assert.Equal(Assert.Throws<InvalidOperationException>(() => new Sampler(options, Vocabulary).Next(logits, [], [])).Message, Assert.Throws<InvalidOperationException>(() => scored.Next(logits)).Message);
            }
    }

    [Fact]
    public void Settings_that_look_at_every_token_want_all_scores()
    {
        Assert.Equal([1, 2, 6, 41, 128, 4, 4], s_options.Select(o => new Sampler(o, Vocabulary).Candidates));
        foreach (SamplingOptions options in (SamplingOptions[])[new() { RepetitionPenalty = 1.1 }, new() { SuppressTokens = [3] }, new() { Temperature = 1 }, new() { Temperature = 1, TopK = 400 }, new() { Temperature = 1, TopK = int.MaxValue }])
            Assert.Equal(0, new Sampler(options, Vocabulary).Candidates);
        Assert.Equal(0, new Sampler(new(), 7).Candidates);
    }

    [Theory, InlineData("cpu"), InlineData("vulkan")]
    public void Sessions_in_turns_and_together_say_what_they_say_from_all_scores(string device)
    {
        const int tokens = 8;
        using EdgeHost host = Open(device);
        AdapterPath[] paths = [AdapterPath.Root, host.Enter("math"), host.Enter("holmes")];
        SamplingOptions[] options = [new(), new() { Temperature = 0.8, TopK = 20, TopP = 0.95, Seed = 3 }, new() { RepetitionPenalty = 1.2 }];
        int[][] expected = [.. paths.Select((path, i) => FromAll(host, path, options[i], tokens))];
        foreach (bool together in (bool[])[false, true])
        {
            Batch batch = new(host.Model);
            Session[] sessions = [.. paths.Select(p => host.CreateSession(p))];
            Generator[] generators = [.. sessions.Select((session, i) =>
            {
                session.Append(s_prompt);
                return new Generator(host.Model, session, new GenerationOptions { Sampling = options[i], IgnoreEnd = true }, batch);
            })];
            for (int n = 0; n < tokens; n++)
            {
                // Those that want few and who wants all in one step, or each in a step of its own.
                if (together)
                    batch.Run(sessions);
                foreach (Generator generator in generators)
                    Assert.True(together ? generator.Choose(out _) : generator.Next(out _));
            }
            Assert.Equal(expected, sessions.Select(s => s.Tokens[s_prompt.Length..].ToArray()));
            foreach (Session session in sessions)
                session.Dispose();
        }
    }

    [Theory, InlineData("cpu"), InlineData("vulkan")]
    public void All_scores_can_be_asked_for_long_after_the_step(string device)
    {
        using EdgeHost host = Open(device);
        AdapterPath path = host.Enter("holmes");
        // More sessions than the head takes at first, so that its rows move too.
        Session[] all = [.. Enumerable.Range(0, 20).Select(_ => host.CreateSession(path))];
        Batch batch = new(host.Model);
        for (int i = 0; i < all.Length; i++)
            all[i].Append(i + 1);
        batch.Run(all);
        float[][] expected = [.. all.Select(s => s.Logits.ToArray())];
        Sampler greedy = new(new(), host.Model.Config.Vocabulary);
        foreach (Session session in all)
            session.Scores.Wanted = greedy.Candidates;
        batch.Run(all[0]);
        batch.Run(all[1]);
        batch.Run(all);
        Assert.Equal(expected.Select(l => ArgMax.Of<float>(l)), all.Select(s => s.Scores.Best[0].Token));
        batch.Run(all[3], all[4]);
        batch.Run(all[5]);
        batch.Run(all[6]);
        // A pass that is no session's writes over the same rows.
        float[] other = new float[host.Model.Config.Vocabulary];
        BatchLayout layout = new();
        using KvBuffer cache = host.Model.CreateCache(1);
        layout.BeginSequence(cache, 0);
        layout.Add(7, SiteTable.Base);
        host.Model.Forward(layout, [0], other);
        for (int i = 0; i < all.Length; i++)
            Assert.True(all[i].Logits.SequenceEqual(expected[i]), $"session {i}");
        foreach (Session session in all)
            session.Dispose();
    }

    [Fact]
    public void A_token_that_the_best_decide_brings_bytes_and_no_logits_from_the_device()
    {
        using EdgeHost host = Open("vulkan");
        VulkanBackend backend = (VulkanBackend)host.Backend;
        foreach ((SamplingOptions options, int bytes) in ((SamplingOptions, int)[])[(new(), 8), (new() { Temperature = 0.8, TopK = 5 }, 48), (new() { RepetitionPenalty = 1.1 }, 4 * host.Model.Config.Vocabulary)])
        {
            using Session session = host.CreateSession(AdapterPath.Root);
            session.Append(s_prompt);
            Generator generator = new(host.Model, session, new GenerationOptions { Sampling = options, IgnoreEnd = true });
            generator.Next(out _);
            VulkanCounters before = backend.Counters;
            for (int i = 0; i < 10; i++)
                generator.Next(out _);
            Assert.Equal((10L * bytes, 10L), (backend.Counters.ReadBytes - before.ReadBytes, backend.Counters.Submitted - before.Submitted));
            // One submission brings the rest when it is asked for.
            Assert.NotEqual(0, session.Logits.ToArray().Max());
        }
    }

    [Theory, InlineData("cpu"), InlineData("vulkan")]
    public void A_token_allocates_nothing(string device)
    {
        using EdgeHost host = Open(device);
        foreach (SamplingOptions options in (SamplingOptions[])[new(), new() { Temperature = 0.8, TopK = 20 }, new() { RepetitionPenalty = 1.1 }])
        {
            using Session session = host.CreateSession(AdapterPath.Root);
            session.Append(s_prompt);
            Generator generator = new(host.Model, session, new GenerationOptions { Sampling = options, IgnoreEnd = true, MaxTokens = 200 });
            long least = long.MaxValue;
            for (int i = 0; i < 60; i++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                generator.Next(out _);
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            Assert.Equal(0, least);
        }
    }

    private static EdgeHost Open(string device)
    {
        if (device == "vulkan")
            VulkanDriver.Require();
        return EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new EdgeHostOptions { Device = device });
    }

    private static int[] FromAll(EdgeHost host, AdapterPath path, SamplingOptions options, int tokens)
    {
        using Session session = host.CreateSession(path);
        Batch batch = new(host.Model);
        Sampler sampler = new(options, host.Model.Config.Vocabulary);
        session.Append(s_prompt);
        for (int i = 0; i < tokens; i++)
        {
            batch.Run(session);
            session.Append(sampler.Next(session.Logits, s_prompt, session.Tokens[s_prompt.Length..]));
        }
        return session.Tokens[s_prompt.Length..].ToArray();
    }

    // A sampler over the head's rows, as a model fills them.
    private sealed class Scored(CpuBackend backend, SamplingOptions options) : IDisposable
    {
        private static readonly Lazy<ModelConfig> s_config = new(() =>
        {
            using EdgeHost host = Open("cpu");
            return host.Model.Config with { Vocabulary = Vocabulary };
        });

        private readonly LogitRows _rows = new(backend, s_config.Value);
        private readonly Sampler _sampler = new(options, Vocabulary);
        private readonly TokenScores _scores = new(Vocabulary);

        public int Next(float[] logits)
        {
            _scores.Wanted = _sampler.Candidates;
            _rows.Clear(1);
            backend.Write(logits, _rows.Logits, 0);
            _rows.Give([_scores]);
            return _sampler.Next(_scores, [], []);
        }

        public void Dispose() => _rows.Dispose();
    }
}
