using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Chooses the reader for a path and joins what it gives with the configuration beside it.</summary>
internal static class TokenizerFiles
{
    private static readonly string[] s_names =
        ["tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json", "merges.txt", "vocab.txt"];

    /// <summary>Copies what is there.</summary>
    public static void Copy(string folder, string target)
    {
        foreach (string name in s_names)
            if (File.Exists(Path.Combine(folder, name)))
                File.Copy(Path.Combine(folder, name), Path.Combine(target, name));
    }

    /// <summary>Loads; flags given here stand in for those of tokenizer_config.json.</summary>
    public static Tokenizer Load(string path, bool? addBosToken = null, bool? addEosToken = null)
    {
        string file = Directory.Exists(path) ? Choose(path) : path;
        if (!File.Exists(file))
            throw new ModelFileException(path, "no such file or folder");
        try
        {
            TokenizerConfig config = TokenizerConfig.Read(Path.GetDirectoryName(Path.GetFullPath(file))!);
            config = config with { AddBosToken = addBosToken ?? config.AddBosToken, AddEosToken = addEosToken ?? config.AddEosToken };
            return new(WithFlags(Read(file, config) with { Config = config }));
        }
        catch (Exception e) when (e is InvalidDataException or FormatException or InvalidOperationException)
        {
            throw new ModelFileException(file, e.Message, e);
        }
    }

    private static string Choose(string folder)
    {
        foreach (string name in (string[])["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"])
            if (File.Exists(Path.Combine(folder, name)))
                return Path.Combine(folder, name);
        throw new ModelFileException(folder, "no tokenizer.json, tokenizer.model, vocab.json with merges.txt, or vocab.txt is here");
    }

    private static TokenizerParts Read(string file, TokenizerConfig config)
    {
        string name = Path.GetFileName(file);
        if (name.EndsWith(".model", StringComparison.OrdinalIgnoreCase))
            return SentencePieceFile.Read(file, config);
        if (name.EndsWith(".tiktoken", StringComparison.OrdinalIgnoreCase))
            return TiktokenFile.Read(file);
        if (name == "vocab.txt")
            return VocabularyText(file, config);
        if (name == "merges.txt")
            file = Path.Combine(Path.GetDirectoryName(file)!, "vocab.json");
        if (Path.GetFileName(file) == "vocab.json" && File.Exists(Path.Combine(Path.GetDirectoryName(file)!, "merges.txt")))
            return VocabularyAndMerges(file, config);
        return TokenizerJson.Read(file);
    }

    // The flags of tokenizer_config.json replace the template; what trims offsets stays.
    private static TokenizerParts WithFlags(TokenizerParts parts)
    {
        TokenizerConfig config = parts.Config;
        if (config.AddBosToken is null && config.AddEosToken is null)
            return parts;
        (int, string)? Token(bool? wanted, string role)
        {
            if (wanted != true || !config.SpecialTokens.TryGetValue(role, out string? token))
                return null;
            int? id = parts.AddedTokens.FirstOrDefault(t => t.Content == token)?.Id ?? parts.Model.Vocabulary.IdOf(token);
            return id is null ? null : (id.Value, token);
        }
        TemplatePostProcessor template = TemplatePostProcessor.Around(Token(config.AddBosToken, "bos_token"), Token(config.AddEosToken, "eos_token"));
        PostProcessor? rest = parts.PostProcessor switch
        {
            SequencePostProcessor sequence => sequence.WithoutTemplates(),
            ByteLevelPostProcessor byteLevel => byteLevel,
            PairPostProcessor pair => pair,
            _ => null,
        };
        // BERT's and RoBERTa's frames have no bos and eos to be switched.
        return rest is PairPostProcessor ? parts : parts with { PostProcessor = rest is null ? template : new SequencePostProcessor([rest, template]) };
    }

