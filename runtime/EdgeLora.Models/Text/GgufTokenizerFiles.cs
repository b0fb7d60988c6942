using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A GGUF file's vocabulary as the files of a Hugging Face folder: tokenizer.json for a byte-level BPE, tokenizer.model for SentencePiece, with tokenizer_config.json.</summary>
internal sealed class GgufTokenizerFiles
{
    private readonly IReadOnlyDictionary<string, object> _metadata;
    private readonly Tokenizer _tokenizer;
    private readonly string _file;

    private GgufTokenizerFiles(IReadOnlyDictionary<string, object> metadata, string file) => (_metadata, _file, _tokenizer) = (metadata, file, Tokenizer.FromGguf(metadata, file));

    /// <summary>Writes into <paramref name="folder"/>; false where the file has no vocabulary.</summary>
    public static bool Write(IReadOnlyDictionary<string, object> metadata, string file, string folder)
    {
        if (metadata.GetValueOrDefault("tokenizer.ggml.model") is not string model || model is "none" or "no_vocab")
            return false;
        GgufTokenizerFiles writer = new(metadata, file);
        bool framedByBos = writer.Framed(first: true), framedByEos = writer.Framed(first: false);
        switch (model)
        {
            case "gpt2":
                AtomicFile.Write(Path.Combine(folder, "tokenizer.json"), stream => writer.WriteJson(stream, framedByBos, framedByEos));
                writer.WriteConfig(folder, "PreTrainedTokenizerFast", null, null);
                break;
            case "llama" or "t5":
                AtomicFile.Write(Path.Combine(folder, "tokenizer.model"), stream => SentencePieceFile.Write(stream, ((SentencePieceModel)writer._tokenizer.Model).Pieces, writer._tokenizer));
                writer.WriteConfig(folder, model == "llama" ? "LlamaTokenizer" : "T5Tokenizer", framedByBos, framedByEos);
                break;
            default:
                throw new ModelFileException(file, $"tokenizer.ggml.model: expected gpt2, llama or t5, which are written as files, found {model}");
        }
        return true;
    }

    private bool Framed(bool first)
    {
        int[] bare = _tokenizer.EncodeIds("a", addSpecialTokens: false), framed = _tokenizer.EncodeIds("a");
        return framed.Length > bare.Length && (first ? framed[0] == _tokenizer.BosId : framed[^1] == _tokenizer.EosId);
    }

    private void WriteConfig(string folder, string className, bool? addBos, bool? addEos) =>
        AtomicFile.Write(Path.Combine(folder, "tokenizer_config.json"), stream => TokenizerConfig.Write(stream, _tokenizer.SpecialTokens, _tokenizer.ChatTemplate, className, addBos, addEos));

    private void WriteJson(Stream stream, bool addBos, bool addEos)
    {
        string pre = _metadata.GetValueOrDefault("tokenizer.ggml.pre") as string ?? "default";
        string[] tokens = (string[])_metadata["tokenizer.ggml.tokens"], merges = (string[])_metadata["tokenizer.ggml.merges"];
        using Utf8JsonWriter json = new(stream, TokenizerJson.WriterOptions);
        json.WriteStartObject();
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        foreach (AddedToken token in _tokenizer.AddedTokens)
        {
            json.WriteStartObject();
            json.WriteNumber("id", token.Id);
            json.WriteString("content", token.Content);
            json.WriteBoolean("single_word", token.SingleWord);
            json.WriteBoolean("lstrip", token.LStrip);
            json.WriteBoolean("rstrip", token.RStrip);
            json.WriteBoolean("normalized", token.Normalized);
            json.WriteBoolean("special", token.Special);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        // The reader knows the one normalizer that GGUF leaves to it.
        if (pre == "qwen2")
        {
            json.WriteStartObject("normalizer");
            json.WriteString("type", "NFC");
            json.WriteEndObject();
        }
        else
        {
            json.WriteNull("normalizer");
        }
        WriteRules(json, PreTokenizerNames.Patterns(pre)!);
        WriteFrame(json, addBos ? _tokenizer.BosId : null, addEos ? _tokenizer.EosId : null);
        json.WritePropertyName("decoder");
        WriteByteLevel(json);
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        foreach (string absent in (string[])["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
            json.WriteNull(absent);
        json.WriteBoolean("fuse_unk", false);
        json.WriteBoolean("byte_fallback", false);
        json.WriteBoolean("ignore_merges", PreTokenizerNames.IgnoresMerges(pre));
        json.WriteStartObject("vocab");
        HashSet<string> seen = [];
        for (int id = 0; id < tokens.Length; id++)
            if (seen.Add(tokens[id]))
                json.WriteNumber(tokens[id], id);
        json.WriteEndObject();
        json.WriteStartArray("merges");
        foreach (string merge in merges)
            json.WriteStringValue(merge);
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteRules(Utf8JsonWriter json, string[] patterns)
    {
        json.WriteStartObject("pre_tokenizer");
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        foreach (string pattern in patterns)
        {
            json.WriteStartObject();
            json.WriteString("type", "Split");
            json.WriteStartObject("pattern");
            json.WriteString("Regex", pattern);
            json.WriteEndObject();
            json.WriteString("behavior", "Isolated");
            json.WriteBoolean("invert", false);
            json.WriteEndObject();
        }
        WriteByteLevel(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", false);
        json.WriteBoolean("use_regex", false);
        json.WriteEndObject();
    }

    private void WriteFrame(Utf8JsonWriter json, int? bos, int? eos)
    {
        if (bos is null && eos is null)
        {
            json.WriteNull("post_processor");
            return;
        }
        json.WriteStartObject("post_processor");
        json.WriteString("type", "TemplateProcessing");
        foreach ((string name, string[] sequences) in (ReadOnlySpan<(string, string[])>)[("single", ["A"]), ("pair", ["A", "B"])])
        {
            json.WriteStartArray(name);
            for (int i = 0; i < sequences.Length; i++)
            {
                WriteSpecial(json, bos, i);
                json.WriteStartObject();
                json.WriteStartObject("Sequence");
                json.WriteString("id", sequences[i]);
                json.WriteNumber("type_id", i);
                json.WriteEndObject();
                json.WriteEndObject();
                WriteSpecial(json, eos, i);
            }
            json.WriteEndArray();
        }
        json.WriteStartObject("special_tokens");
        foreach (int id in new[] { bos, eos }.OfType<int>().Distinct())
        {
            string token = _tokenizer.TokenText(id)!;
            json.WriteStartObject(token);
            json.WriteString("id", token);
            json.WriteStartArray("ids");
            json.WriteNumberValue(id);
            json.WriteEndArray();
            json.WriteStartArray("tokens");
            json.WriteStringValue(token);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void WriteSpecial(Utf8JsonWriter json, int? id, int type)
    {
        if (id is null)
            return;
        json.WriteStartObject();
        json.WriteStartObject("SpecialToken");
        json.WriteString("id", _tokenizer.TokenText(id.Value));
        json.WriteNumber("type_id", type);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
