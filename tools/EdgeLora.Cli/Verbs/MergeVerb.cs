using System.CommandLine;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>merge</c>: one node as a model of its own.</summary>
internal static class MergeVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("merge", "Write the model that a node makes of its base as a Hugging Face folder: safetensors, config and tokenizer. The base is not touched.");
        HostArguments model = new(command, withBlend: true);
        Option<string> output = new("--output", "-o") { Description = "New folder to write.", Required = true, HelpName = "folder" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(output);
        WeightTypeOption type = new(command, "the weights that the node changes are");
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            using EdgeHost host = model.Open(result);
            AdapterPath path = model.Enter(host, result);
            string folder = result.GetRequiredValue(output);
            MergedModel merged = new(host.Model, path, type.Read(result), (done, total) => io.Progress("tensors", done, total));
            OutputFolder.Write(folder, target => merged.Write(target, cancellation));
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("output", folder);
                    w.WriteString("path", path.Name);
                    w.WriteNumber("changedTensors", merged.Changed);
                    w.WriteNumber("tensors", merged.Count);
                });
            else
                io.Error.WriteLine($"{folder}: {merged.Count} tensors, {merged.Changed} of them changed by {path}");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
