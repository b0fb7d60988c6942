using EdgeLora.Core;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Rows that are tokenised already.</summary>
public sealed class TokenRowTests : DataFolder
{
    private TrainingExample Row(string json) => Assert.Single(TrainingData.Load(new() { Files = [Write("a.jsonl", json)], VocabularySize = 100 }, null).Train);

    private string Fault(string json) => Assert.Single(Assert.Throws<ModelFileException>(() => Row(json)).Faults);

    [Theory]
    [InlineData("[0, 0, 1, 1, 1]", "[0, 0, 5, 6, 7]", "[-100, -100, -100, 6, 7]")]
    [InlineData("[1, 1, 1, 0, 0]", "[5, 6, 7, 0, 0]", "[-100, 6, 7, -100, -100]")]
    [InlineData("[0, 1, 1, 1, 0]", "[0, 5, 6, 7, 0]", "[-100, -100, 6, 7, -100]")]
    public void Padding_is_dropped_left_and_right(string mask, string ids, string labels)
    {
        TrainingExample row = Row($$"""{"input_ids": {{ids}}, "labels": {{labels}}, "attention_mask": {{mask}}}""");
        Assert.Equal([5, 6, 7], row.InputIds);
        Assert.Equal([-100, 6, 7], row.Labels);
        Assert.Equal([3], row.SegmentLengths);
    }

    [Fact]
    public void Positions_that_begin_again_mean_packed_sequences()
    {
        TrainingExample row = Row("""{"input_ids": [9, 1, 2, 3, 4, 5, 6], "labels": [-100, 1, 2, 3, -100, 5, -100], "attention_mask": [0, 1, 1, 1, 1, 1, 1], "position_ids": [0, 0, 1, 2, 0, 1, 0]}""");
        Assert.Equal([3, 2, 1], row.SegmentLengths);
        Assert.Equal([1, 2, 3, 4, 5, 6], row.InputIds);
        Assert.Equal([-100, 2, 3, -100, 5, -100], row.Labels);
    }

    [Fact]
    public void A_label_may_differ_from_its_token() => Assert.Equal([-100, 9], Row("""{"input_ids": [1, 2], "labels": [1, 9]}""").Labels);

    [Theory]
    [InlineData("""{"input_ids": [1, 2]}""", "labels is missing")]
    [InlineData("""{"input_ids": [1, 2], "labels": [1]}""", "labels: expected 2 numbers as in input_ids, found 1")]
    [InlineData("""{"input_ids": [1, 2.5], "labels": [1, 2]}""", "input_ids[1]: expected a whole number, found 2.5")]
    [InlineData("""{"input_ids": "1 2", "labels": [1, 2]}""", "input_ids: expected a list, found \"1 2\"")]
    [InlineData("""{"input_ids": [1, 100], "labels": [1, 2]}""", "input_ids[1]: expected 0 to 99, found 100")]
    [InlineData("""{"input_ids": [1, 2], "labels": [1, -1]}""", "labels[1]: expected 0 to 99 or -100, found -1")]
    [InlineData("""{"input_ids": [1, 2, 3], "labels": [1, 2, 3], "attention_mask": [1, 0, 1]}""", "attention_mask[1]: expected padding only left or right of the tokens, found 0 between them")]
    [InlineData("""{"input_ids": [1, 2, 3], "labels": [1, 2, 3], "attention_mask": [1, 1, 0]}""", "labels[2]: expected -100 where attention_mask is 0, found 3")]
    [InlineData("""{"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 2]}""", "attention_mask[1]: expected 0 or 1, found 2")]
    [InlineData("""{"input_ids": [1, 2, 3], "labels": [1, 2, 3], "position_ids": [0, 1, 3]}""", "position_ids[2]: expected 2 or 0, found 3")]
    [InlineData("""{"input_ids": [1, 2, 3], "labels": [1, 2, 3], "position_ids": [1, 2, 3]}""", "position_ids[0]: expected 0, found 1")]
    [InlineData("""{"input_ids": [1, 2, 3], "labels": [1, 2, 3], "position_ids": [0, 0, 1]}""", "labels[1]: expected -100 for the first token of a packed sequence, found 2")]
    [InlineData("""{"input_ids": [1, 2], "labels": [1, 2], "segment_ids": [0, 1]}""", "\"segment_ids\" is not a field of a tokenised row: expected input_ids, labels, attention_mask, position_ids")]
    public void What_would_train_otherwise_than_the_row_says_is_refused(string json, string fault) => Assert.Equal("line 1: " + fault, Fault(json));
}
