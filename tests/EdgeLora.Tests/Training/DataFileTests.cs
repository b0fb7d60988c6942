using EdgeLora.Core;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Files: JSON lines, JSON lists, CSV, plain text, and what is said of broken ones.</summary>
public sealed class DataFileTests : DataFolder
{
    private string[] Documents(string name, string text, DataOptions? options = null) =>
        [.. Texts(Load((options ?? new() { Files = [] }) with { Files = [Write(name, text)] }).Train).Select(t => t.EndsWith("<|im_end|>", StringComparison.Ordinal) ? t[..^10] : t + "<no end>")];

    private string[] Faults(string name, string text, DataOptions? options = null)
    {
        string path = Write(name, text);
        ModelFileException e = Assert.Throws<ModelFileException>(() => Load((options ?? Options(path)) with { Files = [path] }));
        Assert.Equal(path, e.FilePath);
        return [.. e.Faults];
    }

    [Theory]
    [InlineData("a.jsonl", "{\"text\": \"one\"}\r\n\n  \n{\"text\": \"two \\u00e9\"}")]
    [InlineData("a.ndjson", "\uFEFF{\"text\": \"one\"}\n{\"text\": \"two é\"}\n")]
    [InlineData("a.json", " \n[{\"text\": \"one\"},\n {\"text\":\n \"two é\"}]\n")]
    [InlineData("lines.json", "{\"text\": \"one\"}\n{\"text\": \"two é\"}\n")]
    [InlineData("a.csv", "text\none\ntwo é\n")]
    [InlineData("a.tsv", "text\tmore\none\t1\r\n\"two é\"\t2")]
    public void Every_kind_of_row_file_gives_the_same_rows(string name, string text) => Assert.Equal(["one", "two é"], Documents(name, text));

    [Fact]
    public void Quoted_fields_hold_separators_line_breaks_and_quotes() => Assert.Equal(
        ["a,b", "line 1\r\nline 2", "she said \"yes\"", "\"", " blanks ", "in 5\" pipe"],
        Documents("a.csv", "id,text\r\n1,\"a,b\"\r\n2,\"line 1\r\nline 2\"\r\n\r\n3,\"she said \"\"yes\"\"\"\r4,\"\"\"\"\n5, blanks \n6,in 5\" pipe"));

    [Fact]
    public void A_field_may_be_empty_at_the_end_of_a_line()
    {
        TrainingData data = Load(Options(Write("a.csv", "instruction,output,input\nHello,Hi,\n\"Add\",3,1 + 2\n")));
        Assert.Equal("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n", Texts(data.Train)[0]);
        Assert.Contains("user\nAdd\n1 + 2<|im_end|>", Texts(data.Train)[1]);
    }

    [Fact]
    public void A_bad_csv_record_is_named_by_its_line() => Assert.Equal(
        ["line 3: expected 2 fields, found 3", "line 5: expected a separator after the closing quote, found \"x\"", "line 6: a quoted field has no end", "line 6: expected 2 fields, found 1"],
        Faults("a.csv", "text,n\na,1\nb,1,2\nd,3\n\"e\"x,4\n\"f"));

    [Fact]
    public void A_column_that_stands_twice_is_refused() => Assert.Equal(["line 1: the column \"text\" stands twice"], Faults("a.csv", "text,text\na,b\n"));

    [Fact]
    public void A_bad_row_is_named_by_file_and_line() => Assert.Equal(
        [
            "line 2: expected an object, found a list",
            "line 3: text: expected a text, found 5",
            "line 5: Expected depth to be zero at the end of the JSON payload. There is an open JSON object or array that should be closed.",
            "line 6: text is missing",
        ],
        Faults("a.jsonl", "{\"text\": \"good\"}\n[1]\n{\"text\": 5}\n\n{\"text\": \"x\"\n{\"more\": 1}\n"));

    [Fact]
    public void A_bad_row_of_a_list_is_named_by_its_line()
    {
        Assert.Equal(["line 3: text is missing", "line 6: expected an object, found a number"], Faults("a.json", "[\n{\"text\": \"a\"},\n{\"tex\": \"a\"},\n{\n\"text\": \"b\"},\n7]"));
        Assert.StartsWith("line 2: ", Assert.Single(Faults("b.json", "[{\"text\": \"a\"},\n{\"text\": ]")));
        Assert.StartsWith("line 2: ", Assert.Single(Faults("c.json", "[{\"text\": \"a\"}]\n[]")));
        Assert.Equal(["expected a list of rows, or one JSON object on each line"], Faults("d.json", "{\n\"text\": \"a\"\n}"));
    }

