using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary><c>train</c> as it is typed, and its results in the other verbs' hands.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private static readonly string s_tree = Path.Combine(SharedFolder.Repository, "adapters", "nano"), s_base = Path.Combine(s_tree, "base");
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-train-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("--lora-rank", "4")]
    [InlineData("--use-dora", "true")]
    [InlineData("--init-lora-weights", "pissa")]
    [InlineData("--method", "bottleneck")]
    [InlineData("--method", "freeze")]
    [InlineData("--method", "full")]
    public void What_a_method_trained_is_inspected_run_and_scored_as_in_training(string flag, string value)
    {
        string output = Path.Combine(_folder, "out"), text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, string.Concat(Enumerable.Repeat("Once more unto the breach, dear friends, once more. ", 4)) + "<|endoftext|>");
        JsonElement[] lines = Train(s_base, text, output, flag, value, "--max-steps", "2", "--eval-dataset", text);
        Assert.Equal(new FileInfo(Path.Combine(output, "adapter_model.safetensors")).Length, lines[0].GetProperty("checkpoint_bytes").GetInt64());
        Assert.Equal("finished", lines[^1].GetProperty("status").GetString());
        Assert.True(lines[^1].GetProperty("tokens").GetInt64() > 0);
        double[] losses = [.. lines.Where(l => l.TryGetProperty("eval_loss", out _)).Select(l => l.GetProperty("eval_loss").GetDouble())];
        Assert.Equal(2, losses.Length);
        Assert.True(losses[1] < losses[0]);
        Assert.Equal(losses[0], Loss(s_base), 1e-4);
        Assert.Equal(losses[1], Loss(s_base, "--adapter", output), 1e-4);
        (int inspected, string facts, _) = Run("inspect", output);
        Assert.Equal(0, inspected);
        Assert.DoesNotContain("NaN", facts);
        Assert.Equal(0, Run("run", s_base, "--adapter", output, "-p", "Once", "--greedy", "--max-tokens", "2").Code);

        double Loss(params string[] model)
        {
            (int code, string json, string error) = Run(["eval", .. model, "--text", text, "--json"]);
            Assert.True(code == 0, error);
            using JsonDocument document = JsonDocument.Parse(json);
            return document.RootElement.GetProperty("meanNll").GetDouble();
        }
    }

    [Fact]
    public void A_child_trained_in_a_tree_is_its_node_and_its_checkpoints_are_none()
    {
        string tree = Path.Combine(_folder, "tree"), text = Path.Combine(_folder, "text.txt");
        foreach (string name in (string[])["base", "shakespeare"])
        {
            Directory.CreateDirectory(Path.Combine(tree, name));
            foreach (string file in Directory.GetFiles(Path.Combine(s_tree, name)))
                File.Copy(file, Path.Combine(tree, name, Path.GetFileName(file)));
        }
        File.WriteAllText(text, "Once more unto the breach.");
        Train(tree, text, Path.Combine(tree, "shakespeare", "harry"), "--parent", "shakespeare", "--lora-rank", "2", "--max-steps", "2", "--save-steps", "1");
        Assert.True(Directory.Exists(Path.Combine(tree, "shakespeare", "harry", "checkpoint-1")));
        AdapterTree nodes = AdapterTree.Open(tree);
        Assert.Equal(["", "shakespeare", "shakespeare/harry"], nodes.Nodes.Select(n => n.Path));
        Assert.Equal(0, Run("run", tree, "--at", "shakespeare/harry", "-p", "Once", "--greedy", "--max-tokens", "2").Code);
        (int code, _, string error) = Run("train", "--base", tree, "--dataset", text, "--parent", "shakespeare", "--output-dir", Path.Combine(tree, "shakespeare"), "--max-steps", "1");
        Assert.Equal(2, code);
        Assert.Contains("its parent's own folder", error);
    }

    [Fact]
    public void The_base_is_no_output_folder()
    {
        string text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, "Once more unto the breach.");
        foreach (string output in (string[])[s_base, s_tree])
        {
            (int code, _, string error) = Run("train", "--base", s_tree, "--dataset", text, "--output-dir", output, "--max-steps", "1");
            Assert.Equal(2, code);
            Assert.Contains("output_dir: " + output, error);
        }
        (int file, _, string fault) = Run("train", "--base", s_base, "--dataset", text, "--output-dir", text, "--max-steps", "1");
        Assert.Equal(2, file);
        Assert.Contains("is a file", fault);
    }

    [Fact]
    public void A_mistyped_flag_is_no_recipe_file()
    {
        (int code, _, string error) = Run("train", "--base", s_base, "--datset", "x.txt");
        Assert.Equal(2, code);
        Assert.Contains("--datset: no such option; did you mean --dataset?", error);
    }

    [Fact]
    public void Columns_are_named_on_the_command_line_as_in_a_recipe()
    {
        string rows = Path.Combine(_folder, "rows.jsonl");
        File.WriteAllText(rows, """{"question": "One and one?", "answer": "Two."}""");
        foreach (string columns in (string[])["prompt=question,response=answer", "{prompt: question, response: answer}"])
            Assert.Equal(1, Train(s_base, rows, Path.Combine(_folder, "out"), "--columns", columns, "--template", "plain", "--max-steps", "1")[0].GetProperty("train_rows").GetInt32());
    }

    [Fact]
    public void A_fresh_start_never_removes_an_earlier_run_s_checkpoints_unasked()
    {
        string rows = Path.Combine(_folder, "rows.jsonl"), output = Path.Combine(_folder, "out");
        File.WriteAllText(rows, """{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}""");
        string[] flags = ["--max-steps", "2", "--save-steps", "1"];
        Train(s_base, rows, output, flags);
        string checkpoint = Path.Combine(output, "checkpoint-1", "trainer_state.json");
        string state = File.ReadAllText(checkpoint);
        (int code, _, string error) = Run(["train", "--base", s_base, "--dataset", rows, "--output-dir", output, .. flags]);
        Assert.Equal(2, code);
        Assert.Contains("checkpoint-2 is a checkpoint of an earlier run", error);
        Assert.Equal(state, File.ReadAllText(checkpoint));
        Train(s_base, rows, output, "--max-steps", "2", "--save-steps", "2", "--overwrite_output_dir");
        Assert.False(File.Exists(checkpoint));
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error);
        return (code, output.ToString(), error.ToString());
    }

    // The lines of JSON.
    private static JsonElement[] Train(string model, string dataset, string output, params string[] flags)
    {
        (int code, string lines, string error) = Run(["train", "--base", model, "--dataset", dataset, "--output-dir", output, "--learning-rate", "1e-3", "--json", .. flags]);
        Assert.True(code == 0, error);
        return [.. lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            using JsonDocument document = JsonDocument.Parse(line);
            return document.RootElement.Clone();
        })];
    }
}
