using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Truncation to a lower rank: the best there is by the Eckart–Young theorem, and the error that is said is the error that is there.</summary>
public sealed class RankTruncationTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-rank-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, InlineData("llama-all", 2), InlineData("llama-patterns", 3), InlineData("llama-rslora", 1), InlineData("llama-bf16-both", 2), InlineData("gpt2-all", 2), InlineData("llama-dora", 1)]
    public void The_error_that_is_said_is_there_and_scales_stay(string name, int rank)
    {
        using PeftAdapter source = PeftAdapter.Open(SharedFolder.Require("fixtures/peft/" + name));
        RankTruncation cut = RankTruncation.To(source, rank);
        List<LowRankPair> before = LowRankPair.Of(source, []), after = LowRankPair.Of(cut.Adapter, []);
        double lost = 0, all = 0;
        foreach ((LowRankPair was, LowRankPair now) in before.Zip(after))
        {
            Assert.Equal((was.Module, Math.Min(was.Rank, rank), (float)was.Scale, was.A.Type), (now.Module, now.Rank, (float)now.Scale, now.A.Type));
            Assert.Equal(now.Rank, cut.Adapter.Config.RankOf(now.Module));
            double[] wanted = AdapterComparison.Delta(was), found = AdapterComparison.Delta(now);
            lost += wanted.Zip(found).Sum(p => (p.First - p.Second) * (p.First - p.Second));
            all += wanted.Sum(x => x * x);
        }
        Assert.Equal(before.Count(p => p.Rank > rank), cut.Truncated);
        Assert.InRange(cut.Error, 0.01, 1);
        // BF16 rounds the new factors: 2^-9 of the change beside what is lost.
        Assert.Equal(Math.Sqrt(lost / all), cut.Error, name.Contains("bf16") ? 3e-3 : 1e-6);
    }

    [Fact]
    public void A_pair_of_a_hidden_lower_rank_loses_nothing()
    {
        Random random = new(3);
        float[] a = [.. Enumerable.Range(0, 12).Select(_ => random.NextSingle())], b = [.. Enumerable.Range(0, 10).Select(_ => random.NextSingle())];
        // The second row of A is twice the first: rank 1.
        for (int i = 0; i < 6; i++)
            a[6 + i] = 2 * a[i];
        PeftConfig config = new() { Rank = 2, Alpha = 3, TargetModules = ["m"] };
        using PeftAdapter source = PeftAdapter.Create("memory", config, [("x.m", PeftPart.A, Tensor.FromFloats("", new(2, 6), a)), ("x.m", PeftPart.B, Tensor.FromFloats("", new(5, 2), b))]);
        RankTruncation cut = RankTruncation.To(source, 1);
        Assert.InRange(cut.Error, 0, 1e-7);
        Assert.InRange(AdapterComparison.DeltaError(source, cut.Adapter), 0, 1e-6);
    }

    [Fact]
    public void Convert_truncates_and_says_what_is_lost()
    {
        string target = Path.Combine(_folder, "cut");
        JsonElement done = JsonDocument.Parse(Command.Run("convert", SharedFolder.Require("fixtures/peft/llama-qv"), target, "--rank", "2", "--json")).RootElement;
        Assert.InRange(done.GetProperty("truncationError").GetDouble(), 0.01, 1);
        Assert.Equal(done.GetProperty("modules").GetInt32(), done.GetProperty("truncated").GetInt32());
        using PeftFixture fixture = new("llama-qv");
        using LoraAdapter fitted = LoraAdapter.Load(target, "cut", fixture.Model.Sites);
        Assert.Equal((2, 2), (fitted.MinRank, fitted.MaxRank));
        Assert.Contains("--rank 0: expected 1 or more", Command.Fail("convert", fixture.Folder, target + "0", "--rank", "0"));
    }

    [Fact]
    public void Pairs_that_the_base_lost_are_not_truncated()
    {
        using PeftAdapter adapter = PeftAdapter.Open(SharedFolder.Require("fixtures/peft/llama-pissa/trained"));
        Assert.Contains("init_lora_weights", Assert.Throws<ModelFileException>(() => RankTruncation.To(adapter, 1)).Message);
    }
}
