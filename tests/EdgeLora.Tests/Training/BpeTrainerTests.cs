using System.Text.Json;
using System.Text.RegularExpressions;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>BPE training. Expected files: those that the Hugging Face tokenizers library trained and saved for the fixtures, from the same texts.</summary>
public sealed class BpeTrainerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-bpe-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    private static string Text(string name) => File.ReadAllText(SharedFolder.Require("data/" + name)).ReplaceLineEndings("\n");

    private static JsonElement Json(string name)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("data/" + name)));
        return document.RootElement.Clone();
    }

    private void AssertSame(string expected, ByteLevelBpe trained)
    {
        trained.Write(_folder, new Dictionary<string, string>());
        string ours = File.ReadAllText(Path.Combine(_folder, "tokenizer.json")), theirs = File.ReadAllText(SharedFolder.Require(expected));
        int at = ours.Zip(theirs).TakeWhile(c => c.First == c.Second).Count();
        Assert.True(ours == theirs, $"differ at {at}: …{ours[Math.Max(0, at - 60)..Math.Min(ours.Length, at + 60)]}… expected …{theirs[Math.Max(0, at - 60)..Math.Min(theirs.Length, at + 60)]}…");
    }

    // fixtures/scripts/training_sft_masks.py
    [Fact]
    public void The_tokenizer_of_the_mask_fixtures_is_reproduced_byte_for_byte()
    {
        BpeTrainer trainer = new(512, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|user|>", "<|assistant|>", "<|end|>"]);
        foreach (string line in Text("data-text/alice_pg11.txt")[2000..120000].Split('\n'))
            trainer.Add(line);
        AssertSame("fixtures/training/sft_masks/tokenizer.json", trainer.Train());
    }

    // fixtures/scripts/nano_base.py
    [Fact]
    public void The_tokenizer_of_the_nano_base_is_reproduced_byte_for_byte()
    {
        BpeTrainer trainer = new(2048, ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]);
        foreach (string story in Text("data-text/tinystories_sample_2MiB.txt").Split("<|endoftext|>").Select(s => s.Trim()).Where(s => s.Length > 100).SkipLast(1))
            trainer.Add(story);
        foreach (string book in new[] { "alice_pg11.txt", "sherlock_pg1661.txt" })
        {
            string text = Text("data-text/" + book).TrimStart('\uFEFF');
            Match start = Regex.Match(text, @"\*\*\* ?START OF.*?\*\*\*", RegexOptions.Singleline), end = Regex.Match(text, @"\*\*\* ?END OF");
            text = text[(start.Success ? start.Index + start.Length : 0)..(end.Success ? end.Index : text.Length)];
            trainer.Add(Regex.Replace(text, @"(?<!\n)\n(?!\n)", " ").Trim());
        }
        trainer.Add(Text("data-text/tinyshakespeare.txt"));
        foreach (JsonElement row in Json("data-sft/rasbt_instruction-data.json").EnumerateArray())
            trainer.Add($"{row.GetProperty("instruction")}\n{row.GetProperty("input")}\n{row.GetProperty("output")}");
        foreach (string line in File.ReadLines(SharedFolder.Require("data/data-sft/gsm8k_train.jsonl")).Take(1500))
        {
            using JsonDocument row = JsonDocument.Parse(line);
            trainer.Add($"{row.RootElement.GetProperty("question")}\n{row.RootElement.GetProperty("answer")}");
        }
        foreach (string line in Text("data-sft/e2e_nlg_valid.txt").Split('\n').Take(1500))
            trainer.Add(line);
        AssertSame("fixtures/nano/base/tokenizer.json", trainer.Train());
    }

    [Fact]
    public void What_was_trained_encodes_and_decodes_any_text()
    {
        BpeTrainer trainer = new(300, ["<|end|>", "<|begin|>"]);
        trainer.Add("low lower lowest newer newest wider widest ");
        trainer.Train().Write(_folder, new Dictionary<string, string> { ["bos_token"] = "<|begin|>", ["eos_token"] = "<|end|>" }, "{{ messages }}");
        Tokenizer tokenizer = Tokenizer.Load(_folder);
        Assert.Equal((0, 1, "{{ messages }}"), (tokenizer.EosId, tokenizer.BosId, tokenizer.ChatTemplate));
        const string Any = "lowest<|end|> Zürich 🙂\n\t\u0000";
        Assert.Equal(Any, tokenizer.Decode(tokenizer.EncodeIds(Any), skipSpecialTokens: false));
        Assert.True(tokenizer.EncodeIds("lowest").Length < 6);
    }

    private static string Merges(BpeTrainer trainer, params string[] texts)
    {
        foreach (string text in texts)
            trainer.Add(text);
        return string.Join(' ', trainer.Train().Merges.Select(m => $"{m.Left}+{m.Right}"));
    }

    [Fact]
    public void The_most_frequent_pair_merges_first_and_ties_go_to_the_lowest_ids()
    {
        Assert.Equal("b+c a+d", Merges(new(1000, []), "bc", "bc", "ad"));
        Assert.Equal("a+d b+c", Merges(new(1000, []), "bc", "ad"));
        Assert.Equal("a+d b+c", Merges(new(1000, []), "ad", "bc"));
        // Of "aaa" the first two letters are a pair; the third stays.
        Assert.Equal("a+a aa+a", Merges(new(1000, []), "aaa", "aa"));
    }

    [Fact]
    public void Rare_pairs_stay_apart_and_the_size_is_a_limit()
    {
        Assert.Equal("b+c", Merges(new(1000, [], minimumFrequency: 2), "bc", "bc", "ad"));
        Assert.Equal("b+c", Merges(new(257, []), "bc", "bc", "ad"));
        Assert.Equal(258, new BpeTrainer(1000, ["<x>", "<y>"]).Train().Tokens.Count);
    }

    [Fact]
    public void The_letters_of_special_tokens_are_not_counted() => Assert.Equal("a+d", Merges(new(1000, ["<|end|>"]), "ad<|end|>", "<|end|>"));

    [Fact]
    public void What_cannot_be_trained_is_refused()
    {
        Assert.Contains("expected at least 257", Assert.Throws<ArgumentException>(() => new BpeTrainer(256, ["<x>"])).Message);
        Assert.Throws<ArgumentException>(() => new BpeTrainer(300, [""]));
        ByteLevelBpe bpe = new BpeTrainer(300, ["<x>"]).Train();
        Assert.Throws<ArgumentException>(() => bpe.Write(_folder, new Dictionary<string, string> { ["eos_token"] = "<y>" }));
        Assert.Throws<ArgumentException>(() => bpe.Write(_folder, new Dictionary<string, string> { ["end_token"] = "<x>" }));
        Assert.Empty(Directory.EnumerateFiles(_folder));
    }

    [Fact]
    public void A_text_of_10_megabytes_trains_within_seconds()
    {
        string text = Text("data-text/tinystories_sample_2MiB.txt") + Text("data-text/sherlock_pg1661.txt") + Text("data-text/tinyshakespeare.txt") + Text("data-text/alice_pg11.txt");
        BpeTrainer trainer = new(4096, ["<|endoftext|>"]);
        long bytes = 0;
        System.Diagnostics.Stopwatch clock = System.Diagnostics.Stopwatch.StartNew();
        for (; bytes < 10_000_000; bytes += System.Text.Encoding.UTF8.GetByteCount(text))
            trainer.Add(text);
        TimeSpan counted = clock.Elapsed;
        Assert.Equal(4096, trainer.Train().Tokens.Count);
        // A generous bound: the machine may have other work.
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), $"{bytes} bytes: {counted} to count, {clock.Elapsed} in all");
        TestContext.Current.TestOutputHelper?.WriteLine($"{bytes} bytes: {counted} to count, {clock.Elapsed} in all");
    }
}
