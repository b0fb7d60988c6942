using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Tokenizers over small files that lie beside the tests (cut from the fixtures of scripts/tokenizers_fixture.py).</summary>
public sealed class TokenizerTests
{
    private static string Data(string name) => Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Text", "data", "tokenizers", name);

    private static Tokenizer Small => Tokenizer.Load(Data("smollm_digits"));

    [Theory]
    [InlineData("added_tokens_zoo")]
    [InlineData("smollm_digits")]
    [InlineData("llama2_bpe_nonlegacy")]
    [InlineData("wordlevel")]
    public void A_small_tokenizer_reproduces_its_recorded_cases(string folder)
    {
        TokenizerGolden golden = TokenizerGolden.Verify(Data(folder));
        Names.AssertNone(golden.Mismatches, golden.Compared);
    }

    [Fact]
    public void A_gguf_vocabulary_and_the_tokenizer_json_it_came_from_agree()
    {
        using GgufFile file = GgufFile.Open(Path.Combine(Data("smollm_digits"), "vocab.gguf"));
        Tokenizer gguf = Tokenizer.FromGguf(file.Metadata, file.FilePath);
        const string Text = "<|im_start|>user\nWhat is 12345 + 6?<|im_end|>\n \U0001D49C\u00E9\u4F60";
        Assert.Equal(Small.EncodeIds(Text), gguf.EncodeIds(Text));
        Assert.Equal(Text, gguf.Decode(gguf.EncodeIds(Text), skipSpecialTokens: false));
    }

    [Fact]
    public void Special_tokens_have_their_roles_and_ids()
    {
        Tokenizer tokenizer = Small;
        Assert.Equal("<|im_end|>", tokenizer.SpecialTokens["eos_token"]);
        Assert.Equal(2, tokenizer.EosId);
        Assert.Equal(1, tokenizer.BosId);
        Assert.Equal([2], tokenizer.EndIds);
        Assert.Equal("<|im_start|>", tokenizer.TokenText(1));
        Assert.Equal(1, tokenizer.TokenId("<|im_start|>"));
        Assert.Null(tokenizer.TokenText(1_000_000));
        Assert.Equal(1000, tokenizer.VocabularySize);
    }

    [Fact]
    public void Special_tokens_in_user_text_can_be_taken_as_text()
    {
        Tokenizer tokenizer = Small;
        const string Text = "a<|im_end|>b";
        Assert.Contains(2, tokenizer.EncodeIds(Text));
        int[] ids = tokenizer.EncodeIds(Text, specialsAsText: true);
        Assert.DoesNotContain(2, ids);
        Assert.Equal(Text, tokenizer.Decode(ids));
    }

    [Fact]
    public void Offsets_count_code_points_of_the_original_text()
    {
        const string Text = "\U0001D49C \U0001F600 end";
        Encoding encoding = Small.Encode(Text);
        Assert.All(encoding.Offsets, o => Assert.InRange(o.End, o.Start, 7));
        Assert.Equal(7, encoding.Offsets[^1].End);
    }

    [Fact]
    public void A_lone_surrogate_is_a_replacement_character() =>
        Assert.Equal(Small.EncodeIds("a\uFFFDb"), Small.EncodeIds("a\uD800b"));

    [Fact]
    public void A_stream_never_splits_a_character_and_gives_the_whole_text()
    {
        Tokenizer tokenizer = Small;
        const string Text = "caf\u00E9 \u4F60\u597D \U0001F468\u200D\U0001F469 \uFFFD";
        TokenStream stream = tokenizer.CreateStream();
        List<string> pieces = [];
        foreach (int id in tokenizer.EncodeIds(Text))
            if (stream.Push(id) is { } piece)
                pieces.Add(piece);
        Assert.DoesNotContain(pieces, p => p.EndsWith('\uFFFD'));
        Assert.Equal(Text, string.Concat(pieces) + stream.Flush());
    }

