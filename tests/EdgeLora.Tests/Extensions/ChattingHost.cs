using EdgeLora.Extensions.AI;
using EdgeLora.Models;
using EdgeLora.Tests.Diagnostics;
using EdgeLora.Tests.Hosting;
using Microsoft.Extensions.AI;

namespace EdgeLora.Tests.Extensions;

/// <summary>The shipped tree, ticking itself, with a chat client.</summary>
internal sealed class ChattingHost : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    public ChattingHost(EdgeChatClientOptions? options = null)
    {
        Host = Shipped.Open();
        Client = new(Host, options);
        _running = Host.RunAsync(_stop.Token);
    }

    public EdgeHost Host { get; }

    public EdgeChatClient Client { get; }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        _stop.Cancel();
        await _running;
        Host.Dispose();
        _stop.Dispose();
    }

    /// <summary>So many tokens, the largest score each.</summary>
    public static ChatOptions Exactly(int tokens, string? node = null) => new() { ModelId = node, MaxOutputTokens = tokens, RawRepresentationFactory = _ => new GenerationOptions { IgnoreEnd = true } };

    /// <summary>Tokens of a question through the shipped template.</summary>
    public static int[] Prompt(EdgeHost host, string question) => host.Tokenizer!.EncodeIds($"<|user|>{question}<|end|><|assistant|>", addSpecialTokens: false);

    /// <summary>What the node says to a question, without a client and without ticks.</summary>
    public static string Alone(string node, string question, int tokens)
    {
        using EdgeHost host = Shipped.Open();
        return host.Tokenizer!.Decode(Served.Alone(host, host.Enter(node), Prompt(host, question), tokens), skipSpecialTokens: false);
    }
}
