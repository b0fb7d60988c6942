using System.Text.Json;

namespace EdgeLora.Models;

/// <summary>tokenizer_config.json and its neighbours: the roles of special tokens, the chat template, and the flags that replace a post-processor.</summary>
internal sealed record TokenizerConfig
{
    /// <summary>The names of the roles.</summary>
    public static IReadOnlyList<string> Roles { get; } = ["bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"];

    public IReadOnlyDictionary<string, string> SpecialTokens { get; init; } = new Dictionary<string, string>();

    public string? ChatTemplate { get; init; }

    public bool? AddBosToken { get; init; }

    public bool? AddEosToken { get; init; }

    public bool? Legacy { get; init; }

    public bool? LowerCase { get; init; }

    public string? TokenizerClass { get; init; }

    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    public IReadOnlyList<int> EndIds { get; init; } = [];

    /// <summary>Reads what lies in <paramref name="folder"/>; every file may be absent.</summary>
    public static TokenizerConfig Read(string folder)
    {
        Dictionary<string, string> specials = [];
        TokenizerConfig config = new() { SpecialTokens = specials };
        string map = Path.Combine(folder, "special_tokens_map.json"), main = Path.Combine(folder, "tokenizer_config.json");
        string template = Path.Combine(folder, "chat_template.jinja"), generation = Path.Combine(folder, "generation_config.json");
        if (File.Exists(map))
        {
            using JsonDocument document = JsonFields.Parse(map, "special_tokens_map.json");
            ReadRoles(new(map), document.RootElement, specials);
        }
        if (File.Exists(main))
        {
            using JsonDocument document = JsonFields.Parse(main, "tokenizer_config.json");
            config = Main(new(main), document.RootElement, config, specials);
        }
        if (File.Exists(template))
            config = config with { ChatTemplate = File.ReadAllText(template) };
        if (File.Exists(generation))
        {
            using JsonDocument document = JsonFields.Parse(generation, "generation_config.json");
            config = config with { EndIds = EndTokens(new(generation), document.RootElement) };
        }
        return config;
    }

    /// <summary>Writes tokenizer_config.json for a tokenizer.json that adds no tokens by itself.</summary>
    public static void Write(Stream stream, IReadOnlyDictionary<string, string> roles, string? chatTemplate, string className = "PreTrainedTokenizerFast", bool? addBos = null, bool? addEos = null)
    {
        using Utf8JsonWriter json = new(stream, TokenizerJson.WriterOptions);
        json.WriteStartObject();
        json.WriteString("tokenizer_class", className);
        if (addBos is { } bos)
            json.WriteBoolean("add_bos_token", bos);
        if (addEos is { } eos)
            json.WriteBoolean("add_eos_token", eos);
        foreach (string role in Roles.Where(roles.ContainsKey))
            json.WriteString(role, roles[role]);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        if (chatTemplate is not null)
            json.WriteString("chat_template", chatTemplate);
        json.WriteEndObject();
    }

    private static TokenizerConfig Main(JsonFields fields, JsonElement root, TokenizerConfig config, Dictionary<string, string> specials)
    {
        ReadRoles(fields, root, specials);
        bool? Flag(string name) => JsonFields.Get(root, name) is null ? null : fields.Flag(root, name, "tokenizer_config", false);
        return config with
        {
            AddBosToken = Flag("add_bos_token"),
            AddEosToken = Flag("add_eos_token"),
            Legacy = Flag("legacy"),
            LowerCase = Flag("do_lower_case"),
            TokenizerClass = JsonFields.Get(root, "tokenizer_class") is { } type ? fields.Text(type, "tokenizer_class") : null,
            ChatTemplate = JsonFields.Get(root, "chat_template") is { } template ? Template(fields, template) : null,
            AddedTokens = AddedTokensDecoder(fields, root),
        };
    }

    private static void ReadRoles(JsonFields fields, JsonElement root, Dictionary<string, string> specials)
    {
        foreach (string role in Roles)
        {
            if (JsonFields.Get(root, role) is not { } value)
                continue;
            specials[role] = value.ValueKind == JsonValueKind.Object ? fields.Text(value, "content", role) : fields.Text(value, role);
        }
    }

    private static string? Template(JsonFields fields, JsonElement template)
    {
        if (template.ValueKind != JsonValueKind.Array)
            return fields.Text(template, "chat_template");
        // Several named templates: "default" is the one for plain chats.
        foreach (JsonElement entry in template.EnumerateArray())
            if (fields.Text(entry, "name", "chat_template") == "default")
                return fields.Text(entry, "template", "chat_template");
        return null;
    }

    private static List<AddedToken> AddedTokensDecoder(JsonFields fields, JsonElement root)
    {
        List<AddedToken> tokens = [];
        if (JsonFields.Get(root, "added_tokens_decoder") is not { ValueKind: JsonValueKind.Object } decoder)
            return tokens;
        foreach (JsonProperty entry in decoder.EnumerateObject())
        {
            if (!int.TryParse(entry.Name, System.Globalization.CultureInfo.InvariantCulture, out int id) || id < 0)
                throw fields.Fault($"added_tokens_decoder: \"{entry.Name}\" is not an id");
            tokens.Add(TokenizerJson.AddedToken(fields, entry.Value, id, $"added_tokens_decoder.{entry.Name}"));
        }
        return tokens;
    }

    private static List<int> EndTokens(JsonFields fields, JsonElement root)
    {
        if (JsonFields.Get(root, "eos_token_id") is not { } value)
            return [];
        return value.ValueKind == JsonValueKind.Array
            ? [.. value.EnumerateArray().Select(id => fields.Count(id, "eos_token_id"))]
            : [fields.Count(value, "eos_token_id")];
    }
}
