using Spectre.Console;

namespace EdgeLora.Cli.Attaching;

/// <summary>A host's view that stays in place on a terminal, asked for twice a second, with its last events.</summary>
internal static class Dashboard
{
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(500);

    /// <summary>Shows it until cancelled; throws <see cref="LinkException"/> when the host is gone.</summary>
    /// <param name="io">A terminal.</param>
    /// <param name="asking">Asks.</param>
    /// <param name="tailing">Is told.</param>
    /// <param name="cancellation">Ends it.</param>
    public static async Task RunAsync(CommandIo io, LinkClient asking, LinkClient tailing, CancellationToken cancellation)
    {
        HostView view = new(asking);
        using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task told = FollowAsync(view, tailing, end.Token);
        try
        {
            await view.AskAsync(cancellation).ConfigureAwait(false);
            IAnsiConsole console = io.Console();
            await console.Live(view.Render(console.Profile.Height)).StartAsync(async context =>
            {
                while (!told.IsCompleted)
                {
                    await Task.Delay(s_between, cancellation).ConfigureAwait(false);
                    await view.AskAsync(cancellation).ConfigureAwait(false);
                    context.UpdateTarget(view.Render(console.Profile.Height));
                }
            }).ConfigureAwait(false);
            await told.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Ctrl-C is how one leaves.
        }
        finally
        {
            await end.CancelAsync().ConfigureAwait(false);
        }
    }

    /// <summary>The view as it is, with the events so far.</summary>
    public static async Task<HostView> OnceAsync(LinkClient asking, LinkClient tailing, CancellationToken cancellation)
    {
        HostView view = new(asking);
        using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task told = FollowAsync(view, tailing, end.Token);
        await view.AskAsync(cancellation).ConfigureAwait(false);
        // Rates need two looks.
        await Task.Delay(s_between, cancellation).ConfigureAwait(false);
        await view.AskAsync(cancellation).ConfigureAwait(false);
        await end.CancelAsync().ConfigureAwait(false);
        await told.ConfigureAwait(false);
        return view;
    }

    private static async Task FollowAsync(HostView view, LinkClient tailing, CancellationToken cancellation)
    {
        try
        {
            await foreach (LinkNews news in tailing.TailAsync(recent: true, cancellation: cancellation).ConfigureAwait(false))
                if (news.Event is { } happened)
                    view.Add(happened);
        }
        catch (OperationCanceledException)
        {
            // The view is no longer shown.
        }
    }
}
