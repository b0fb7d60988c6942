using EdgeLora.Models;

namespace EdgeLora.Tests.Hosting;

/// <summary>Ticks a host by hand until something is done.</summary>
internal static class Served
{
    public static readonly TimeSpan Budget = TimeSpan.FromMilliseconds(5);

    /// <summary>Ticks until a task ends, and gives its result.</summary>
    public static T Until<T>(EdgeHost host, Task<T> task)
    {
        Until(host, (Task)task);
        return task.GetAwaiter().GetResult();
    }

    /// <summary>Ticks until a task ends.</summary>
    public static void Until(EdgeHost host, Task task)
    {
        DateTime end = DateTime.UtcNow.AddSeconds(180);
        while (!task.IsCompleted)
        {
            host.Tick(Budget);
            if (!task.IsCompleted)
                Thread.Sleep(1);
            if (DateTime.UtcNow > end)
                throw new TimeoutException("the host did not come to an end in 180 s");
        }
        task.GetAwaiter().GetResult();
    }

    /// <summary>All tokens of a generation.</summary>
    public static async Task<(int[] Tokens, StopReason Stop)> Collect(IAsyncEnumerable<GeneratedPiece> pieces)
    {
        List<int> tokens = [];
        StopReason stop = StopReason.None;
        await foreach (GeneratedPiece piece in pieces)
        {
            if (piece.Token >= 0)
                tokens.Add(piece.Token);
            stop = piece.Stop;
        }
        return ([.. tokens], stop);
    }

    /// <summary>What a session alone says, without a host's ticks.</summary>
    public static int[] Alone(EdgeHost host, AdapterPath path, IReadOnlyList<int> prompt, int tokens)
    {
        using Session session = host.CreateSession(path);
        session.Append([.. prompt]);
        Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = tokens, IgnoreEnd = true });
        while (generator.Next(out _))
        {
        }
        return session.Tokens[prompt.Count..].ToArray();
    }
}
