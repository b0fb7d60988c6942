using System.CommandLine;
using EdgeLora.Cli.Converting;
using EdgeLora.Cli.Inspection;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>inspect</c>: what a file or folder is, and whether it is sound.</summary>
internal static class InspectVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("inspect", "Say what a file or folder is, its tensors, rank, alpha, bytes and fingerprint, what it converts to and what would be refused, and every fault for which a reader refuses it (exit code 1).");
        Argument<string> path = new("file-or-folder") { Description = "A .safetensors, .gguf, .bin, .elora, .onnx_adapter, tokenizer or config file, an adapter, model or tree folder, or hf:owner/name[@revision][:file] that 'pull' brought." };
        Option<string?> model = new("--base") { Description = "Model that an adapter must fit, and whose names a conversion may need: as convert's. Default: it is not checked against one.", HelpName = "model" };
        Option<double?> alpha = new("--alpha") { Description = "alpha of an adapter whose file does not hold it, as convert's.", HelpName = "number" };
        Option<string?> enable = new("--enable-lora") { Description = "Which parts of loralib's merged layers have pairs, as convert's.", HelpName = "parts" };
        Option<bool> bare = new("--without-embeddings") { Description = "Leave out textual-inversion embeddings that lie beside a diffusion adapter, as convert's." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON with every tensor." };
        command.Add(path);
        foreach (Option option in new Option[] { model, alpha, enable, bare, json })
            command.Add(option);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string source = HubCache.Resolve(result.GetRequiredValue(path));
            InspectReport report = Inspector.Inspect(new(source, "")
            {
                Base = result.GetValue(model) is { } on ? HubCache.Resolve(on) : null,
                Alpha = result.GetValue(alpha),
                EnableLora = result.GetValue(enable),
                WithoutEmbeddings = result.GetValue(bare),
            });
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
