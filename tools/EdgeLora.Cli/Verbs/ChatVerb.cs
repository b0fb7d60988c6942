using System.CommandLine;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>chat</c>: a dialogue that can walk through the tree.</summary>
internal static class ChatVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("chat", "Talk with a model in its chat template; /at path walks to another node, /tree shows the nodes, /quit ends.");
        HostArguments model = new(command);
        SamplingArguments sampling = new();
        Option<string?> system = new("--system") { Description = "System message. Default: none.", HelpName = "text" };
        sampling.AddTo(command);
        command.Add(system);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            using EdgeHost host = model.Open(result);
            GenerationOptions options = sampling.Read(result, host);
            AdapterPath path = model.Enter(host, result);
            using Session session = host.CreateSession(path);
            List<ChatMessage> dialogue = [];
            if (result.GetValue(system) is { } first)
                dialogue.Add(new("system", first));
            while (!cancellation.IsCancellationRequested)
            {
                if (!io.OutputRedirected)
                    io.Output.Write($"{session.Path}> ");
                io.Output.Flush();
                if (io.Input.ReadLine() is not { } line || line.Trim() == "/quit")
                    break;
                if (line.Trim().Length == 0)
                    continue;
                if (line.StartsWith('/'))
                    Command(io, host, session, line.Trim());
                else
                    Say(io, host, session, options, dialogue, line, cancellation);
            }
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static void Say(CommandIo io, EdgeHost host, Session session, GenerationOptions options, List<ChatMessage> dialogue, string line, CancellationToken cancellation)
    {
        dialogue.Add(new("user", line));
        int[] ids = Prompts.Encode(host, dialogue);
        int common = session.Tokens.CommonPrefixLength(ids);
        if (ids.Length >= host.Model.Config.ContextLength)
        {
            dialogue.RemoveAt(dialogue.Count - 1);
            io.Error.WriteLine($"the dialogue's {ids.Length} tokens do not fit the context of {host.Model.Config.ContextLength}");
            return;
        }
        session.Truncate(common);
        session.Append(ids.AsSpan(common));
        Answer answer = Answer.Generate(host, session, options, piece =>
        {
            io.Output.Write(piece);
            io.Output.Flush();
        }, cancellation);
        io.Output.WriteLine();
        io.Output.Flush();
        dialogue.Add(new("assistant", answer.Text));
    }

    private static void Command(CommandIo io, EdgeHost host, Session session, string line)
    {
        if (line == "/tree")
        {
            foreach (AdapterNode node in host.Tree.Nodes)
                io.Output.WriteLine(new string(' ', 2 * node.Depth) + (node.Depth == 0 ? "(root)" : node.Name) + (node.Path == session.Path.Name ? "  <- here" : ""));
        }
        else if (line == "/at" || line.StartsWith("/at ", StringComparison.Ordinal))
        {
            try
            {
                session.Switch(host.Enter(line[3..].Trim()));
            }
            catch (Exception e) when (e is IOException or KeyNotFoundException)
            {
                io.Error.WriteLine(e.Message);
            }
        }
        else
        {
            io.Error.WriteLine($"{line}: expected /at path, /tree or /quit");
        }
    }
}
