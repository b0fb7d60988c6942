using EdgeLora.Core;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>From rows to examples: cutting, packing, splitting, ordering and the report.</summary>
public sealed class TrainingDataTests : DataFolder
{
    private string Numbered(int count, string name = "rows.jsonl") =>
        Write(name, string.Concat(Enumerable.Range(0, count).Select(i => $"{{\"input_ids\": [{string.Join(", ", Enumerable.Range(0, 2 + i % 7).Select(t => i * 10 + t))}], \"labels\": [{string.Join(", ", Enumerable.Range(0, 2 + i % 7).Select(t => t % 3 == 0 ? -100 : i * 10 + t))}]}}\n")));

    private static int RowOf(TrainingExample example) => example.InputIds[0] / 10;

    [Fact]
    public void Tokenised_rows_need_no_tokenizer_and_stay_as_they_are()
    {
        TrainingData data = TrainingData.Load(new() { Files = [Numbered(9)] }, null);
        Assert.Equal(Enumerable.Range(0, 9), data.Train.Select(RowOf));
        Assert.Equal([60, 61, 62, 63, 64, 65, 66, 67], data.Train[6].InputIds);
        Assert.Equal([-100, 61, 62, -100, 64, 65, -100, 67], data.Train[6].Labels);
        Assert.Empty(data.Validation);
        Assert.Equal(data.Train.Sum(e => e.Labels.Count(l => l >= 0)), data.Report.TargetTokens);
    }

    [Fact]
    public void An_example_over_the_cutoff_is_cut_and_counted()
    {
        TrainingData data = TrainingData.Load(new() { Files = [Numbered(7)], CutoffLength = 5 }, null);
        Assert.All(data.Train, e => Assert.Equal(Math.Min(5, 2 + RowOf(e)), e.InputIds.Length));
        Assert.Equal((3, 1 + 2 + 3), (data.Report.Truncated, data.Report.TokensDropped));
        Assert.Contains("3 examples cut at the cutoff length, 6 tokens dropped", data.Report.Lines());
    }

    [Fact]
    public void Rows_that_teach_nothing_are_counted_by_their_reason()
    {
        TrainingData data = TrainingData.Load(new()
        {
            Files = [Write("a.jsonl", """
                {"input_ids": [1, 2, 3], "labels": [1, 2, 3]}
                {"input_ids": [1, 2, 3], "labels": [1, -100, -100]}
                {"input_ids": [], "labels": []}
                {"input_ids": [1, 2, 3, 4], "labels": [-100, -100, -100, 4]}
                {"input_ids": [1, 2], "labels": [-100, -100], "attention_mask": [0, 0]}
                """)],
            CutoffLength = 3,
        }, null);
        Assert.Single(data.Train);
        Assert.Equal(new Dictionary<string, int> { ["empty"] = 2, ["no token to train"] = 1, ["no token to train before the cutoff length"] = 1 }, data.Report.Skipped);
        Assert.Equal((5, 1, 0), (data.Report.RowsRead, data.Report.Examples, data.Report.Truncated));
    }

    [Fact]
    public void Nothing_to_train_on_is_an_error_that_says_why()
    {
        string path = Write("a.jsonl", "{\"input_ids\": [1, 2], \"labels\": [-100, -100]}");
        Assert.Equal($"{path}: no example to train on in 1 rows (1 rows: no token to train)", Assert.Throws<InvalidDataException>(() => TrainingData.Load(new() { Files = [path] }, null)).Message);
    }

    [Fact]
    public void Packing_keeps_every_example_whole_and_apart()
    {
        DataOptions options = new() { Files = [Numbered(50)], CutoffLength = 11 };
        TrainingData plain = TrainingData.Load(options, null), packed = TrainingData.Load(options with { Packing = true }, null);
        List<(string Ids, string Labels)> found = [];
        foreach (TrainingExample row in packed.Train)
        {
            Assert.True(row.InputIds.Length <= 11);
            Assert.Equal(row.InputIds.Length, row.SegmentLengths.Sum());
            int start = 0;
            foreach (int length in row.SegmentLengths)
            {
                Assert.Equal(TrainingExample.Ignored, row.Labels[start]);
                found.Add((string.Join(' ', row.InputIds[start..(start + length)]), string.Join(' ', row.Labels[start..(start + length)])));
                start += length;
            }
        }
        Assert.Equal(plain.Train.Select(e => (string.Join(' ', e.InputIds), string.Join(' ', e.Labels))).Order(), found.Order());
        // 50 examples of 2 to 8 tokens: no packing needs fewer rows than their tokens fill.
        Assert.InRange(packed.Train.Count, (int)Math.Ceiling(plain.Report.TrainTokens / 11.0), (int)Math.Ceiling(plain.Report.TrainTokens / 11.0) + 1);
        Assert.Equal(plain.Report.TargetTokens, packed.Report.TargetTokens);
        Assert.Equal(50, packed.Report.Examples);
    }

    [Fact]
    public void Packed_rows_that_were_packed_before_keep_their_sequences()
    {
        string path = Write("a.jsonl", """
            {"input_ids": [1, 2, 3, 4, 5], "labels": [-100, 2, -100, 4, 5], "position_ids": [0, 1, 0, 1, 2]}
            {"input_ids": [6, 7], "labels": [6, 7]}
            """);
        TrainingExample row = Assert.Single(TrainingData.Load(new() { Files = [path], CutoffLength = 7, Packing = true }, null).Train);
        Assert.Equal([2, 3, 2], row.SegmentLengths);
        TrainingExample cut = TrainingData.Load(new() { Files = [path], CutoffLength = 4 }, null).Train[0];
        Assert.Equal([2, 2], cut.SegmentLengths);
        Assert.Equal([-100, 2, -100, 4], cut.Labels);
    }