    [Fact]
    public void A_format_that_cannot_be_told_is_said_once() =>
        Assert.StartsWith("line 1: the format cannot be told", Assert.Single(Faults("a.jsonl", "{\"question\": \"a\"}\n{\"question\": \"b\"}\n")));

    [Fact]
    public void A_key_that_stands_twice_is_refused() => Assert.StartsWith("line 1: Duplicate property", Assert.Single(Faults("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}")));

    [Fact]
    public void Text_that_is_not_Unicode_is_refused()
    {
        Assert.Equal(["line 1: text: not a valid Unicode text"], Faults("a.jsonl", "{\"text\": \"\\ud800\"}"));
        string path = WriteBytes("b.jsonl", [.. "{\"text\": \"a\"}\n{\"text\": \""u8, 0xE9, .. "\"}"u8]);
        Assert.Equal(["line 2: not UTF-8"], Assert.Throws<ModelFileException>(() => Load(Options(path))).Faults);
        path = WriteBytes("c.txt", [0xE9]);
        Assert.Equal(["the text is not UTF-8"], Assert.Throws<ModelFileException>(() => Load(Options(path))).Faults);
    }

    [Fact]
    public void A_file_of_another_kind_or_none_is_refused()
    {
        Assert.Equal(["expected .jsonl, .ndjson, .json, .csv, .tsv, .txt or .md, found \".parquet\""], Faults("a.parquet", "PAR1"));
        Assert.Equal(["format alpaca: expected .jsonl, .json or .csv, found plain text"], Faults("a.txt", "text", new() { Files = [], Format = "alpaca" }));
        Assert.Throws<ModelFileException>(() => Load(Options(Path.Combine(Path.GetTempPath(), "edgelora-no-such-file.jsonl"))));
    }

    [Fact]
    public void A_plain_text_is_one_document_unless_it_is_divided()
    {
        const string Text = "\uFEFFfirst line\r\nsecond line\r\n\r\n \t\r\nthird\n\n";
        Assert.Equal(["first line\nsecond line\n\n \t\nthird"], Documents("a.txt", Text));
        Assert.Equal(["first line\nsecond line", "third"], Documents("a.txt", Text, new() { Files = [], DocumentSeparator = DataOptions.BlankLine }));
        Assert.Equal(["first", "second", "third"], Documents("a.txt", Text, new() { Files = [], DocumentSeparator = "line" }).Select(d => d.Trim()));
    }

    [Fact]
    public void Documents_can_be_read_for_a_tokenizer()
    {
        Assert.Equal(["one", "two\nlines"], TextDocuments.Read(Write("a.txt", "one<|endoftext|>\ntwo\r\nlines\n<|endoftext|>\n"), "<|endoftext|>"));
        Assert.Equal(["one ", "two"], TextDocuments.Read(Write("a.jsonl", "{\"body\": \"one \"}\n{\"body\": \"two\"}"), column: "body"));
        Assert.Equal(["line 2: text is missing"], Assert.Throws<ModelFileException>(() => TextDocuments.Read(Write("b.jsonl", "{\"text\": \"a\"}\n{}"))).Faults);
    }

    [Fact]
    public void A_document_is_cut_into_blocks_and_every_token_but_the_first_trains()
    {
        const string Text = "The quick brown fox jumps over the lazy dog and runs away.";
        int[] ids = [.. Tokenizer.EncodeIds(Text), Tokenizer.EosId!.Value];
        TrainingData data = Load(new() { Files = [Write("a.txt", Text)], CutoffLength = 8 });
        Assert.Equal(ids.Length % 8 == 1 ? ids[..^1] : ids, data.Train.SelectMany(r => r.InputIds));
        Assert.All(data.Train, r =>
        {
            Assert.True(r.InputIds.Length <= 8);
            Assert.Equal([r.InputIds.Length], r.SegmentLengths);
            Assert.Equal(TrainingExample.Ignored, r.Labels[0]);
            Assert.Equal(r.InputIds[1..], r.Labels[1..]);
        });
        Assert.Equal(data.Train.Count, data.Report.Examples);
        Assert.Equal(1, data.Report.RowsRead);
    }

    [Fact]
    public void A_block_of_one_token_teaches_nothing_and_is_counted()
    {
        int length = Tokenizer.EncodeIds("a b c d e f").Length;
        TrainingData data = Load(new() { Files = [Write("a.txt", "a b c d e f")], CutoffLength = length });
        Assert.Single(data.Train);
        Assert.Equal(1, data.Report.TokensDropped);
    }

    [Fact]
    public void A_document_can_begin_with_the_beginning_token()
    {
        DataOptions options = new() { Files = [Write("a.txt", "Once upon a time")], DocumentStart = true };
        Assert.Equal(["<|im_start|>Once upon a time<|im_end|>"], Texts(Load(options).Train));
    }
}
