using System.CommandLine;

namespace EdgeLora.Cli.Attaching;

/// <summary>Which host to talk to.</summary>
internal sealed class LinkArguments
{
    /// <summary>Names the token, which is seen by others where it stands on a command line.</summary>
    public const string TokenVariable = "EDGELORA_LINK_TOKEN";

    private readonly Option<string?> _to = new("--to") { Description = "The host: a socket's path, a pipe's name, host:port, or a name such as nano or nano-1234. Default: the one host that listens here.", HelpName = "endpoint", Recursive = true };
    private readonly Option<string?> _token = new("--token") { Description = $"What a host on TCP wants to be shown. Default: ${TokenVariable}.", HelpName = "text", Recursive = true };

    /// <summary>Adds the options, for sub-verbs too.</summary>
    public void AddTo(Command command)
    {
        command.Add(_to);
        command.Add(_token);
    }

    /// <summary>Connects to the host that they name.</summary>
    public Task<LinkClient> ConnectAsync(ParseResult result, CancellationToken cancellation) =>
        LinkClient.ConnectAsync(result.GetValue(_to) is { } to ? LinkEndpoint.Parse(to) : LinkEndpoints.Only(), result.GetValue(_token) ?? Environment.GetEnvironmentVariable(TokenVariable), cancellation);
}
