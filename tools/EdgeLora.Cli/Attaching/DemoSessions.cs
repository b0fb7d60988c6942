using EdgeLora.Models;

namespace EdgeLora.Cli.Attaching;

/// <summary>Sessions that keep talking, each from its own node, so that there is something to see.</summary>
internal static class DemoSessions
{
    private const int Tokens = 48;
    private static readonly string[] s_prompts = ["Once upon a time", "The night was dark, and", "She said:", "In the beginning", "It was a question of"];

    /// <summary>Talks until cancelled; a session whose adapter is refused goes on where it stands.</summary>
    /// <param name="host">Ticked by another.</param>
    /// <param name="count">Sessions; over the tree's nodes in turn.</param>
    /// <param name="pause">Between two texts of a session.</param>
    /// <param name="cancellation">Ends it.</param>
    public static Task RunAsync(EdgeHost host, int count, TimeSpan pause, CancellationToken cancellation)
    {
        AdapterNode[] nodes = [.. host.Tree.Nodes.Where(n => n.State != AdapterState.Faulted)];
        return Task.WhenAll(Enumerable.Range(0, count).Select(i => TalkAsync(host, nodes[(i + 1) % nodes.Length].Path, i, pause, cancellation)));
    }

    private static async Task TalkAsync(EdgeHost host, string node, int index, TimeSpan pause, CancellationToken cancellation)
    {
        using HostSession session = await host.OpenSessionAsync(node, new HostSessionOptions { Reload = ReloadPolicy.MoveAtOnce }).WaitAsync(cancellation).ConfigureAwait(false);
        for (ulong round = 0; ; round++)
        {
            GenerationOptions options = new() { MaxTokens = Tokens, IgnoreEnd = true, Sampling = new() { Temperature = 0.8, Seed = (ulong)index * 1000 + round } };
            int[] prompt = host.Tokenizer is { } tokenizer ? [.. tokenizer.EncodeIds(s_prompts[(index + (int)(round % 5)) % s_prompts.Length])] : [1];
            await foreach (GeneratedPiece _ in session.GenerateAsync(prompt, options, cancellation).WithCancellation(CancellationToken.None).ConfigureAwait(false))
            {
            }
            await Task.Delay(pause, cancellation).ConfigureAwait(false);
            await session.TruncateAsync(0).WaitAsync(cancellation).ConfigureAwait(false);
        }
    }
}