    private static TokenizerParts VocabularyAndMerges(string file, TokenizerConfig config)
    {
        using JsonDocument document = JsonFields.Parse(file, "vocab.json");
        Dictionary<string, int> ids = TokenizerJson.Ids(new(file), document.RootElement, "vocab");
        Vocabulary vocabulary = new(ids);
        Dictionary<ulong, (int, int)> merges = [];
        string path = Path.Combine(Path.GetDirectoryName(file)!, "merges.txt");
        int rank = 0;
        foreach (string line in File.ReadLines(path))
        {
            if (line.Length == 0 || line.StartsWith("#version", StringComparison.Ordinal))
                continue;
            int space = line.IndexOf(' ');
            if (line.AsSpan().Count(' ') != 1)
                throw new ModelFileException(path, $"merge {rank}: a merge has two parts, found {line.AsSpan().Count(' ') + 1}");
            TokenizerJson.AddMerge(path, merges, vocabulary, line.AsSpan(0, space), line.AsSpan(space + 1), "", rank++);
        }
        bool isQwen = config.TokenizerClass?.StartsWith("Qwen2", StringComparison.Ordinal) == true;
        return new(file, new BpeModel(vocabulary, merges, new()))
        {
            Normalizer = isQwen ? new FormNormalizer(compatibility: false, compose: true) : null,
            PreTokenizer = isQwen ? PreTokenizerNames.Find("qwen2") : PreTokenizerNames.Find("gpt-2"),
            PostProcessor = new ByteLevelPostProcessor(trimOffsets: false, addPrefixSpace: false),
            Decoder = new ByteLevelDecoder(),
            AddedTokens = AddedTokens(file, config, ids),
        };
    }

    private static TokenizerParts VocabularyText(string file, TokenizerConfig config)
    {
        Dictionary<string, int> ids = [];
        foreach (string line in File.ReadLines(file))
            ids[line.TrimEnd()] = ids.Count;
        Vocabulary vocabulary = new(ids);
        (int, string) Special(string role, string absent)
        {
            string token = config.SpecialTokens.GetValueOrDefault(role, absent);
            return (vocabulary.IdOf(token) ?? throw new ModelFileException(file, $"the vocabulary lacks \"{token}\""), token);
        }
        (int, string) begin = Special("cls_token", "[CLS]"), separator = Special("sep_token", "[SEP]");
        string unknown = Special("unk_token", "[UNK]").Item2;
        bool lower = config.LowerCase ?? true;
        List<AddedToken> added = AddedTokens(file, config, ids);
        foreach (string token in (string[])["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
            if (vocabulary.IdOf(token) is { } id && !added.Exists(t => t.Content == token))
                added.Add(new(id, token, Special: true));
        return new(file, new WordPieceModel(vocabulary, ids.Keys, unknown, "##", 100))
        {
            Normalizer = new BertNormalizer(true, true, lower, lower),
            PreTokenizer = new BertPreTokenizer(),
            PostProcessor = new PairPostProcessor(false, begin, separator, false, false),
            Decoder = new WordPieceDecoder("##", true),
            AddedTokens = added,
            UnknownToken = unknown,
        };
    }

    /// <summary>Added tokens of tokenizer_config.json, then of added_tokens.json, then the special tokens that the vocabulary holds.</summary>
    private static List<AddedToken> AddedTokens(string file, TokenizerConfig config, Dictionary<string, int> ids)
    {
        List<AddedToken> tokens = [.. config.AddedTokens];
        string path = Path.Combine(Path.GetDirectoryName(file)!, "added_tokens.json");
        if (File.Exists(path))
        {
            using JsonDocument document = JsonFields.Parse(path, "added_tokens.json");
            foreach ((string token, int id) in TokenizerJson.Ids(new(path), document.RootElement, "added_tokens"))
                if (!tokens.Exists(t => t.Content == token))
                    tokens.Add(new(id, token, Special: config.SpecialTokens.Values.Contains(token)));
        }
        foreach (string token in config.SpecialTokens.Values)
            if (ids.TryGetValue(token, out int id) && !tokens.Exists(t => t.Content == token))
                tokens.Add(new(id, token, Special: true));
        return tokens;
    }
}
