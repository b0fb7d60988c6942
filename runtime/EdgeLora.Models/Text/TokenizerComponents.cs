using System.Text.Json;

namespace EdgeLora.Models;

/// <summary>Builds the components of tokenizer.json from their sections.</summary>
internal sealed class TokenizerComponents(JsonFields fields)
{
    // Patterns of a model have a few hundred letters in all; a letter of one costs a hundred bytes, a class more.
    private const int MaxPatternLetters = 2048;

    private int _patternLetters;

    public TextNormalizer Normalizer(JsonElement e, string where)
    {
        string type = fields.Text(e, "type", where);
        switch (type)
        {
            case "Sequence": return new SequenceNormalizer(Items(e, "normalizers", where, Normalizer));
            case "NFC": return new FormNormalizer(compatibility: false, compose: true);
            case "NFD": return new FormNormalizer(compatibility: false, compose: false);
            case "NFKC": return new FormNormalizer(compatibility: true, compose: true);
            case "NFKD": return new FormNormalizer(compatibility: true, compose: false);
            case "Lowercase": return new LowercaseNormalizer();
            case "StripAccents": return new StripAccentsNormalizer();
            case "Strip": return new StripNormalizer(fields.Flag(e, "strip_left", where, true), fields.Flag(e, "strip_right", where, true));
            case "Replace": return new ReplaceNormalizer(Pattern(e, where), fields.Text(e, "content", where));
            case "Prepend": return new PrependNormalizer(fields.Text(e, "prepend", where));
            case "ByteLevel": return new ByteLevelNormalizer();
            case "Nmt": return new NmtNormalizer();
            case "Precompiled": return new PrecompiledNormalizer(CharacterMap(e, where));
            case "BertNormalizer":
                bool lowercase = fields.Flag(e, "lowercase", where, true);
                return new BertNormalizer(fields.Flag(e, "clean_text", where, true), fields.Flag(e, "handle_chinese_chars", where, true), fields.Flag(e, "strip_accents", where, lowercase), lowercase);
            default: throw fields.Fault($"{where}: unknown type \"{type}\"");
        }
    }

