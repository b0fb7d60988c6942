using System.CommandLine;
using EdgeLora.Cli.Attaching;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>push</c>: an adapter into a running host.</summary>
internal static class PushVerb
{
    /// <summary>Whether a command line names this verb.</summary>
    public static bool IsNamed(string[] args) => args is ["push", ..];

    /// <summary>The verb; its flags only for the command line that names it.</summary>
    public static Command Create(CommandIo io, bool withFlags)
    {
        Command command = new("push", "Send an adapter's files to a running host, which checks them and mounts them, or puts them in place of what it has; a refused one leaves everything as it was.");
        if (withFlags)
            AddFlags(command, io);
        return command;
    }

    private static void AddFlags(Command command, CommandIo io)
    {
        Argument<string> adapter = new("adapter") { Description = "The adapter's folder or file, or hf:owner/name that 'pull' brought." };
        Option<string?> at = new("--as") { Description = "Its path in the host's tree, such as support/alice. Default: below the base, with the folder's name.", HelpName = "path" };
        Option<bool> isNew = new("--new") { Description = "Only where nothing is mounted there." };
        Option<bool> replace = new("--replace") { Description = "Only where something is mounted there." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        LinkArguments link = new();
        command.Add(adapter);
        foreach (Option option in (Option[])[at, isNew, replace, json])
            command.Add(option);
        link.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            if (result.GetValue(isNew) && result.GetValue(replace))
                throw new UsageException("--new and --replace: give one of them");
            PushMode mode = result.GetValue(isNew) ? PushMode.New : result.GetValue(replace) ? PushMode.Replace : PushMode.Any;
            using LinkClient client = await link.ConnectAsync(result, cancellation).ConfigureAwait(false);
            AdapterHandle handle = await client.PushAsync(HubCache.Resolve(result.GetRequiredValue(adapter)), result.GetValue(at), mode, (done, all) => io.Progress("bytes", done, all), cancellation).ConfigureAwait(false);
            if (result.GetValue(json))
                io.WriteJson(w => LinkJson.Write(w, handle));
            else
                io.Output.WriteLine(FormattableString.Invariant($"{handle.Node}: generation {handle.Generation} on {client.Endpoint.Name}"));
            return EdgeLoraCommand.Ok;
        });
    }
}
