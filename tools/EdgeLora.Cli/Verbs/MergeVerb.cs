using System.CommandLine;
using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>merge</c>: one node as a model of its own.</summary>
internal static class MergeVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("merge",
            "Write the model that a node makes of its base, as a Hugging Face folder (safetensors, config and tokenizer) or, where the output ends with .gguf, as GGUF for llama.cpp and others. The base is not touched.");
        HostArguments model = new(command, withBlend: true);
        Option<string> output = new("--output", "-o") { Description = "New folder, or .gguf file, to write.", Required = true, HelpName = "path" };
        Option<string?> type = new("--type")
        {
            Description = $"How weights are stored. In a folder, those that the node changes: f32 (default), f16 or bf16. In GGUF, all matrices: {ModelTypes.Gguf}; default: those that the node changes f32, the others as they are.",
            HelpName = "type",
        };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(output);
        command.Add(type);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string target = result.GetRequiredValue(output);
            bool gguf = target.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);
            DType? stored = result.GetValue(type) is { } name ? ModelTypes.Parse(name, gguf) : null;
            using EdgeHost host = model.Open(result);
            AdapterPath path = model.Enter(host, result);
            MergedModel merged = new(host.Model, path, gguf ? DType.F32 : stored ?? DType.F32, (done, total) => io.Progress("tensors", done, total));
            ConvertResult? written = null;
            if (gguf)
                written = ModelConversion.Write(merged.ToGguf(stored, Path.GetFileNameWithoutExtension(target)), target, null, null, cancellation);
            else
                OutputFolder.Write(target, folder => merged.Write(folder, cancellation));
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("output", target);
                    w.WriteString("path", path.Name);
                    w.WriteNumber("changedTensors", merged.Changed);
                    w.WriteNumber("tensors", merged.Count);
                    foreach ((string fact, object value) in written?.Facts ?? [])
                        if (fact is not "tensors")
                            w.WriteFact(fact, value);
                });
            else
                io.Error.WriteLine($"{target}: {merged.Count} tensors, {merged.Changed} of them changed by {path}{(written is null ? "" : "; " + written.Conversion)}");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
