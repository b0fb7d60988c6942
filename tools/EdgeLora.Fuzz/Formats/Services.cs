using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Fuzz;

/// <summary>A hub's list of a model's files, and the choice among them.</summary>
internal sealed class HubAnswerFuzz : FuzzFormat
{
    public override string Name => "hub-answer";

    public override string FileName => "answer.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens =>
    [
        "{\"rfilename\":\"model-00001-of-00002.safetensors\",\"size\":10}", "\"../x\"", "\"/etc/passwd\"", "\"a\\\\b\"", "\"C:/x\"", "\"con\"", "\"m-00001-of-00002.gguf\"", "\"b.gguf\"", "\"pytorch_model.bin\"", "\"consolidated.safetensors\"", "\"lfs\":{\"sha256\":\"00\"}", "\"siblings\":[", "\"sha\":",
    ];

    public override IEnumerable<byte[]> Seeds() =>
    [
        Encoding.UTF8.GetBytes("""{"id":"o/n","sha":"0123456789abcdef0123456789abcdef01234567","siblings":[{"rfilename":"config.json","size":12},{"rfilename":"model.safetensors","size":99,"lfs":{"sha256":"aa","size":99}},{"rfilename":"tokenizer.json"},{"rfilename":"sub/a.bin","size":1}]}"""),
        Encoding.UTF8.GetBytes("""{"sha":"0123456789abcdef0123456789abcdef01234567","siblings":[{"rfilename":"m-00001-of-00002.gguf","size":12},{"rfilename":"m-00002-of-00002.gguf","size":12}]}"""),
    ];

    public override void Open(string folder)
    {
        string path = Path.Combine(folder, FileName);
        HubFiles.Read(path, SafeJson.ReadBytes(path)).Select(HubModel.Parse("hf:o/n"), new HubSelection { Exclude = ["*.md"] });
    }

    public override bool IsRefusal(Exception e) => e is ModelFileException or HubException;
}

/// <summary>A training recipe's YAML.</summary>
internal sealed class RecipeFuzz : FuzzFormat
{
    public override string Name => "recipe";

    // YamlDotNet makes a token and an event of every word and every sign: a hundred bytes a character.
    public override long SlackBytes => 1 << 20;

    public override string FileName => "recipe.yaml";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens =>
    [
        "\nlora_rank: 8", "\nlora_target: q_proj,v_proj", "\nlora_target: all", "\nlora_target: [q_proj, v_proj]", "\nrank_pattern:\n  q_proj: 4", "\nuse_dora: true", "\nfinetuning_type: full", "\nstage: dpo", "\nlearning_rate: 1.0e-4", "\nnum_train_epochs: 3.0", "\nlr_scheduler_type: cosine",
        "\nlayers_to_transform: [0, 1]", "&a ", "*a", "<<: *a", "!!int ", "|\n  ", ">-\n  ", "---\n", "...\n", "\t", "{a: b}", "? ", "%YAML 1.2\n", "\\x41", "~", "1_000", "0x10", ".inf", "'", "\"", "# ",
    ];

    public override IEnumerable<byte[]> Seeds() => [Encoding.UTF8.GetBytes("model_name_or_path: base\ndataset: data.jsonl\noutput_dir: out\nlora_rank: 8\nlora_alpha: 16\nlora_target: [q_proj, v_proj]\nrank_pattern:\n  q_proj: 4\nlearning_rate: 1.0e-4\nnum_train_epochs: 1\n")];

    public override void Open(string folder) => TrainingRecipe.Read(Path.Combine(folder, FileName));
}

/// <summary>A message of the link, as it comes over the wire.</summary>
internal sealed class LinkMessageFuzz : FuzzFormat
{
    public override string Name => "link-message";

    public override string FileName => "message";

    public override IReadOnlyList<string> Tokens => ["\u00a1v\u0001", "\u00a2id\u0001", "\u00a2do", "\u00dc\u00ff\u00ff", "\u00dd\u007f\u00ff\u00ff\u00ff", "\u00df\u0000\u0001\u0000\u0000", "\u00db\u00ff\u00ff\u00ff\u00ff", "\u00c6\u007f\u00ff\u00ff\u00ff", "\u00cf\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "\u00c7\u0004\u0001", "\u0091\u0091\u0091\u0091", "\u0081\u00a0"];

    public override IEnumerable<byte[]> Seeds() =>
    [
        new LinkMessage { ["v"] = 1L, ["id"] = 1L, ["do"] = "push", ["name"] = "support/alice", ["bytes"] = (ReadOnlyMemory<byte>)new byte[] { 1, 2, 3 }, ["rate"] = 0.5, ["again"] = true, ["files"] = new object?[] { new LinkMessage { ["name"] = "a", ["size"] = 3L }, "b" } }.Encode(),
    ];

    public override void Open(string folder)
    {
        LinkMessage message = LinkMessage.Decode(File.ReadAllBytes(Path.Combine(folder, FileName)));
        message.Number("v");
        message.TextOrNull("do");
        message.Encode();
    }

    public override bool IsRefusal(Exception e) => e is LinkException;
}