    [Fact]
    public void A_long_text_is_encoded_in_seconds()
    {
        string text = string.Concat(Enumerable.Repeat("The quick brown fox, 1234 times over!\n    \u4F60\u597D na\u00EFve ", 20_000));
        foreach (string name in (string[])["smollm_digits", "llama2_bpe_nonlegacy", "added_tokens_zoo"])
        {
            Tokenizer tokenizer = Tokenizer.Load(Data(name));
            Stopwatch watch = Stopwatch.StartNew();
            tokenizer.EncodeIds(text);
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"{name}: {watch.Elapsed}");
            TestContext.Current.SendDiagnosticMessage($"{name}: {text.Length} units in {watch.Elapsed}");
        }
    }

    [Theory]
    [InlineData("aaaaaaaaaaaaaaaa")]
    [InlineData("                ")]
    [InlineData("\n\n\n\n\n\n\n\n")]
    [InlineData("\u0301\u0323\u0301\u0323")]
    public void A_long_run_of_one_kind_is_no_trap(string unit)
    {
        string text = string.Concat(Enumerable.Repeat(unit, 1 << 14));
        Stopwatch watch = Stopwatch.StartNew();
        Assert.Equal(text, Small.Decode(Small.EncodeIds(text)));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), watch.Elapsed.ToString());
    }

    [Fact]
    public void Many_threads_may_encode_at_once()
    {
        Tokenizer tokenizer = Small;
        string[] texts = [.. Enumerable.Range(0, 200).Select(i => $"text number {i} with words {i * i} and more")];
        int[][] expected = [.. texts.Select(t => Small.EncodeIds(t))];
        Parallel.For(0, 2000, i => Assert.Equal(expected[i % 200], tokenizer.EncodeIds(texts[i % 200])));
    }

    [Theory]
    [InlineData("string", "\"{{ messages }}\"", "{{ messages }}")]
    [InlineData("list", "[{\"name\":\"tool_use\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]", "D")]
    public void The_chat_template_is_read_in_both_forms(string form, string json, string expected)
    {
        string folder = Directory.CreateTempSubdirectory("tokenizer-" + form).FullName;
        File.Copy(Path.Combine(Data("wordlevel"), "tokenizer.json"), Path.Combine(folder, "tokenizer.json"));
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), "{\"chat_template\":" + json + ",\"eos_token\":{\"content\":\"<s>\"}}");
        Assert.Equal(expected, Tokenizer.Load(folder).ChatTemplate);
        Assert.Equal(1, Tokenizer.Load(folder).EosId);
        File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), "J");
        Assert.Equal("J", Tokenizer.Load(folder).ChatTemplate);
        Directory.Delete(folder, true);
    }

    [Theory]
    [InlineData("{\"model\":{\"type\":\"Foo\"}}", "Foo")]
    [InlineData("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1}}}", "-1")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a q\"]}}", "\"q\"")]
    [InlineData("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}},\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"([\"}}}", "([")]
    [InlineData("[]", "tokenizer.json")]
    public void A_broken_file_is_refused_by_name_and_fault(string json, string keyword)
    {
        string path = Path.Combine(Directory.CreateTempSubdirectory("tokenizer").FullName, "broken.json");
        File.WriteAllText(path, json);
        ModelFileException e = Assert.Throws<ModelFileException>(() => Tokenizer.Load(path));
        Assert.Contains("broken.json", e.Message);
        Assert.Contains(keyword, e.Message);
        Directory.Delete(Path.GetDirectoryName(path)!, true);
    }

    /// <summary>Pieces of a Split, joined by |.</summary>
    [Theory]
    [InlineData(@"\p{L}+", "\U0001D49Cb1", "\U0001D49Cb|1")]
    [InlineData(@"\p{Han}+", "a\U00020BB7\u4E2Db", "a|\U00020BB7\u4E2D|b")]
    [InlineData(@"[\p{L}&&[^\p{Han}]]+", "ab\u4E2Dc", "ab|\u4E2D|c")]
    [InlineData(@"(?i:'S|'ll)", "it's I'LL x", "it|'s| I|'LL| x")]
    [InlineData(@"\s+(?!\S)|\s+", "a   b", "a|  | |b")]
    [InlineData(@"(?<=a)b|c(?=d)", "abbcdc", "a|b|b|c|dc")]
    [InlineData(@"\d{1,3}(?=(?:\d{3})*\b)", "1234567", "1|234|567")]
    [InlineData(@"[\x{1F600}-\x{1F64F}]", "a\U0001F600b", "a|\U0001F600|b")]
    [InlineData(@"(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")]
    [InlineData(@"(?:a|b|ab)*c", "ababababababababababababababababababababab", "ababababababababababababababababababababab")]
    [InlineData(@"\p{N}{1,3}+", "12345", "12345")]
    [InlineData(@"a++b|.", "aab", "aab")]
    [InlineData(@"[[:alpha:]]+", "ab1c", "ab|1|c")]
    [InlineData(@"[^\r\n\p{L}\p{N}]?+\p{L}+", "-ab+c", "-ab|+c")]
    public void Patterns_work_on_code_points_and_never_hang(string pattern, string text, string expected)
    {
        string path = Path.Combine(Directory.CreateTempSubdirectory("tokenizer").FullName, "split.json");
        string escaped = System.Text.Json.JsonEncodedText.Encode(pattern).ToString();
        File.WriteAllText(path, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0]]},\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"" + escaped + "\"}}}");
        Stopwatch watch = Stopwatch.StartNew();
        // Every code point is unknown, and neighbouring unknowns of one piece are one token.
        Assert.Equal(expected, string.Join('|', Tokenizer.Load(path).Encode(text).Tokens));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(2), watch.Elapsed.ToString());
        Directory.Delete(Path.GetDirectoryName(path)!, true);
    }
}
