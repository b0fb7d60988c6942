using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>A tokenizer's file: loaded, then a text goes through it and back.</summary>
internal abstract class TokenizerFuzz : FuzzFormat
{
    private const string Sample = "Hello, wörld! 1234  don't\n\t<s> 日本語 a\u0301 🙂";

    // A loaded tokenizer that lacks a character, and an unknown token for it, says so when it meets one.
    public override bool IsRefusal(Exception e) => e is ModelFileException or InvalidDataException;

    public override void Open(string folder) => Use(Tokenizer.Load(Path.Combine(folder, FileName)));

    protected static void Use(Tokenizer tokenizer)
    {
        int[] ids = tokenizer.EncodeIds(Sample);
        tokenizer.Decode(ids, skipSpecialTokens: false);
    }
}

/// <summary>tokenizer.json.</summary>
internal sealed class TokenizerJsonFuzz : TokenizerFuzz
{
    public override string Name => "tokenizer-json";

    // A pattern's letter takes a hundred bytes, of at most 2048 (and a class a page for the letters that it meets); a token of few letters a string and a place in two tables.
    public override long SlackBytes => 1280 << 10;

    public override string FileName => "tokenizer.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens =>
    [
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+$\"},\"behavior\":\"Isolated\",\"invert\":false}", "{\"type\":\"Metaspace\",\"replacement\":\"▁\"}", "{\"type\":\"NFKC\"}",
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"\"}", "{\"type\":\"Sequence\",\"normalizers\":[]}", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}", "{\"type\":\"BertNormalizer\"}", "{\"type\":\"Strip\"}",
        "{\"type\":\"TemplateProcessing\"}", "\"type\":\"BPE\"", "\"type\":\"Unigram\"", "\"type\":\"WordPiece\"", "\"type\":\"WordLevel\"", "\"byte_fallback\":true", "\"unk_id\":0", "\\\\p{L}", "\\\\p{Han}", "(?i:", "(?=", "(?!\\\\s)", "{0,65535}", "[^\\\\s\\\\p{L}]", "\"added_tokens\":[{\"id\":0,\"content\":\"a\"}]",
        "\"truncation\":{\"max_length\":2}", "\"padding\":{}",
    ];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/tokenizer/*.json"];

    public override IEnumerable<byte[]> Seeds() => ((string[])
    [
        """{"version":"1.0","added_tokens":[{"id":5,"content":"<s>","special":true,"lstrip":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|\\s+(?!\\S)|[^\\s\\p{L}]{1,3}"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[5],"tokens":["<s>"]}}},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","dropout":null,"unk_token":null,"fuse_unk":false,"byte_fallback":false,"vocab":{"h":0,"e":1,"l":2,"o":3,"he":4,"<s>":5,"ll":6},"merges":["h e",["l","l"]]}}""",
        """{"added_tokens":[],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁",-1.5],["a",-2],["▁H",-2.5],["<0x0A>",-3]],"byte_fallback":false}}""",
        """{"added_tokens":[{"id":0,"content":"[UNK]","special":true}],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[UNK]",0],"cls":["[UNK]",0]},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[UNK]":0,"he":1,"##llo":2,"a":3}}}""",
        """{"added_tokens":[],"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,"model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":0,"hello":1,",":2,"a":3}}}""",
    ]).Select(Encoding.UTF8.GetBytes);
}

/// <summary>tokenizer_config.json beside a tokenizer.json.</summary>
internal sealed class TokenizerConfigFuzz : TokenizerFuzz
{
    public override string Name => "tokenizer-config";

    public override string FileName => "tokenizer_config.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens => ["\"add_bos_token\":true", "\"added_tokens_decoder\":{\"7\":{\"content\":\"<x>\",\"special\":true}}", "\"chat_template\":[{\"name\":\"default\",\"template\":\"\"}]", "\"bos_token\":{\"content\":\"<s>\"}", "\"clean_up_tokenization_spaces\":true", "\"model_max_length\":1e30", "\"extra_special_tokens\":[]", "\"legacy\":false"];

    public override IReadOnlyList<string> SharedSeeds => ["tokenizers/*/tokenizer_config.json"];

    public override IEnumerable<byte[]> Seeds() => [Encoding.UTF8.GetBytes("""{"add_bos_token":true,"add_eos_token":false,"bos_token":"<s>","eos_token":{"content":"<s>","lstrip":false},"chat_template":"{{ messages[0]['content'] }}","added_tokens_decoder":{"5":{"content":"<s>","special":true}},"tokenizer_class":"LlamaTokenizer","legacy":true}""")];

    public override void Prepare(string folder) => File.WriteAllBytes(Path.Combine(folder, "tokenizer.json"), new TokenizerJsonFuzz().Seeds().First());

    public override void Open(string folder) => Use(Tokenizer.Load(folder));
}

/// <summary>vocab.txt of BERT's WordPiece.</summary>
internal sealed class VocabularyTextFuzz : TokenizerFuzz
{
    public override string Name => "vocabulary-text";

