using System.Collections.Concurrent;

namespace EdgeLora.Models;

/// <summary>Pre-tokenizers that go by a name: GGUF's tokenizer.ggml.pre and tiktoken's encodings.</summary>
internal static class PreTokenizerNames
{
    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Gpt2 = ByteLevelPreTokenizer.Gpt2Pattern;
    private const string Llama3 = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Qwen2 = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string Tail = @" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Gpt4o = @"[^\r\n\p{L}\p{N}]?" + Upper + "*" + Lower + "+" + Contractions + @"?|[^\r\n\p{L}\p{N}]?" + Upper + "+" + Lower + "*" + Contractions + @"?|\p{N}{1,3}|" + Tail;
    private const string Tekken = @"[^\r\n\p{L}\p{N}]?" + Upper + "*" + Lower + @"+|[^\r\n\p{L}\p{N}]?" + Upper + "+" + Lower + @"*|\p{N}|" + Tail;
    private const string Bloom = @" ?[^(\s|.,!?…。，、।۔،)]+";
    private const string AsciiPunctuation = @"[\p{P}\$\+<=>\^~\|`]+";
    private const string Han = @"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+";

    // Compiled once, with what their classes remember: most models of a program share them.
    private static readonly ConcurrentDictionary<string, RegexPattern> s_compiled = new();

    /// <summary>The pre-tokenizer with byte stand-ins behind it, or null for an unknown name.</summary>
    public static PreTokenizer? Find(string name)
    {
        string[]? patterns = Patterns(name);
        return patterns is null
            ? null
            : new SequencePreTokenizer([.. patterns.Select(p => new PatternPreTokenizer(s_compiled.GetOrAdd(p, p => new(p)), SplitBehavior.Isolated)), new ByteLevelPreTokenizer(false, false)]);
    }

    /// <summary>True where a word that is a token as a whole is not built from merges.</summary>
    public static bool IgnoresMerges(string name) => name is "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2" or "tekken" or "chatglm-bpe" or "glm4";

    /// <summary>True where texts begin with bos unless the file says otherwise.</summary>
    public static bool AddsBos(string name) => name is "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2" or "tekken";

    /// <summary>The patterns that one after the other isolate what they match; null for an unknown name.</summary>
    public static string[]? Patterns(string name) => name switch
    {
        "default" => [AsciiPunctuation, Gpt2, @"\p{N}+", "[0-9][0-9][0-9]"],
        "gpt-2" or "gpt2" or "phi-2" or "mpt" or "olmo" or "jais" or "trillion" or "granite-docling" or "gigachat" or "jina-es" or "jina-de" or "jina-v1-en" or "jina-v2-es" or "jina-v2-de"
            or "jina-v2-code" or "roberta-bpe" or "modern-bert" or "a.x-4.0" or "mellum" => [Gpt2],
        "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2" or "dbrx" or "smaug-bpe" or "chatglm-bpe" or "glm4" or "cl100k_base" => [Llama3],
        "qwen2" or "deepseek-r1-qwen" or "megrez" or "stablelm2" or "hunyuan" or "kormo" => [Qwen2],
        "starcoder" or "refact" or "command-r" or "smollm" or "codeshell" or "exaone" or "minerva-7b" => [@"\p{N}", Gpt2],
        "deepseek-v3" or "hunyuan-dense" =>
        [
            @"\p{N}{1,3}",
            @"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
            @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        "deepseek-llm" => [@"[\r\n]", @"\s?[\p{Lu}\p{Ll}\p{Lt}]+", @"\s?[!-/:-~！-／：-～‘-‟\x{3000}-。]+", @"\s+$", Han, @"\p{N}+"],
        "deepseek-coder" => [@"[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", Han, @"\p{N}"],
        "falcon" => [AsciiPunctuation, Gpt2, "[0-9][0-9][0-9]"],
        "bloom" or "poro-chat" or "gpt3-finnish" => [Bloom],
        "viking" => [Bloom, @"\p{N}"],
        "tekken" => [Tekken],
        "gpt-4o" or "llama4" or "o200k_base" => [Gpt4o],
        _ => null,
    };
}
