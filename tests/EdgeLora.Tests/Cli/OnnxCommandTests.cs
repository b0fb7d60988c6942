using System.Diagnostics;
using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Onnx;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary>ONNX Runtime on the command line: what is listed, what runs, and the one line where it cannot.</summary>
public sealed class OnnxCommandTests
{
    private static readonly string s_tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");

    [Fact]
    public void Devices_lists_it_and_says_why_there_is_no_DirectML()
    {
        Assert.SkipWhen(OnnxRuntimeLibrary.Providers.Contains("DmlExecutionProvider"), "DirectML is here");
        (int code, string output, _) = Run("devices");
        Assert.Equal(0, code);
        Assert.Contains($"ONNX Runtime {OnnxRuntimeLibrary.Version}", output);
        Assert.Contains("No DirectML device: ", output);
        using JsonDocument json = JsonDocument.Parse(Run("devices", "--json").Output);
        Assert.Contains(json.RootElement.GetProperty("devices").EnumerateArray(), d => d.GetProperty("id").GetString() == "onnx:cpu" && d.GetProperty("kind").GetString() == "CPU");
        Assert.Contains("DirectML", json.RootElement.GetProperty("missing").GetProperty("DirectML").GetString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("shakespeare/kings")]
    [InlineData("holmes")]
    public void It_speaks_the_tokens_of_the_processor_s_own_backend(string node)
    {
        string[] arguments = ["run", s_tree, "--at", node, "-p", "Once upon a time", "--greedy", "--max-tokens", "12", "--json"];
        Assert.Equal(Tokens("cpu"), Tokens("onnx:cpu"));

        string Tokens(string device) => JsonDocument.Parse(Run([.. arguments, "--device", device]).Output).RootElement.GetProperty("tokens").GetRawText();
    }

    [Fact]
    public void The_next_device_is_taken_only_where_it_was_named_and_that_is_said()
    {
        Assert.SkipWhen(OnnxRuntimeLibrary.Providers.Contains("DmlExecutionProvider"), "DirectML is here");
        string[] arguments = ["run", s_tree, "--tokens", "1", "--greedy", "--max-tokens", "1", "--device"];
        (int code, string output, string error) = Run([.. arguments, "onnx:dml:0"]);
        Assert.Equal((1, ""), (code, output));
        Assert.StartsWith("no DirectML device: ", Assert.Single(error.TrimEnd().Split('\n')));
        (code, output, error) = Start(typeof(EdgeLoraCommand).Assembly.Location, [.. arguments, "onnx:dml:0,onnx:cpu"]);
        Assert.Equal(0, code);
        Assert.NotEmpty(output);
        Assert.Matches("^onnx:dml:0 cannot be used: no DirectML device: .*; going on with onnx:cpu$", error.TrimEnd());
    }

    [Fact]
    public void What_needs_single_operations_says_so_in_one_line()
    {
        string folder = Path.Combine(Path.GetTempPath(), $"edgelora-onnx-{Guid.NewGuid():N}");
        (int code, _, string error) = Run("train", "--base", s_tree, "--dataset", Path.Combine(SharedFolder.Repository, "README.md"), "--output-dir", folder, "--device", "onnx:cpu");
        Assert.Equal(1, code);
        Assert.Equal("device 'onnx:cpu' does not train", error.TrimEnd());
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void An_id_that_is_none_is_answered_with_those_there_are()
    {
        (int code, _, string error) = Run("run", s_tree, "--device", "onnx:cuda:0");
        Assert.Equal(2, code);
        Assert.Contains("onnx:cpu, onnx:dml, onnx:dml:N", error);
    }

    [Fact]
    public void Without_the_native_library_the_list_says_what_to_install_and_all_else_works()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("edgelora-no-onnxruntime-");
        try
        {
            // The program without its deps.json, which would name the native library where the build put it.
            string built = Path.GetDirectoryName(typeof(EdgeLoraCommand).Assembly.Location)!, program = Path.Combine(folder.FullName, "EdgeLora.Cli.dll");
            foreach (string file in Directory.EnumerateFiles(built, "*.dll").Append(Path.Combine(built, "EdgeLora.Cli.runtimeconfig.json")))
                File.Copy(file, Path.Combine(folder.FullName, Path.GetFileName(file)));
            (int code, string output, string error) = Start(program, "devices");
            Assert.Equal((0, ""), (code, error));
            Assert.Contains("cpu *", output);
            Assert.DoesNotContain("onnx:cpu", output);
            Assert.Contains("No ONNX Runtime device: ONNX Runtime is not installed: no onnxruntime library beside the program; add the package Microsoft.ML.OnnxRuntime", output.ReplaceLineEndings(" "));
            (code, output, error) = Start(program, "run", s_tree, "--device", "onnx:cpu", "--tokens", "1", "--max-tokens", "1");
            Assert.Equal((1, ""), (code, output));
            Assert.StartsWith("ONNX Runtime is not installed: ", Assert.Single(error.TrimEnd().Split('\n')));
            Assert.Equal(0, Start(program, "run", s_tree, "--device", "onnx:cpu,cpu", "--tokens", "1", "--max-tokens", "1").Code);
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static (int Code, string Output, string Error) Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(arguments, output, error);
        return (code, output.ToString(), error.ToString());
    }

    private static (int Code, string Output, string Error) Start(string program, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [program, .. arguments]) { WorkingDirectory = Path.GetTempPath(), RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(120_000));
        return (process.ExitCode, output, error.GetAwaiter().GetResult());
    }
}
