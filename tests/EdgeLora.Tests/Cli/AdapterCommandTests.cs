using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary><c>edgelora adapter …</c> as a user types it, on ../shared/fixtures/peft.</summary>
public sealed class AdapterCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-adapter-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("add A B --weights 0.3,0.7", "cat", 8)]
    [InlineData("add A B --method linear", "linear", 4)]
    [InlineData("add A B --method svd --rank 2", "svd", 2)]
    [InlineData("concat A B", "cat", 8)]
    [InlineData("svd A --rank 2", "svd", 2)]
    [InlineData("ties A B --density 0.4", "ties", 4)]
    [InlineData("ties A B --svd --rank 3 --sign frequency", "ties_svd", 3)]
    [InlineData("dare A B --seed 7", "dare_linear", 4)]
    [InlineData("dare A B --ties --svd", "dare_ties_svd", 4)]
    public void A_verb_writes_an_adapter_that_opens_again(string command, string method, int rank)
    {
        string target = Path.Combine(_folder, "made.elora");
        using JsonDocument json = Run([.. Words(command), "-o", target, "--json"]);
        Assert.Equal((method, rank), (json.RootElement.GetProperty("method").GetString(), json.RootElement.GetProperty("maxRank").GetInt32()));
        using PeftAdapter made = PeftAdapter.Open(target);
        Assert.Equal(made.Modules.Keys, json.RootElement.GetProperty("sites").EnumerateArray().Select(s => s.GetProperty("module").GetString()!));
    }

    [Theory, InlineData("sum.gguf"), InlineData("sum.onnx_adapter"), InlineData("sum")]
    public void Files_of_two_formats_are_added_and_written_in_a_third(string output)
    {
        string root = SharedFolder.Require("fixtures/conversions"), target = Path.Combine(_folder, output), model = Path.Combine(root, "base");
        Run(["adapter", "add", Path.Combine(root, "plain", "adapter.gguf"), Path.Combine(root, "patterns", "mlx"), "--weights", "0.5,-1", "--base", model, "-o", target, "--json"]).Dispose();
        using PeftAdapter sum = AdapterFormats.Read(target, new() { Base = AdapterComparison.BaseOf(model) });
        using TensorFile first = Safetensors.Open(Path.Combine(root, "plain", "deltas.safetensors")), second = Safetensors.Open(Path.Combine(root, "patterns", "deltas.safetensors"));
        Assert.Equal(14, LowRankPair.Of(sum, []).Count);
        foreach (LowRankPair pair in LowRankPair.Of(sum, []))
        {
            float[] a = first.Tensors[pair.Module].ToFloats(), b = second.Tensors[pair.Module].ToFloats();
            double[] found = AdapterComparison.Delta(pair);
            for (int i = 0; i < found.Length; i++)
                Assert.Equal(0.5 * a[i] - b[i], found[i], 1e-6);
        }
    }

    [Fact]
    public void What_a_format_must_be_told_is_told_to_arithmetic_too()
    {
        string root = SharedFolder.Require("fixtures/conversions/plain"), file = Path.Combine(root, "loralib.bin"), target = Path.Combine(_folder, "scaled.onnx_adapter");
        Assert.Contains("give it (--alpha)", Command.Fail("adapter", "scale", file, "--by", "0.3", "-o", target));
        Assert.Contains("allow it with --fold", Command.Fail("adapter", "scale", file, "--by", "0.3", "--alpha", "8", "-o", target));
        Assert.False(File.Exists(target));
        Run(["adapter", "scale", file, "--by", "0.3", "--alpha", "8", "--fold", "-o", target, "--json"]).Dispose();
        using PeftAdapter whole = AdapterFormats.Read(file, new() { Alpha = 8 * 0.3 }), scaled = PeftAdapter.Open(target);
        Assert.InRange(AdapterComparison.DeltaError(whole, scaled), 0, 1e-6);
        Assert.Contains("give it (--base)", Command.Fail("adapter", "add", Path.Combine(root, "adapter.gguf"), Path.Combine(root, "adapter.gguf"), "-o", Path.Combine(_folder, "sum")));
    }

    [Fact]
    public void What_a_file_does_not_hold_is_told_by_arithmetic_too()
    {
        string source = SharedFolder.Require("fixtures/conversions/plain/peft");
        using JsonDocument scaled = Run(["adapter", "scale", source, "--by", "0.5", "--to", "loralib", "-o", Path.Combine(_folder, "a.bin"), "--json"]), sum = Run(["adapter", "add", source, "--to", "loralib", "-o", Path.Combine(_folder, "b.bin"), "--json"]);
        Assert.StartsWith("alpha 4 is not in a loralib file", scaled.RootElement.GetProperty("notes")[0].GetString());
        Assert.StartsWith("alpha 4 is not in a loralib file", sum.RootElement.GetProperty("notes")[0].GetString());
        using JsonDocument whole = Run(["adapter", "add", SharedFolder.Require("fixtures/peft/llama-save-head"), "--weights", "0.5", "-o", Path.Combine(_folder, "c"), "--json"]);
        Assert.Contains("no weight counts for them: lm_head.weight", whole.RootElement.GetProperty("notes")[0].GetString());
    }

    [Theory, InlineData("adapter scale --by 0.3"), InlineData("convert")]
    public void Folding_into_halves_says_how_much_it_rounds(string command)
    {
        string half = Path.Combine(_folder, "half.onnx_adapter"), target = Path.Combine(_folder, "scaled.onnx_adapter"), third = Path.Combine(_folder, "third");
        File.Copy(SharedFolder.Require("fixtures/onnx_adapter/llama-f16.onnx_adapter"), half);
        Run(["adapter", "scale", half, "--by", "0.3", "-o", third, "--json"]).Dispose();
        string[] words = command.Split(' ');
        using JsonDocument json = Run(words[0] == "convert" ? ["convert", third, target, "--fold", "--json"] : [.. words[..2], half, .. words[2..], "-o", target, "--fold", "--json"]);
        double worst = 0;
        using (PeftAdapter whole = PeftAdapter.Open(third), folded = PeftAdapter.Open(target))
            foreach ((LowRankPair exact, LowRankPair stored) in LowRankPair.Of(whole, []).Zip(LowRankPair.Of(folded, [])))
            {
                double[] wanted = [.. exact.B.ToFloats().Select(b => b * exact.Scale)], lost = [.. stored.B.ToFloats().Zip(wanted, (a, b) => a - b)];
                worst = Math.Max(worst, Math.Sqrt(lost.Sum(x => x * x) / wanted.Sum(x => x * x)));
            }
        Assert.InRange(worst, 1e-5, 1e-3);
        Assert.Contains(FormattableString.Invariant($"folding rounds B by {worst:0.0E+0} of its norm at most"), json.RootElement.GetProperty("notes").EnumerateArray().Select(n => n.GetString()));
    }

    [Theory, InlineData("ties A B", false), InlineData("dare A B", false), InlineData("ties A B --svd", true), InlineData("add A B", true), InlineData("svd A --rank 2", true)]
    public void What_was_left_out_is_said_where_it_was_measured(string command, bool measured)
    {
        using StringWriter output = new(), error = new();
        Assert.Equal(EdgeLoraCommand.Ok, EdgeLoraCommand.Invoke([.. Words(command), "-o", Path.Combine(_folder, "made")], output, error));
        Assert.Equal(measured, error.ToString().Contains("of the change", StringComparison.Ordinal));
    }

    [Fact]
    public void A_cosine_that_rounds_to_zero_has_no_sign()
    {
        string[] paths = [Path.Combine(_folder, "x.elora"), Path.Combine(_folder, "y.elora")];
        foreach ((string path, float first) in paths.Zip([0f, -1e-6f]))
        {
            float[] a = first == 0 ? [1, 0] : [first, 1];
            using PeftAdapter made = PeftAdapter.Create(path, PairConfig.Of(path, new Dictionary<string, (int, double)> { ["m"] = (1, 1) }), [("m", PeftPart.A, Tensor.FromFloats("", new Shape(1, 2), a)), ("m", PeftPart.B, Tensor.FromFloats("", new Shape(2, 1), [1, 1]))]);
            AdapterFormats.Named("elora")!.Write(made, path, AdapterOptions.None);
        }
        Assert.Contains("cosine 0.0000", Command.Run("adapter", "diff", paths[0], paths[1]));
        Assert.DoesNotContain("-0.0000", Command.Run("adapter", "interference", paths[0], paths[1]));
    }

    [Fact]
    public void Scale_and_diff_and_interference_agree()
    {
        string half = Path.Combine(_folder, "half"), rest = Path.Combine(_folder, "rest.onnx_adapter");
        Run([.. Words("scale A --by 0.5"), "-o", half, "--json"]).Dispose();
        using JsonDocument diff = Run(["adapter", "diff", Fixture("a"), half, "-o", rest, "--json"]), cosines = Run(["adapter", "interference", Fixture("a"), half, Fixture("b"), "--json"]);
        Assert.Equal(diff.RootElement.GetProperty("firstNorm").GetDouble() / 2, diff.RootElement.GetProperty("difference").GetDouble(), 6);
        Assert.Equal(1, diff.RootElement.GetProperty("cosine").GetDouble(), 9);
        Assert.Equal(3, cosines.RootElement.GetProperty("pairs").GetArrayLength());
        using PeftAdapter written = PeftAdapter.Open(rest);
        Assert.Equal(6, written.Modules.Count);
    }

    [Fact]
    public void Extract_takes_a_merged_adapter_off_its_base_again()
    {
        string target = Path.Combine(_folder, "extracted");
        using JsonDocument json = Run(["adapter", "extract", SharedFolder.Require("fixtures/peft/bases/llama"), SharedFolder.Require("fixtures/peft/llama-merged/merged-a"), "--rank", "8", "-o", target, "--json"]);
        Assert.InRange(json.RootElement.GetProperty("relativeError").GetDouble(), 0, 1e-5);
        Assert.True(File.Exists(Path.Combine(target, "adapter_model.safetensors")));
    }

    [Theory]
    [InlineData("add A B --weights 1", "1 numbers for 2 adapters")]
    [InlineData("add A B --weights 1,x", "x is no number")]
    [InlineData("add A B --method sum", "expected one of cat, svd, linear")]
    [InlineData("add A B --rank 3", "cat cuts nothing")]
    [InlineData("svd A", "expected --rank or --error")]
    [InlineData("svd A B --rank 2", "takes one adapter, found 2")]
    [InlineData("ties A B --density 0", "expected a number above 0")]
    [InlineData("ties A B --sign most", "expected total or frequency")]
    public void Wrong_words_are_wrong_usage(string command, string message)
    {
        StringWriter error = new();
        Assert.Equal(EdgeLoraCommand.Usage, EdgeLoraCommand.Invoke([.. Words(command), "-o", Path.Combine(_folder, "no")], TextWriter.Null, error));
        Assert.Contains(message, error.ToString());
    }

    [Fact]
    public void A_refusal_leaves_nothing_behind()
    {
        StringWriter error = new();
        string target = Path.Combine(_folder, "no");
        Assert.Equal(EdgeLoraCommand.Failed, EdgeLoraCommand.Invoke(["adapter", "add", Fixture("a"), SharedFolder.Require("fixtures/peft/llama-dora"), "--any-base", "-o", target], TextWriter.Null, error));
        Assert.Contains("use_dora: a sum of adapters cannot hold it", error.ToString());
        Assert.False(Directory.Exists(target));
    }

    private static string Fixture(string name) => SharedFolder.Require("fixtures/peft/llama-blends/" + name);

    private static string[] Words(string command) => ["adapter", .. command.Split(' ').Select(w => w is "A" or "B" ? Fixture(w.ToLowerInvariant()) : w)];

    private static JsonDocument Run(string[] args)
    {
        StringWriter output = new(), error = new();
        Assert.True(EdgeLoraCommand.Invoke(args, output, error) == EdgeLoraCommand.Ok, error.ToString());
        return JsonDocument.Parse(output.ToString());
    }
}
