using System.Runtime.CompilerServices;
using System.Threading.Channels;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>How a session is served beside others.</summary>
public sealed record HostSessionOptions
{
    /// <summary>Of two sessions the one with the higher priority is always served first.</summary>
    public int Priority { get; init; }

    /// <summary>Share of the tokens among sessions of one priority: 2 gets twice as many as 1.</summary>
    public double Weight { get; init; } = 1;

    /// <summary>What becomes of it when its adapter is reloaded.</summary>
    public ReloadPolicy Reload { get; init; } = ReloadPolicy.KeepUntilNext;

    /// <summary>Tokens to make room for at once.</summary>
    public int ReserveTokens { get; init; } = 256;

    /// <summary>What spans and metrics call its generations: gen_ai.operation.name.</summary>
    public string Operation { get; init; } = "text_completion";
}

/// <summary>What a session does.</summary>
public enum HostSessionState
{
    /// <summary>It has nothing to generate.</summary>
    Idle,
    /// <summary>It waits for room for its keys and values.</summary>
    Waiting,
    /// <summary>It generates.</summary>
    Running,
    /// <summary>It was closed.</summary>
    Closed,
}

/// <summary>A conversation that the host's ticks serve: it stands on a node, is given text, and streams what follows. Any thread.</summary>
public sealed class HostSession : IDisposable
{
    private readonly EdgeHost _host;

    internal HostSession(EdgeHost host, long id, HostSessionOptions options)
    {
        _host = host;
        Id = id;
        Options = options;
    }

    /// <summary>Unique in its host.</summary>
    public long Id { get; }

    /// <summary>How it is served.</summary>
    public HostSessionOptions Options { get; }

    /// <summary>The node it stands on, at the generation it has.</summary>
    public AdapterHandle Node { get; internal set; }

    /// <summary>What it does.</summary>
    public HostSessionState State { get; internal set; }

    /// <summary>Its place among those that wait, from 1; 0: it does not wait.</summary>
    public int WaitingPlace { get; internal set; }

    /// <summary>Tokens of its text.</summary>
    public int TokenCount { get; internal set; }

    /// <summary>Bytes of its keys and values.</summary>
    public long KvBytes { get; internal set; }

    /// <summary>Walks to another node between two tokens. Fails with <see cref="KeyNotFoundException"/> for an unknown node and <see cref="ModelFileException"/> for a refused adapter; the session then stays where it is.</summary>
    public Task SwitchAsync(string node, KvPolicy policy = KvPolicy.Recompute) => _host.Request(() => _host.Sessions.Switch(this, node, policy));

    /// <summary>Forgets tokens from <paramref name="count"/> on: a reply that is taken back. Fails with <see cref="InvalidOperationException"/> while it generates.</summary>
    public Task TruncateAsync(int count) => _host.Request(() => _host.Sessions.Truncate(this, count));

    /// <summary>Appends a text and streams what follows, while the host ticks. Throws <see cref="InvalidOperationException"/> where the base has no tokenizer.</summary>
    public IAsyncEnumerable<GeneratedPiece> GenerateAsync(string prompt, GenerationOptions options, bool addSpecialTokens = false, CancellationToken cancellation = default) =>
        GenerateAsync((_host.Tokenizer ?? throw new InvalidOperationException($"{_host.Name}: has no tokenizer; give token ids")).EncodeIds(prompt, addSpecialTokens), options, cancellation);

    /// <summary>
    /// Appends tokens and streams what follows, while the host ticks. Waits, with a place, while there is no room for the keys and values. A cancellation ends the stream within one step with
    /// <see cref="StopReason.Cancelled"/>; so does leaving the stream before its end. Throws <see cref="InvalidOperationException"/> while another generation of the session runs, or where it can never fit.
    /// </summary>
    public async IAsyncEnumerable<GeneratedPiece> GenerateAsync(IReadOnlyList<int> prompt, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Channel<GeneratedPiece> pieces = Channel.CreateUnbounded<GeneratedPiece>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        GenerationTrace trace = new(_host, this, options);
        await StartAsync([.. prompt], options, pieces.Writer, trace, cancellation).ConfigureAwait(false);
        try
        {
            await foreach (GeneratedPiece piece in pieces.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                yield return piece;
        }
        finally
        {
            if (!pieces.Reader.Completion.IsCompleted)
                _ = _host.Request(() => _host.Sessions.Leave(this, pieces.Writer));
            trace.Close(pieces.Reader.Completion.Exception?.InnerException);
        }
    }

    /// <summary>As <see cref="GenerateAsync(IReadOnlyList{int}, GenerationOptions, CancellationToken)"/>, for who looks for pieces where they come: ticks write them to <paramref name="pieces"/> and complete it, with the fault if there was one.</summary>
    public async Task BeginAsync(IReadOnlyList<int> prompt, GenerationOptions options, Channel<GeneratedPiece> pieces, CancellationToken cancellation = default)
    {
        GenerationTrace trace = new(_host, this, options);
        await StartAsync([.. prompt], options, pieces.Writer, trace, cancellation).ConfigureAwait(false);
        _ = pieces.Reader.Completion.ContinueWith(done => trace.Close(done.Exception?.InnerException), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    /// <summary>Ends a running generation and gives keys, values and the node back.</summary>
    public void Dispose() => _ = _host.Request(() => _host.Sessions.Close(this));

    private async Task StartAsync(int[] tokens, GenerationOptions options, ChannelWriter<GeneratedPiece> output, GenerationTrace trace, CancellationToken cancellation)
    {
        try
        {
            await _host.Request(() => _host.Sessions.Begin(this, tokens, options, output, trace, cancellation)).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            trace.Close(e);
            throw;
        }
    }
}
