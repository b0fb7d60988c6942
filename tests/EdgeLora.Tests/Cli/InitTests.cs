using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Training;
using Xunit;

namespace EdgeLora.Tests.Cli;

public sealed class InitTests : IDisposable
{
    private readonly FreshBase _base = new();

    public void Dispose() => _base.Dispose();

    [Fact]
    public void Init_trains_a_tokenizer_and_writes_a_base_that_runs()
    {
        string text = _base.Write("a.txt", string.Join("<|endoftext|>", FreshBase.Sentences)), rows = _base.Write("b.jsonl", """{"text": "The bird is in the tree."}"""), config = _base.Write("config.json", FreshBase.Config("qwen3"));
        string template = _base.Write("chat.jinja", "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}");
        (int code, string output, string error) = Run("init", _base.Path("new"), "--config", config, "--text", text, rows, "--document-separator", "<|endoftext|>", "--vocab-size", "290",
            "--special", "<|endoftext|>", "<|user|>", "--pad", "<|user|>", "--chat-template", template, "--type", "BF16", "--seed", "3", "--json");
        Assert.True(code == 0, error);
        using JsonDocument json = JsonDocument.Parse(output);
        JsonElement made = json.RootElement;
        Assert.Equal((290, "qwen3", "BF16", 3), (made.GetProperty("vocabulary").GetInt32(), made.GetProperty("modelType").GetString(), made.GetProperty("type").GetString(), made.GetProperty("seed").GetInt32()));
        Assert.Equal(2 * made.GetProperty("parameters").GetInt64(), made.GetProperty("bytes").GetInt64());
        Tokenizer tokenizer = Tokenizer.Load(_base.Path("new"));
        Assert.Equal((290, 0, 0, 1), (tokenizer.VocabularySize, tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
        Assert.Contains("messages", tokenizer.ChatTemplate);
        Assert.Equal(0, Run("run", _base.Path("new"), "-p", "The cat", "--max-tokens", "4").Code);
        // The same tokenizer under another base.
        Assert.Equal(0, Run("init", _base.Path("other"), "--config", _base.Path("new"), "--tokenizer", _base.Path("new"), "--seed", "4").Code);
        Assert.Equal(File.ReadAllBytes(_base.Path("new/tokenizer.json")), File.ReadAllBytes(_base.Path("other/tokenizer.json")));
    }

    [Fact]
    public void What_cannot_be_made_leaves_nothing_behind()
    {
        string config = _base.Write("config.json", FreshBase.Config("llama", """, "bos_token_id": 9""")), text = _base.Write("a.txt", FreshBase.Sentences[0]);
        string[] before = Directory.GetFileSystemEntries(_base.Path(""));
        void Refused(int expected, string why, params string[] more)
        {
            (int code, string output, string error) = Run(["init", _base.Path("new"), "--config", config, .. more]);
            Assert.Equal((expected, ""), (code, output));
            Assert.Contains(why, error);
            Assert.Equal(before, Directory.GetFileSystemEntries(_base.Path("")));
        }
        Refused(2, "either --text or --tokenizer");
        Refused(2, "either --text or --tokenizer", "--text", text, "--tokenizer", _base.Path(""));
        Refused(2, "--vocab-size: --tokenizer is taken as it is", "--tokenizer", _base.Path(""), "--vocab-size", "300");
        Refused(2, "--vocab-size: is missing", "--text", text);
        Refused(2, "--type", "--text", text, "--type", "Q8_0");
        Refused(2, "--seed", "--text", text, "--seed", "-1");
        Refused(1, "bos_token_id: expected 0", "--text", text, "--vocab-size", "300");
        Refused(1, "<|no|>", "--text", text, "--vocab-size", "300", "--eos", "<|no|>");
        Refused(1, "no such folder", "--tokenizer", _base.Path("nowhere"));
        Refused(1, "nowhere.txt", "--text", _base.Path("nowhere.txt"), "--vocab-size", "300");
    }

    [Fact]
    public void A_base_from_nothing_is_trained_merged_and_carries_a_child()
    {
        string text = _base.Write("a.txt", string.Concat(FreshBase.Sentences)), config = _base.Write("config.json", FreshBase.Config("llama", """, "tie_word_embeddings": true""")), start = _base.Path("start"), tree = _base.Path("tree");
        void Done(params string[] args)
        {
            (int code, _, string error) = Run(args);
            Assert.True(code == 0, error);
        }
        Done("init", start, "--config", config, "--text", text, "--vocab-size", "300");
        string[] train = ["--dataset", text, "--learning-rate", "0.01", "--max-steps", "30"];
        Done(["train", "--base", start, "--finetuning-type", "full", "--output-dir", _base.Path("full"), .. train]);
        Done("merge", start, "--adapter", _base.Path("full"), "--type", "BF16", "-o", Path.Combine(tree, "base"));
        Done(["train", "--base", tree, "--output-dir", Path.Combine(tree, "node"), "--save-steps", "0", .. train]);
        double[] losses = [Loss(start), Loss(tree), Loss(tree, "--at", "node")];
        Assert.True(losses[1] < 0.6 * losses[0] && losses[2] < losses[1], string.Join(", ", losses));
        Assert.Equal(Loss(start, "--adapter", _base.Path("full")), losses[1], 0.01);
        // The head still is the table.
        using TensorFile before = Safetensors.Open(start), after = Safetensors.Open(Path.Combine(tree, "base"));
        Assert.Equal(before.Tensors.Keys, after.Tensors.Keys);

        double Loss(params string[] model)
        {
            (int code, string output, string error) = Run(["eval", .. model, "--text", text, "--json"]);
            Assert.True(code == 0, error);
            using JsonDocument json = JsonDocument.Parse(output);
            return json.RootElement.GetProperty("meanNll").GetDouble();
        }
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
