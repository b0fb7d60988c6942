using EdgeLora.Cpu;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Models;

/// <summary>longrope: which factors the keys are turned by depends on how long a text is. ../shared/fixtures/models/phi3-longrope: 36 tokens are the border.</summary>
public sealed class LongRopeTests : IDisposable
{
    private const int Border = 36;

    private readonly CpuBackend _backend = new(1);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void A_text_that_outgrows_the_short_factors_is_computed_anew()
    {
        using DecoderModel model = Load();
        using Session session = new(model, AdapterPath.Root);
        Batch batch = new(model, 16);
        session.Append(Ids(Border - 2));
        for (int count = Border - 2; count < Border + 3; count++)
        {
            Assert.Equal(count == Border + 1 ? count : count == Border - 2 ? Border - 2 : 1, session.Pending);
            batch.Run(session);
            Assert.Equal(LastRow(model, count), session.Logits.ToArray());
            session.Append(Ids(count + 1)[^1]);
        }
    }

    [Fact]
    public void A_text_that_is_cut_back_takes_the_short_factors_again()
    {
        using DecoderModel model = Load();
        using Session session = new(model, AdapterPath.Root);
        Batch batch = new(model);
        session.Append(Ids(Border + 4));
        batch.Run(session);
        session.Truncate(Border);
        batch.Run(session);
        Assert.Equal(LastRow(model, Border), session.Logits.ToArray());
    }

    [Fact]
    public void A_long_prompt_has_the_same_bits_however_it_is_cut()
    {
        using DecoderModel model = Load();
        foreach (int chunk in (int[])[1, 7, 64])
        {
            using Session session = new(model, AdapterPath.Root);
            session.Append(Ids(Border + 4));
            new Batch(model, chunk).Run(session);
            Assert.Equal(LastRow(model, Border + 4), session.Logits.ToArray());
        }
    }

    [Fact]
    public void Keys_of_both_kinds_are_never_mixed()
    {
        using DecoderModel model = Load();
        using KvBuffer cache = model.CreateCache(64);
        float[] logits = new float[model.Config.Vocabulary];
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        foreach (int id in Ids(Border))
            batch.Add(id, SiteTable.Base);
        model.Forward(batch, [0], logits);
        batch.Clear();
        batch.BeginSequence(cache, Border);
        batch.Add(1, SiteTable.Base);
        Assert.Contains("37 tokens take longrope's long factors", Assert.Throws<InvalidOperationException>(() => model.Forward(batch, [0], logits)).Message);
    }

    private DecoderModel Load() => DecoderModel.Load(BaseCheckpoint.OpenFolder(SharedFolder.Require("fixtures/models/phi3-longrope")), _backend);

    private static int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(i => 3 + i * 29 % 300)];

    private static float[] LastRow(DecoderModel model, int count) => ModelGolden.Logits(model, AdapterPath.Root, Ids(count))[^model.Config.Vocabulary..];
}
