using System.Globalization;
using System.Text;
using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary>Recorded runs, trained again by <c>edgelora train</c> from rows of tokens, and compared step by step. Numbers: ../shared/fixtures/training.</summary>
public sealed class TrainTraceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("lora_all_cosine")]
    [InlineData("lora_all_accumulate4")]
    [InlineData("lora_all_linear_schedule")]
    [InlineData("lora_padded")]
    [InlineData("lora_packed")]
    [InlineData("lora_bias_all_qwen2")]
    [InlineData("lora_modules_to_save")]
    [InlineData("lora_embedding")]
    [InlineData("lora_gpt2")]
    [InlineData("lora_patterns")]
    [InlineData("lora_qv_sgd")]
    [InlineData("loraplus")]
    [InlineData("rslora")]
    [InlineData("dora")]
    [InlineData("pissa")]
    [InlineData("full")]
    [InlineData("full_tied_qwen2")]
    [InlineData("partial_top_and_head")]
    public void Train_gives_the_recorded_losses_from_the_command_line(string name)
    {
        string folder = SharedFolder.Require("fixtures/training/" + name);
        using TrainingTrace trace = TrainingTrace.Open(folder);
        TrainingRecipe recipe = trace.Recipe;
        string rows = Path.Combine(_folder, "rows.jsonl"), output = Path.Combine(_folder, "out"), yaml = Path.Combine(_folder, "recipe.yaml");
        WriteRows(folder, rows);
        File.WriteAllText(yaml, (recipe with { OutputFolder = output, Dataset = [rows], SaveSteps = 0 }).ToYaml());
        StringWriter written = new(), error = new();
        Assert.True(EdgeLoraCommand.Invoke(["train", yaml, "--json"], written, error) == 0, error.ToString());
        JsonElement[] steps = [.. written.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).Where(e => e.TryGetProperty("grad_norm", out _))];
        Assert.Equal(trace.Loss.Length, steps.Length);
        for (int i = 0; i < steps.Length; i++)
        {
            Assert.Equal(trace.Loss[i], steps[i].GetProperty("loss").GetDouble(), trace.Loss[i] * trace.Tolerance.Loss);
            Assert.Equal(trace.GradNorm[i], steps[i].GetProperty("grad_norm").GetDouble(), trace.GradNorm[i] * trace.Tolerance.GradNorm);
        }
        CompareFinal(trace, output);
    }

    private static void CompareFinal(TrainingTrace trace, string output)
    {
        string final = Directory.GetFiles(Path.Combine(trace.Folder, "final"), "*model.safetensors").Single();
        using TensorFile expected = Safetensors.Open(final), found = Safetensors.Open(Path.Combine(output, PeftAdapter.WeightsName));
        Assert.Equal(expected.Tensors.Keys.Order(StringComparer.Ordinal), found.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach ((string key, Tensor tensor) in expected.Tensors)
        {
            float[] a = tensor.ToFloats(), b = found.Tensors[key].ToFloats();
            double largest = a.Max(Math.Abs), difference = a.Zip(b, (x, y) => Math.Abs((double)x - y)).Max();
            Assert.True(difference <= largest * trace.Tolerance.Final, $"{key}: {difference / largest:g3}, tolerance {trace.Tolerance.Final:g3}");
        }
    }

    // A row of the trace's batches as users write tokenised rows, padding and positions included.
    private static void WriteRows(string folder, string path)
    {
        using TensorFile file = Safetensors.Open(Path.Combine(folder, "trace.safetensors"));
        StringBuilder text = new();
        for (int i = 0; file.Tensors.ContainsKey($"batch.{i}.input_ids"); i++)
            for (int row = 0; row < file.Tensors[$"batch.{i}.input_ids"].Shape[0]; row++)
            {
                text.Append('{');
                bool first = true;
                foreach (string field in (string[])["input_ids", "labels", "attention_mask", "position_ids"])
                {
                    if (!file.Tensors.TryGetValue($"batch.{i}.{field}", out Tensor? tensor))
                        continue;
                    text.Append(CultureInfo.InvariantCulture, $"{(first ? "" : ", ")}\"{field}\": [{string.Join(", ", tensor.ToInts().AsSpan(row * tensor.Shape.Columns, tensor.Shape.Columns).ToArray())}]");
                    first = false;
                }
                text.Append("}\n");
            }
        File.WriteAllText(path, text.ToString());
    }
}