    [Fact]
    public void A_validation_split_depends_on_the_seed_alone()
    {
        DataOptions options = new() { Files = [Numbered(40)], ValidationSize = 0.1 };
        TrainingData first = TrainingData.Load(options, null), again = TrainingData.Load(options, null), other = TrainingData.Load(options with { Seed = 7 }, null);
        Assert.Equal(4, first.Validation.Count);
        Assert.Equal(first.Validation.Select(RowOf), again.Validation.Select(RowOf));
        Assert.NotEqual(first.Validation.Select(RowOf), other.Validation.Select(RowOf));
        Assert.Equal(Enumerable.Range(0, 40), first.Train.Concat(first.Validation).Select(RowOf).Order());
        Assert.Equal(first.Train.Select(RowOf), first.Train.Select(RowOf).Order());
        // From xoshiro256**, written a second time in another language: every machine must choose these.
        Assert.Equal([11, 12, 31, 33], first.Validation.Select(RowOf));
        Assert.Equal(7, TrainingData.Load(options with { ValidationSize = 7 }, null).Validation.Count);
        Assert.Equal(5, TrainingData.Load(options with { ValidationSize = 0.101 }, null).Validation.Count);
        Assert.Throws<InvalidDataException>(() => TrainingData.Load(options with { ValidationSize = 40 }, null));
    }

    [Fact]
    public void A_document_is_on_one_side_of_the_split()
    {
        string text = string.Join("\n\n", Enumerable.Range(0, 12).Select(i => string.Join(' ', Enumerable.Repeat((char)('a' + i), 30))));
        DataOptions options = new() { Files = [Write("a.txt", text)], DocumentSeparator = DataOptions.BlankLine, CutoffLength = 8, ValidationSize = 0.25 };
        TrainingData data = Load(options);
        string Letters(IEnumerable<TrainingExample> rows) => string.Concat(string.Concat(Texts(rows)).Replace("<|im_end|>", "").Where(char.IsAsciiLetter).Distinct().Order());
        Assert.Equal("abcdefghijkl", string.Concat((Letters(data.Train) + Letters(data.Validation)).Order()));
        Assert.Equal(3, Letters(data.Validation).Length);
        // One document alone is split by its blocks.
        TrainingData one = Load(options with { DocumentSeparator = null });
        Assert.Equal((int)Math.Ceiling((one.Train.Count + one.Validation.Count) * 0.25), one.Validation.Count);
    }

    [Fact]
    public void Files_to_validate_on_stay_apart_and_samples_can_be_limited()
    {
        TrainingData data = TrainingData.Load(new() { Files = [Numbered(20), Numbered(30, "more.jsonl")], ValidationFiles = [Numbered(9, "v.jsonl")], MaxSamples = 8 }, null);
        Assert.Equal(Enumerable.Range(0, 8).Concat(Enumerable.Range(0, 8)), data.Train.Select(RowOf));
        Assert.Equal(8, data.Validation.Count);
    }

    [Fact]
    public void Options_that_cannot_be_are_named_together()
    {
        string message = Assert.Throws<ArgumentException>(() => TrainingData.Load(
            new() { Files = [], ValidationFiles = ["v"], ValidationSize = 1.5, CutoffLength = 1, MaxSamples = 0, Format = "alpacca", DocumentSeparator = "" }, null)).Message;
        Assert.All(["files:", "cutoff length:", "found 1.5", "found both", "max samples:", "found \"alpacca\"", "document separator:"], part => Assert.Contains(part, message));
    }

    [Fact]
    public void The_order_is_a_permutation_that_needs_no_history()
    {
        ExampleOrder order = new(100, 5, true), again = new(100, 5, true), other = new(100, 6, true);
        int[] Epoch(ExampleOrder o, int epoch) => [.. Enumerable.Range(0, 100).Select(p => o[epoch, p])];
        Assert.Equal(Enumerable.Range(0, 100), Epoch(order, 0).Order());
        Assert.NotEqual(Epoch(order, 0), Epoch(order, 1));
        Assert.NotEqual(Epoch(order, 0), Epoch(other, 0));
        Assert.Equal(order[3, 17], again[3, 17]);
        Assert.Equal(Epoch(order, 3), Epoch(again, 3));
        // From the same second writing: a run goes on elsewhere in the same order.
        Assert.Equal([56, 20, 39, 31, 1, 65, 29, 49], Epoch(order, 2)[..8]);
        Assert.Equal(Enumerable.Range(0, 100), Epoch(new(100, 5, false), 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => order[0, 100]);
    }

    [Fact]
    public void Every_place_of_the_order_is_taken_by_every_example_equally_often()
    {
        ExampleOrder order = new(5, 11, true);
        int[,] counts = new int[5, 5];
        for (int epoch = 0; epoch < 5000; epoch++)
            for (int p = 0; p < 5; p++)
                counts[p, order[epoch, p]]++;
        // 1000 each; five standard deviations are 141.
        Assert.All(counts.Cast<int>(), n => Assert.InRange(n, 859, 1141));
    }
}
