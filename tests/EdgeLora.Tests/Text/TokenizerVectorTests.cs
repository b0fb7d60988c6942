using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Published vocabularies against the vectors of llama.cpp, transformers.js and ML.NET (data/tokenizers/NOTES.md says where each is from).</summary>
public sealed class TokenizerVectorTests
{
    private const string Data = "data/tokenizers/";

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-spm")]
    public void A_published_gguf_vocabulary_gives_the_ids_of_llama_cpp(string name)
    {
        string path = SharedFolder.Require($"{Data}llamacpp/ggml-vocab-{name}.gguf");
        using GgufFile file = GgufFile.Open(path);
        CheckLlamaCpp(Tokenizer.FromGguf(file.Metadata, path), name);
    }

    [Theory]
    [InlineData("gpt2.tokenizer.json", "gpt-2")]
    [InlineData("llama.tokenizer.model", "llama-spm")]
    [InlineData("tinyllama.tokenizer.json", "llama-spm")]
    public void A_published_vocabulary_file_gives_the_ids_of_llama_cpp(string file, string name) =>
        CheckLlamaCpp(Tokenizer.Load(SharedFolder.Require(Data + "hf/" + file)), name);

    [Fact]
    public void The_qwen_folder_gives_the_ids_of_llama_cpp() => CheckLlamaCpp(Tokenizer.Load(SharedFolder.Require(Data + "qwen")), "qwen2");

    [Theory]
    [InlineData("gpt2", "Xenova/gpt2", "hf/gpt2.tokenizer.json")]
    [InlineData("gpt2", "openai-community/gpt2", "hf/gpt2.tokenizer.json")]
    [InlineData("llama", "Xenova/llama-tokenizer", "hf/tinyllama.tokenizer.json")]
    [InlineData("qwen2", "Xenova/Qwen1.5-0.5B-Chat", "qwen")]
    [InlineData("distilbert", "Xenova/distilbert-base-uncased-finetuned-sst-2-english", "hf/distilbert-base-uncased.tokenizer.json")]
    public void A_published_vocabulary_gives_the_ids_and_texts_of_transformers_js(string vectors, string model, string vocabulary)
    {
        Tokenizer tokenizer = Tokenizer.Load(SharedFolder.Require(Data + vocabulary));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require($"{Data}vectors_transformersjs/{vectors}.json")));
        List<string> mismatches = [];
        int compared = 0;
        foreach (JsonProperty entry in document.RootElement.GetProperty(model).EnumerateObject())
        {
            string text = entry.Value.GetProperty("text").GetString()!;
            int[] expected = [.. entry.Value.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32())];
            int[] found = entry.Value.TryGetProperty("text_pair", out JsonElement pair) ? tokenizer.EncodePair(text, pair.GetString()!).Ids : tokenizer.EncodeIds(text);
            compared++;
            if (!expected.SequenceEqual(found))
                mismatches.Add($"{entry.Name} {text}: expected {string.Join(' ', expected)}, found {string.Join(' ', found)}");
            string decoded = tokenizer.Decode(expected, skipSpecialTokens: false);
            // transformers.js cleans up spaces of GPT-2 and BERT on top of what the file asks for.
            if (vectors is "qwen2" && decoded != entry.Value.GetProperty("decoded").GetString())
                mismatches.Add($"{entry.Name}: expected \"{entry.Value.GetProperty("decoded").GetString()}\", found \"{decoded}\"");
        }
        Names.AssertNone(mismatches, compared);
    }

    [Fact]
    public void T5_encodes_a_sentence_and_reads_it_back()
    {
        Tokenizer tokenizer = Tokenizer.Load(SharedFolder.Require(Data + "hf/t5-small.tokenizer.json"));
        int[] ids = tokenizer.EncodeIds("translate English to German: The house is wonderful.");
        Assert.Equal([13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5, 1], ids);
        Assert.Equal("translate English to German: The house is wonderful.", tokenizer.Decode(ids));
    }

    [Theory]
    [InlineData("gpt2", "tokens_gpt2.json")]
    [InlineData("cl100k_base", "tokens.json")]
    [InlineData("o200k_base", "tokens_gpt4o.json")]
    public void A_tiktoken_rank_file_gives_the_ids_of_a_whole_source_file(string encoding, string vectors)
    {
        Tokenizer tokenizer = Tokenizer.Load(SharedFolder.Require($"{Data}tiktoken/{encoding}.tiktoken"));
        string text = File.ReadAllText(SharedFolder.Require(Data + "vectors_mlnet/lib.rs.txt"));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require(Data + "vectors_mlnet/" + vectors)));
        int[] expected = [.. document.RootElement.EnumerateArray().Select(i => i.GetInt32())];
        Assert.Equal(expected, tokenizer.EncodeIds(text));
        Assert.Equal(text, tokenizer.Decode(expected));
    }

    private static void CheckLlamaCpp(Tokenizer tokenizer, string name)
    {
        string input = File.ReadAllText(SharedFolder.Require($"{Data}llamacpp/ggml-vocab-{name}.gguf.inp"));
        string[] outputs = File.ReadAllLines(SharedFolder.Require($"{Data}llamacpp/ggml-vocab-{name}.gguf.out"));
        string[] texts = input.Split("\n__ggml_vocab_test__\n");
        List<string> mismatches = [];
        for (int i = 0; i < outputs.Length && i < texts.Length; i++)
        {
            string found = string.Join(' ', tokenizer.EncodeIds(texts[i], addSpecialTokens: false).Select(id => id.ToString(CultureInfo.InvariantCulture)));
            if (found != outputs[i].Trim())
                mismatches.Add($"{i} {JsonEncodedText.Encode(texts[i])}: expected {outputs[i].Trim()}, found {found}");
        }
        Names.AssertNone(mismatches, outputs.Length);
        Assert.True(outputs.Length >= 40, $"{outputs.Length} vectors");
    }
}
