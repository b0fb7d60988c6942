using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>logits</c>: how a model or a port is compared with a reference.</summary>
internal static class LogitsVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("logits", "Write the logits after every token as safetensors: tensor 'logits', F32, [T, V] or [N, T, V].");
        HostArguments model = new(command, withBlend: true);
        Option<string?> tokens = new("--tokens") { Description = "Token ids 1,2,3.", HelpName = "ids" };
        Option<string?> file = new("--tokens-file") { Description = "JSON file: an array of ids, or an array of such arrays of one length.", HelpName = "file" };
        Option<string> output = new("--output", "-o") { Description = "The .safetensors file to write.", Required = true, HelpName = "file" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON with the file and the shape." };
        command.Add(tokens);
        command.Add(file);
        command.Add(output);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string? list = result.GetValue(tokens), from = result.GetValue(file);
            if (list is null == from is null)
                throw new UsageException("give --tokens or --tokens-file, one of them");
            (int[][] rows, bool nested) = from is null ? ([Numbers.Tokens(list!)], false) : Numbers.TokenFile(from);
            using EdgeHost host = model.Open(result);
            AdapterPath path = model.Enter(host, result);
            int vocabulary = host.Model.Config.Vocabulary, length = rows.Length == 0 ? 0 : rows[0].Length;
            long elements = (long)rows.Length * length * vocabulary;
            if (elements > int.MaxValue / sizeof(float))
                throw new ArgumentException($"logits of {rows.Length} x {length} tokens take {elements * sizeof(float)} bytes: more than one tensor holds; give fewer tokens");
            float[] logits = new float[elements];
            for (int n = 0; n < rows.Length; n++)
            {
                int start = n * length;
                TokenLogits.Run(host.Model, path, rows[n], 0, cancellation, (row, values) => values.CopyTo(logits.AsSpan((start + row) * vocabulary)));
                io.Progress("sequences", n + 1, rows.Length);
            }
            Shape shape = nested ? new(rows.Length, length, vocabulary) : new(length, vocabulary);
            string target = result.GetRequiredValue(output);
            Safetensors.Write(target, [Tensor.FromFloats("logits", shape, logits)]);
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("output", target);
                    w.WriteString("path", path.Name);
                    w.WriteStartArray("shape");
                    foreach (long dimension in shape.Dimensions)
                        w.WriteNumberValue(dimension);
                    w.WriteEndArray();
                });
            else
                io.Error.WriteLine($"{target}: logits {shape} F32");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