    public override string FileName => "vocab.txt";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens => ["\n[UNK]\n", "\n[CLS]\n", "\n[SEP]\n", "##", "\r\n", "\n\n", "日", "[MASK]"];

    public override IEnumerable<byte[]> Seeds() => [Encoding.UTF8.GetBytes("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhe\n##llo\na\n,\n日\n##1\n1\n2\n")];

    public override void Open(string folder) => Use(Tokenizer.Load(folder));
}

/// <summary>vocab.json or merges.txt of GPT-2's pair of files, beside the other.</summary>
/// <param name="mutatesMerges">Whether it is merges.txt.</param>
internal sealed class VocabularyAndMergesFuzz(bool mutatesMerges) : TokenizerFuzz
{
    private static readonly byte[] s_vocabulary = Encoding.UTF8.GetBytes("""{"h":0,"e":1,"l":2,"o":3,"he":4,"<|endoftext|>":5,"ll":6,"Ġ":7,"Ġa":8,"a":9,"H":10}"""), s_merges = Encoding.UTF8.GetBytes("#version: 0.2\nh e\nl l\nĠ a\n");

    public override string Name => mutatesMerges ? "merges" : "vocabulary-json";

    public override string FileName => mutatesMerges ? "merges.txt" : "vocab.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens => mutatesMerges ? ["h e\n", "Ġ a", "#version", "\r\n", "he ll\n", "  "] : ["\"he\":4", "\"Ġ\":2147483647", ":-1", "\"\\u0120\"", "\"<|endoftext|>\":0"];

    public override IEnumerable<byte[]> Seeds() => [mutatesMerges ? s_merges : s_vocabulary];

    public override void Prepare(string folder) => File.WriteAllBytes(Path.Combine(folder, mutatesMerges ? "vocab.json" : "merges.txt"), mutatesMerges ? s_vocabulary : s_merges);

    public override void Open(string folder) => Use(Tokenizer.Load(folder));
}

/// <summary>SentencePiece's tokenizer.model.</summary>
internal sealed class SentencePieceFuzz : TokenizerFuzz
{
    public override string Name => "sentencepiece";

    public override string FileName => "tokenizer.model";

    public override IReadOnlyList<string> Tokens => ["\u0012\u0004", "\u0018\u0003", "<0x41>", "<s>", "\u00e2\u0096\u0081", "\u00ff\u00ff\u00ff\u00ff\u0007"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return File(1);
        yield return File(2);
    }

    // pieces = 1 {piece = 1, score = 2, type = 3}, trainer_spec = 2 {model_type = 3, byte_fallback = 35}, normalizer_spec = 3 {add_dummy_prefix = 3, remove_extra_whitespaces = 4, escape_whitespaces = 5}.
    private static byte[] File(byte modelType)
    {
        List<byte> file = [];
        foreach ((string text, float score, byte type) in new[] { ("<unk>", 0f, (byte)2), ("<s>", 0f, (byte)3), ("</s>", 0f, (byte)3), ("▁", -1f, (byte)1), ("H", -2f, (byte)1), ("e", -3f, (byte)1), ("▁He", -4f, (byte)1), ("<0x0A>", 0f, (byte)6), ("user", -1f, (byte)4) })
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            byte[] piece = [0x0A, (byte)utf8.Length, .. utf8, 0x15, .. BitConverter.GetBytes(score), 0x18, type];
            file.AddRange([0x0A, (byte)piece.Length, .. piece]);
        }
        byte[] trainer = [0x18, modelType, 0x98, 0x02, 0x01], normalizer = [0x18, 0x01, 0x20, 0x01, 0x28, 0x01];
        return [.. file, 0x12, (byte)trainer.Length, .. trainer, 0x1A, (byte)normalizer.Length, .. normalizer];
    }
}

/// <summary>A rank file of tiktoken.</summary>
internal sealed class TiktokenFuzz : TokenizerFuzz
{
    public override string Name => "tiktoken";

    public override string FileName => "cl100k_base.tiktoken";

    public override bool IsText => true;

    public override IEnumerable<byte[]> Seeds() =>
    [
        // Every byte, then two merges.
        Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 256).Select(b => new[] { (byte)b }).Concat([[(byte)'l', (byte)'l'], [(byte)'l', (byte)'l', (byte)'o']]).Select((t, i) => $"{Convert.ToBase64String(t)} {i}\n"))),
    ];
}

/// <summary>The vocabulary inside a GGUF file.</summary>
internal sealed class GgufVocabularyFuzz : TokenizerFuzz
{
    public override string Name => "gguf-vocabulary";

    public override string FileName => "vocab.gguf";

