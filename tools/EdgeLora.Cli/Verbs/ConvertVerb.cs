using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>convert</c>: one format into another.</summary>
internal static class ConvertVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("convert", "Convert a PEFT folder to .elora or .onnx_adapter or back, a torch .bin to .safetensors, or a llama2.c .bin to a Hugging Face folder.");
        Argument<string> from = new("in") { Description = "What to read: an adapter folder, .elora, .onnx_adapter, or .bin." };
        Argument<string> to = new("out") { Description = "What to write: .elora, .onnx_adapter, .safetensors, or a new folder." };
        Option<string?> tokenizer = new("--tokenizer") { Description = "llama2.c tokenizer file. Default: tok512.bin or tokenizer.bin beside the checkpoint.", HelpName = "file" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(from);
        command.Add(to);
        command.Add(tokenizer);
        WeightTypeOption type = new(command, "an .onnx_adapter's tensors are", DType.F16);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string source = result.GetRequiredValue(from), target = result.GetRequiredValue(to);
            if (result.GetValue(tokenizer) is { } file && !File.Exists(file))
                throw new FileNotFoundException($"{file}: no such tokenizer file");
            string what = Convert(source, target, result.GetValue(tokenizer), type.Read(result), cancellation);
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("input", source);
                    w.WriteString("output", target);
                    w.WriteString("conversion", what);
                });
            else
                io.Error.WriteLine($"{target}: {what}");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static string Convert(string source, string target, string? tokenizer, DType type, CancellationToken cancellation)
    {
        bool toElora = Has(target, EdgeAdapter.Extension), toSafetensors = Has(target, ".safetensors");
        if (!File.Exists(source) && !Directory.Exists(source))
            throw new FileNotFoundException($"{source}: no such file or folder");
        if (AdapterTree.IsAdapter(source) || Has(source, EdgeAdapter.Extension) || Has(source, OnnxAdapter.Extension))
        {
            using PeftAdapter adapter = PeftAdapter.Open(source);
            if (toElora)
            {
                string name = Path.GetFileNameWithoutExtension(Path.GetFullPath(Path.TrimEndingDirectorySeparator(source)));
                adapter.WriteElora(target, adapter.Header?.Name ?? name, adapter.Header?.ParentFingerprint ?? "", adapter.Header?.BaseFingerprint ?? "", cancellation);
                return "an adapter as .elora";
            }
            if (Has(target, OnnxAdapter.Extension))
            {
                OnnxLowRank.Write(target, adapter, type, cancellation);
                return $"an adapter as {OnnxAdapter.Extension}, {type}, its scale in B";
            }
            if (toSafetensors)
                throw new UsageException("an adapter becomes .elora, .onnx_adapter or a folder: its config would be lost in .safetensors");
            OutputFolder.Write(target, folder => adapter.Write(folder, cancellation));
            return "an adapter as a PEFT folder";
        }
        if (Has(source, ".bin") || Has(source, ".pt") || Has(source, ".pth"))
        {
            if (toSafetensors)
            {
                using TensorFile torch = TorchPickle.Open(source);
                Safetensors.Write(target, torch.Tensors.Values, new Dictionary<string, string> { ["format"] = "pt" }, cancellation);
                return $"{torch.Tensors.Count} tensors as .safetensors";
            }
            string vocabulary = tokenizer ?? new[] { "tok512.bin", "tokenizer.bin" }.Select(n => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(source))!, n)).FirstOrDefault(File.Exists)
                ?? throw new FileNotFoundException($"{source}: no tok512.bin or tokenizer.bin beside it; give --tokenizer");
            OutputFolder.Write(target, folder => Llama2cConvert.ToHuggingFace(source, vocabulary, folder, cancellation));
            return "a llama2.c checkpoint as a Hugging Face folder";
        }
        throw new UsageException($"{source} -> {target}: expected an adapter folder, .elora, .onnx_adapter or .bin");
    }

    private static bool Has(string path, string extension) => path.EndsWith(extension, StringComparison.OrdinalIgnoreCase);
}
