using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Tokenizers as GGUF metadata and back to files: ids of ours before and after. Folders: fixtures/tokenizers, made by scripts/tokenizers_fixture.py there.</summary>
public sealed class GgufVocabularyWriterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-vocab").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, InlineData("gpt2_bytelevel", "gpt-2"), InlineData("llama3_split", "llama-bpe"), InlineData("qwen2_nfc", "qwen2"), InlineData("smollm_digits", "smollm"), InlineData("deepseek_splits", "deepseek-v3"),
        InlineData("llama2_bpe_legacy", "default"), InlineData("gemma_bpe", "default"), InlineData("t5_unigram", "default")]
    public void A_tokenizer_goes_into_GGUF_and_out_again_with_its_ids(string name, string pre)
    {
        string source = SharedFolder.Require("fixtures/tokenizers/" + name);
        List<KeyValuePair<string, object>> pairs = [];
        List<string> notes = [];
        Tokenizer original = Tokenizer.Load(source);
        GgufVocabularyWriter.Add(source, Config(), original.VocabularySize, null, pairs, notes);
        Dictionary<string, object> metadata = pairs.ToDictionary();
        Assert.Equal(pre, metadata["tokenizer.ggml.pre"]);
        Tokenizer gguf = Tokenizer.FromGguf(metadata, "vocab.gguf");
        Assert.True(Tokenizer.WriteGgufAsFiles(metadata, "vocab.gguf", _folder));
        Tokenizer back = Tokenizer.Load(_folder);
        foreach (string text in (string[])["Hello world", " it's 1234567 über\r\n\n  x\t", "日本語 🙂🙂 ٣٤", "a  b   c", "e\u0301 don't WE'VE"])
        {
            int[] ids = gguf.EncodeIds(text);
            Assert.Equal(ids, back.EncodeIds(text));
            // SentencePiece's own file and its copy in JSON differ in places; the note says so where it matters.
            if (pre != "default")
                Assert.Equal(original.EncodeIds(text), ids);
        }
        Assert.Equal((original.BosId, original.EosId, original.ChatTemplate), (back.BosId, back.EosId, back.ChatTemplate));
    }

    [Fact]
    public void A_folder_without_a_tokenizer_gets_none_and_a_note()
    {
        List<KeyValuePair<string, object>> pairs = [];
        List<string> notes = [];
        GgufVocabularyWriter.Add(_folder, Config(), 16, null, pairs, notes);
        Assert.Equal("no_vocab", Assert.Single(pairs).Value);
        Assert.Contains("no tokenizer", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_of_rules_can_be_given_and_must_be_known()
    {
        string source = SharedFolder.Require("fixtures/tokenizers/llama3_split");
        int size = Tokenizer.Load(source).VocabularySize;
        Assert.Contains("no-such-name", Assert.Throws<ModelFileException>(() => GgufVocabularyWriter.Add(source, Config(), size, "no-such-name", [], [])).Message, StringComparison.Ordinal);
        List<KeyValuePair<string, object>> pairs = [];
        GgufVocabularyWriter.Add(source, Config(), size, "gpt-2", pairs, []);
        Assert.Equal("gpt-2", pairs.ToDictionary()["tokenizer.ggml.pre"]);
    }

    [Theory, InlineData("added_tokens_zoo", "WordPiece"), InlineData("wordlevel", "WordLevel")]
    public void Vocabularies_that_GGUF_s_decoders_do_not_have_are_refused_by_kind(string name, string kind) =>
        Assert.Contains(kind, Assert.Throws<ModelFileException>(() => GgufVocabularyWriter.Add(SharedFolder.Require("fixtures/tokenizers/" + name), Config(), 64, null, [], [])).Message, StringComparison.Ordinal);

    private static HfConfig Config() => HfConfig.Parse("config.json", "{\"model_type\":\"llama\"}"u8.ToArray());
}