    public PreTokenizer PreTokenizer(JsonElement e, string where)
    {
        string type = fields.Text(e, "type", where);
        switch (type)
        {
            case "Sequence": return new SequencePreTokenizer(Items(e, "pretokenizers", where, PreTokenizer));
            case "ByteLevel": return new ByteLevelPreTokenizer(fields.Flag(e, "add_prefix_space", where, true), fields.Flag(e, "use_regex", where, true));
            case "BertPreTokenizer": return new BertPreTokenizer();
            case "Whitespace": return new PatternPreTokenizer(new WordPattern(), SplitBehavior.Removed, invert: true);
            case "WhitespaceSplit": return new PatternPreTokenizer(new ClassPattern(CodePoints.IsWhiteSpace), SplitBehavior.Removed);
            case "Digits":
                return new PatternPreTokenizer(new ClassPattern(CodePoints.IsNumeric), fields.Flag(e, "individual_digits", where, false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous);
            case "Punctuation": return new PatternPreTokenizer(new ClassPattern(CodePoints.IsPunctuation), Behavior(e, where, "Isolated"));
            case "CharDelimiterSplit":
                int delimiter = Character(e, "delimiter", where);
                return new PatternPreTokenizer(new ClassPattern(c => c == delimiter), SplitBehavior.Removed);
            case "Split": return new PatternPreTokenizer(Pattern(e, where), Behavior(e, where, null), fields.Flag(e, "invert", where, false));
            case "Metaspace": return new MetaspacePreTokenizer(Character(e, "replacement", where), Scheme(e, where), fields.Flag(e, "split", where, true));
            case "UnicodeScripts": return new ScriptPreTokenizer();
            case "FixedLength":
                int length = fields.Count(e, "length", where, 5);
                return length > 0 ? new FixedLengthPreTokenizer(length) : throw fields.Fault($"{where}.length: expected at least 1, found 0");
            default: throw fields.Fault($"{where}: unknown type \"{type}\"");
        }
    }

    public TokenDecoder Decoder(JsonElement e, string where)
    {
        string type = fields.Text(e, "type", where);
        switch (type)
        {
            case "Sequence": return new SequenceDecoder(Items(e, "decoders", where, Decoder));
            case "ByteLevel": return new ByteLevelDecoder();
            case "ByteFallback": return new ByteFallbackDecoder();
            case "Fuse": return new FuseDecoder();
            case "Replace": return new ReplaceDecoder(Pattern(e, where), fields.Text(e, "content", where));
            case "Metaspace": return new MetaspaceDecoder(Character(e, "replacement", where), Scheme(e, where));
            case "WordPiece": return new WordPieceDecoder(fields.Text(e, "prefix", where, "##"), fields.Flag(e, "cleanup", where, true));
            case "BPEDecoder": return new BpeDecoder(fields.Text(e, "suffix", where, "</w>"));
            case "Strip": return new StripDecoder(Character(e, "content", where), fields.Count(e, "start", where), fields.Count(e, "stop", where));
            case "CTC":
                return new CtcDecoder(fields.Text(e, "pad_token", where, "<pad>"), fields.Text(e, "word_delimiter_token", where, "|"), fields.Flag(e, "cleanup", where, true));
            default: throw fields.Fault($"{where}: unknown type \"{type}\"");
        }
    }

    public PostProcessor PostProcessor(JsonElement e, string where)
    {
        string type = fields.Text(e, "type", where);
        switch (type)
        {
            case "Sequence": return new SequencePostProcessor(Items(e, "processors", where, PostProcessor));
            case "ByteLevel": return new ByteLevelPostProcessor(fields.Flag(e, "trim_offsets", where, true), fields.Flag(e, "add_prefix_space", where, true));
            case "BertProcessing": return new PairPostProcessor(false, IdPair(e, "cls", where), IdPair(e, "sep", where), false, false);
            case "RobertaProcessing":
                return new PairPostProcessor(true, IdPair(e, "cls", where), IdPair(e, "sep", where), fields.Flag(e, "trim_offsets", where, true), fields.Flag(e, "add_prefix_space", where, true));
            case "TemplateProcessing":
                JsonElement? specials = JsonFields.Get(e, "special_tokens");
                return new TemplatePostProcessor(Template(e, "single", where, specials), Template(e, "pair", where, specials));
            default: throw fields.Fault($"{where}: unknown type \"{type}\"");
        }
    }

    private List<T> Items<T>(JsonElement e, string name, string where, Func<JsonElement, string, T> build)
    {
        JsonElement array = fields.Required(e, name, $"{where}.{name}", JsonValueKind.Array);
        List<T> items = [];
        foreach (JsonElement item in array.EnumerateArray())
            items.Add(build(item, $"{where}.{name}[{items.Count}]"));
        return items;
    }

    private TextPattern Pattern(JsonElement e, string where)
    {
        JsonElement pattern = JsonFields.Get(e, "pattern") ?? throw fields.Fault($"{where}.pattern is missing");
        if (pattern.ValueKind == JsonValueKind.String)
            return new LiteralPattern(fields.Text(pattern, $"{where}.pattern"));
        if (JsonFields.Get(pattern, "String") is { } literal)
            return new LiteralPattern(fields.Text(literal, $"{where}.pattern.String"));
        string regex = fields.Text(pattern, "Regex", $"{where}.pattern");
        _patternLetters += regex.Length;
        if (_patternLetters > MaxPatternLetters)
            throw fields.Fault($"{where}.pattern: with this one the file's regular expressions have {_patternLetters} characters; at most {MaxPatternLetters} are read");
        try
        {
            return new RegexPattern(regex);
        }
        catch (FormatException fault)
        {
            throw fields.Fault($"{where}.pattern: {fault.Message}", fault);
        }
    }

    private SplitBehavior Behavior(JsonElement e, string where, string? absent)
    {
        string name = fields.Text(e, "behavior", where, absent);
        return name switch
        {
            "Removed" => SplitBehavior.Removed,
            "Isolated" => SplitBehavior.Isolated,
            "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
            "MergedWithNext" => SplitBehavior.MergedWithNext,
            "Contiguous" => SplitBehavior.Contiguous,
            _ => throw fields.Fault($"{where}.behavior: unknown behavior \"{name}\""),
        };
    }

    private PrependScheme Scheme(JsonElement e, string where)
    {
        if (JsonFields.Get(e, "prepend_scheme") is null)
            return fields.Flag(e, "add_prefix_space", where, true) ? PrependScheme.Always : PrependScheme.Never;
        string name = fields.Text(e, "prepend_scheme", where);
        return name switch
        {
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            "always" => PrependScheme.Always,
            _ => throw fields.Fault($"{where}.prepend_scheme: unknown scheme \"{name}\""),
        };
    }

    private int Character(JsonElement e, string name, string where)
    {
        int[] chars = CodePoints.Of(fields.Text(e, name, where));
        return chars.Length == 1 ? chars[0] : throw fields.Fault($"{where}.{name}: expected one character, found {chars.Length}");
    }

    private CharacterMap CharacterMap(JsonElement e, string where)
    {
        try
        {
            return new CharacterMap(Convert.FromBase64String(fields.Text(e, "precompiled_charsmap", where, "")));
        }
        catch (FormatException fault)
        {
            throw fields.Fault($"{where}.precompiled_charsmap: {fault.Message}", fault);
        }
    }

    private (int, string) IdPair(JsonElement e, string name, string where)
    {
        JsonElement pair = fields.Required(e, name, $"{where}.{name}", JsonValueKind.Array);
        return pair.GetArrayLength() == 2
            ? (fields.Count(pair[1], $"{where}.{name}[1]"), fields.Text(pair[0], $"{where}.{name}[0]"))
            : throw fields.Fault($"{where}.{name}: expected a token and its id");
    }

    private List<TemplatePiece> Template(JsonElement e, string name, string where, JsonElement? specials)
    {
        JsonElement array = fields.Required(e, name, $"{where}.{name}", JsonValueKind.Array);
        List<TemplatePiece> pieces = [];
        foreach (JsonElement item in array.EnumerateArray())
        {
            string at = $"{where}.{name}[{pieces.Count}]";
            if (JsonFields.Get(item, "Sequence") is { } sequence)
            {
                string id = fields.Text(sequence, "id", at);
                if (id is not ("A" or "B") || (id == "B" && name == "single"))
                    throw fields.Fault($"{at}: unknown sequence \"{id}\"");
                pieces.Add(new(fields.Count(sequence, "type_id", at), id == "A" ? 0 : 1, [], []));
                continue;
            }
            JsonElement special = JsonFields.Get(item, "SpecialToken") ?? throw fields.Fault($"{at}: expected Sequence or SpecialToken");
            string token = fields.Text(special, "id", at);
            JsonElement entry = (specials is { } all ? JsonFields.Get(all, token) : null) ?? throw fields.Fault($"{at}: special_tokens lacks \"{token}\"");
            int[] ids = [.. fields.Required(entry, "ids", $"{where}.special_tokens.{token}.ids", JsonValueKind.Array).EnumerateArray().Select(i => fields.Count(i, $"{where}.special_tokens.{token}.ids"))];
            string[] tokens = [.. fields.Required(entry, "tokens", $"{where}.special_tokens.{token}.tokens", JsonValueKind.Array).EnumerateArray().Select(t => fields.Text(t, $"{where}.special_tokens.{token}.tokens"))];
            if (ids.Length != tokens.Length)
                throw fields.Fault($"{where}.special_tokens.{token}: {ids.Length} ids for {tokens.Length} tokens");
            pieces.Add(new(fields.Count(special, "type_id", at), -1, ids, tokens));
        }
        return pieces;
    }
}
