using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>export</c>: base and adapters for other applications of ONNX Runtime.</summary>
internal static class ExportVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("export", "Write the base as an ONNX graph and what each node adds to it as an .onnx_adapter file, for other applications of ONNX Runtime.");
        HostArguments model = new(command, withDevice: false);
        Option<string> output = new("--output", "-o") { Description = "New folder to write: model.onnx, model.onnx.data, adapters/<node>.onnx_adapter, the tokenizer.", Required = true, HelpName = "folder" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(output);
        WeightTypeOption type = new(command, "weights that are not quantised and the adapters are", DType.F16);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            using EdgeHost host = model.Open(result, "onnx:cpu");
            using GraphExport export = new(host.Model, type.Read(result) == DType.F16);
            string folder = result.GetRequiredValue(output);
            List<string> written = [];
            List<(string Node, string Why)> leftOut = [];
            OutputFolder.Write(folder, target =>
            {
                export.Write(target, cancellation);
                if (Directory.Exists(host.Model.Checkpoint.Path))
                    Tokenizer.CopyFiles(host.Model.Checkpoint.Path, target);
                foreach (AdapterNode node in host.Tree.Nodes.Skip(1))
                    try
                    {
                        string file = Path.Combine(target, "adapters", node.Path + OnnxAdapter.Extension);
                        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
                        export.WriteAdapter(file, host.Enter(node.Path), cancellation);
                        host.Store.Release(node);
                        written.Add(node.Path);
                    }
                    catch (Exception e) when (e is ModelFileException or NotSupportedException)
                    {
                        leftOut.Add((node.Path, e.Message));
                    }
            });
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("output", folder);
                    w.WriteNumber("nodes", export.Nodes);
                    w.WriteNumber("bytes", export.ByteLength);
                    w.WriteTexts("adapters", written);
                    w.WriteStartObject("leftOut");
                    foreach ((string node, string why) in leftOut)
                        w.WriteString(node, why);
                    w.WriteEndObject();
                });
            else
                io.Error.WriteLine(FormattableString.Invariant($"{folder}: a graph of {export.Nodes} nodes, {export.ByteLength:N0} bytes, {written.Count} adapters"));
            foreach ((string _, string why) in leftOut)
                io.Error.WriteLine($"left out: {why}");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
