using System.CommandLine;
using EdgeLora.Cli.Inspection;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>inspect</c>: what a file or folder is, and whether it is sound.</summary>
internal static class InspectVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("inspect", "Say what a file or folder is, its tensors, rank, alpha, bytes and fingerprint, and every fault for which a reader refuses it (exit code 1).");
        Argument<string> path = new("file-or-folder") { Description = "A .safetensors, .gguf, .bin, .elora, .onnx_adapter, tokenizer or config file, an adapter, model or tree folder, or hf:owner/name[@revision][:file] that 'pull' brought." };
        Option<string?> model = new("--base") { Description = "Model that an adapter must fit. Default: it is not checked against one.", HelpName = "model" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON with every tensor." };
        command.Add(path);
        command.Add(model);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string source = HubCache.Resolve(result.GetRequiredValue(path));
            InspectReport report = Inspector.Inspect(source, result.GetValue(model) is { } on ? HubCache.Resolve(on) : null);
            if (result.GetValue(json))
                io.WriteJson(report.WriteJson);
            else
                report.WriteText(io.Output);
            foreach (string fault in report.Faults)
                io.Error.WriteLine($"{source}: {fault}");
            return report.Faults.Count == 0 ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }, CancellationToken.None));
        return command;
    }
}