    public override IReadOnlyList<string> Tokens => ["tokenizer.ggml.model", "tokenizer.ggml.pre", "llama", "gpt2", "bert", "t5", "llama-bpe", "qwen2", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.chat_template"];

    public override IReadOnlyList<string> SharedSeeds => ["tokenizers/*/vocab.gguf"];

    public override IEnumerable<byte[]> Seeds() => new[] { ("gpt2", "llama-bpe"), ("llama", "default"), ("bert", "default"), ("t5", "default") }.Select(kind => TinyBase.Bytes(FileName, f => GgufFile.Write(Path.Combine(f, FileName), new Dictionary<string, object>
    {
        ["general.architecture"] = "llama",
        ["tokenizer.ggml.model"] = kind.Item1,
        ["tokenizer.ggml.pre"] = kind.Item2,
        ["tokenizer.ggml.tokens"] = new[] { "<unk>", "<s>", "</s>", "H", "e", "He", "▁", "<0x0A>" },
        ["tokenizer.ggml.scores"] = new[] { 0f, 0f, 0f, -1f, -2f, -3f, -4f, 0f },
        ["tokenizer.ggml.token_type"] = new[] { 2, 3, 3, 1, 1, 1, 1, 6 },
        ["tokenizer.ggml.merges"] = new[] { "H e" },
        ["tokenizer.ggml.bos_token_id"] = 1u,
        ["tokenizer.ggml.eos_token_id"] = 2u,
        ["tokenizer.ggml.add_bos_token"] = true,
    }, [])));

    public override void Open(string folder)
    {
        string path = Path.Combine(folder, FileName);
        using GgufFile file = GgufFile.Open(path);
        Use(Tokenizer.FromGguf(file.Metadata, path));
    }
}

/// <summary>A chat template: parsed; and rendered over a short dialogue. Rendering runs a program, so its memory is bounded by its own limit, not by the file.</summary>
/// <param name="renders">Whether it is rendered too.</param>
internal sealed class ChatTemplateFuzz(bool renders) : FuzzFormat
{
    private static readonly JsonElement s_messages = JsonDocument.Parse("""[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi","extra":[1,2.5,null,{"a":true}]},{"role":"assistant","content":"Hello","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},{"role":"user","content":"Why?"}]""").RootElement.Clone();
    private static readonly JsonElement s_tools = JsonDocument.Parse("""[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]""").RootElement.Clone();

    public override string Name => renders ? "chat-template" : "chat-template-parse";

    public override string FileName => "chat_template.jinja";

    public override bool IsText => true;

    // A template's tokens and expressions take some fifty bytes a character. And 64 MiB that a rendering may allocate (JinjaLimits.MaxBytes), and what it may for each character of the dialogue.
    public override long SlackBytes => renders ? 68L << 20 : 5 << 18;

    public override IReadOnlyList<string> Tokens =>
    [
        "{% for m in messages %}", "{% endfor %}", "{% if loop.first %}", "{% else %}", "{% endif %}", "{%- set ns = namespace(x=0) %}", "{% set ns.x = ns.x + 1 %}", "{{ m['content'] | trim }}", "{{ m | tojson(indent=2) }}", "{% macro f(a, b=1) %}", "{% endmacro %}", "{{ f(1) }}", "{{ raise_exception('x') }}", "{% generation %}", "{% endgeneration %}",
        "range(10)", "| length", "| join(',')", "| selectattr('role', 'equalto', 'user')", "| map(attribute='role')", "| list", "| default('x', true)", "[::-1]", "[1:]", ".items()", "loop.index0", "loop.previtem", "** 9", "* 99999", "% 3", "// 0", "~", "is defined", "not in", "{#", "#}", "{% raw %}", "{% endraw %}", "strftime_now('%Y')", "'%s' % x", "| indent(4)", "{% break %}", "{% continue %}", "{% filter upper %}", "{% call f() %}", ".split(' ')", ".strip()", "|reverse", "|sort", "|groupby('role')", "|batch(3)", "|format(1)", "cycler(1,2)", "joiner(',')", "dict(a=1)", "lipsum",
    ];

    public override IReadOnlyList<string> SharedSeeds => ["chat_templates/templates/*.jinja"];

    public override IEnumerable<byte[]> Seeds() => ((string[])
    [
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{%- macro f(x, y=2) -%}{{ x ~ y }}{%- endmacro -%}{%- set ns = namespace(n=0) -%}{%- for m in messages if m.role != 'system' -%}{%- set ns.n = ns.n + loop.index -%}{{ f(m.content|upper, ns.n) }}{%- endfor -%}{{ tools|tojson if tools else '' }}",
    ]).Select(Encoding.UTF8.GetBytes);

    public override void Open(string folder)
    {
        ChatTemplate template = ChatTemplate.Parse(Encoding.UTF8.GetString(System.IO.File.ReadAllBytes(Path.Combine(folder, FileName))));
        if (renders)
            template.Render(new ChatTemplateInput { Messages = s_messages, Tools = s_tools, AddGenerationPrompt = true, Clock = () => DateTimeOffset.UnixEpoch, SpecialTokens = new Dictionary<string, string> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" } });
    }

    public override bool IsRefusal(Exception e) => e is ChatTemplateException;
}
