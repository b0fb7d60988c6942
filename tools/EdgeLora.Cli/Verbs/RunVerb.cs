using System.CommandLine;
using System.Globalization;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>run</c>: one continuation of one prompt.</summary>
internal static class RunVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("run", "Continue a prompt at a node of a tree, or on a plain model, and print exactly what the model says.");
        HostArguments model = new(command, withBlend: true);
        Option<string?> prompt = new("--prompt", "-p") { Description = "The prompt. Default: standard input, where it is piped.", HelpName = "text" };
        Option<string?> tokens = new("--tokens") { Description = "Token ids 1,2,3 instead of a prompt; nothing is added to them.", HelpName = "ids" };
        Option<bool> chat = new("--chat") { Description = "Put the prompt into the model's chat template as the user's message." };
        Option<bool> raw = new("--raw") { Description = "Continue the prompt as it is (the default)." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON with text, tokens, stopReason and promptTokens instead of streaming." };
        SamplingArguments sampling = new();
        command.Add(prompt);
        command.Add(tokens);
        sampling.AddTo(command);
        command.Add(chat);
        command.Add(raw);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string? text = result.GetValue(prompt), ids = result.GetValue(tokens);
            if (text is not null && ids is not null)
                throw new UsageException("--prompt and --tokens: give one of them");
            if (result.GetValue(chat) && (ids is not null || result.GetValue(raw)))
                throw new UsageException("--chat does not go with --raw or --tokens");
            int[]? given = ids is null ? null : Numbers.Tokens(ids);
            if (given is { Length: 0 })
                throw new UsageException("--tokens: expected at least one id");
            using EdgeHost host = model.Open(result);
            GenerationOptions options = sampling.Read(result, host);
            int[] start = given ?? Prompts.Encode(host, text ?? io.Input.ReadToEnd(), result.GetValue(chat));
            AdapterPath path = model.Enter(host, result);
            using Session session = host.CreateSession(path, start.Length + Math.Min(options.MaxTokens, 1024));
            session.Append(start);
            bool asJson = result.GetValue(json);
            Answer answer = Answer.Generate(host, session, options, piece =>
            {
                if (asJson)
                    return;
                io.Output.Write(piece);
                io.Output.Flush();
            }, cancellation);
            if (asJson)
                io.WriteJson(w =>
                {
                    w.WriteString("text", answer.Text);
                    w.WriteTokens("tokens", answer.Tokens);
                    w.WriteString("stopReason", answer.StopName);
                    w.WriteNumber("promptTokens", answer.PromptTokens);
                    w.WriteNumber("generatedTokens", answer.Tokens.Length);
                    w.WriteString("path", path.Name);
                    w.WriteNumber("seconds", Math.Round(answer.Seconds, 4));
                });
            else if (host.Tokenizer is null)
                io.Output.Write(string.Join(',', answer.Tokens.Select(t => t.ToString(CultureInfo.InvariantCulture))));
            // A text file ends with a newline; --json has the bare text.
            if (!asJson)
                io.Output.Write('\n');
            if (answer.Stop == StopReason.Cancelled)
                throw new OperationCanceledException();
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
