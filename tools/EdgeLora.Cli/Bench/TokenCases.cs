using System.Diagnostics;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>Decoding and prompts, on the base and on adapters.</summary>
/// <param name="measured">What runs.</param>
internal sealed class TokenCases(MeasuredModel measured) : IDisposable
{
    /// <summary>Groups.</summary>
    public const string Decode = "Decode, greedy", Prefill = "Prefill, one session";

    private const string Mixed = "Mixed batch, 4 sessions", Nodes = "The tree's own nodes, decode", BaseRow = "base";
    private readonly Sampler _greedy = new(new(), measured.Model.Config.Vocabulary);
    private Session? _prompt;

    /// <summary>All of them; prompts only as long as the model's context.</summary>
    public IEnumerable<BenchCase> All()
    {
        (string Id, string Label, string Node)[] places =
        [
            ("base", BaseRow, ""),
            .. from stack in AdapterStack.All from depth in stack.Depths select ($"{stack.Stem}-x{depth}", FormattableString.Invariant($"{depth} × {stack.Label}"), stack.Node(depth)),
        ];
        foreach (int sessions in BenchSettings.Sessions)
            foreach ((string id, string label, string node) in places)
                yield return new(Name($"decode/s{sessions}", id, Decode, label, sessions == 1 ? "1 session" : FormattableString.Invariant($"{sessions} sessions")), sessions,
                    n => RunDecode(n, sessions, _ => measured.Place(node)), sessions == 1 ? () => measured.BytesPerToken + measured.BytesOfPath(node) : null);
        foreach (int tokens in BenchSettings.Prompts.Where(t => t <= measured.Model.Config.ContextLength))
            foreach ((string id, string label, string node) in places)
                yield return new(Name(FormattableString.Invariant($"prefill/{tokens}"), id, Prefill, label, FormattableString.Invariant($"{tokens} tokens")), tokens, n => RunPrefill(n, tokens, node));
        // On one node: a decode case of its own already.
        yield return new(new("mixed/s4-n4", Mixed, "on 4 nodes; × against 4 on one", BenchUnit.TokensPerSecond.Name, BenchUnit.TokensPerSecond, $"decode/s{RandomTree.Siblings.Count}/{AdapterStack.All[0].Stem}-x1"), RandomTree.Siblings.Count,
            n => RunDecode(n, RandomTree.Siblings.Count, i => measured.Place(RandomTree.Siblings[i])));
        foreach (AdapterNode node in measured.Host.Tree.Nodes.Skip(1).Take(BenchSettings.TreeNodes))
        {
            AdapterPath? path = null;
            yield return new(new($"node/{node.Path}", Nodes, node.Path, "1 session", BenchUnit.TokensPerSecond, "decode/s1/base"), 1, n => RunDecode(n, 1, _ => path ??= measured.Host.Enter(node.Path)));
        }
    }

    /// <summary>How fast adapters themselves are read: the bytes of a path of four, by what they add to a token. Rounds in which they added nothing say nothing.</summary>
    public static IEnumerable<CaseResult> LowRank(IReadOnlyList<CaseResult> results)
    {
        AdapterStack stack = AdapterStack.All[0];
        int depth = stack.Depths.Max();
        CaseResult bare = results.Single(r => r.Name.Id == "decode/s1/base"), with = results.Single(r => r.Name.Id == FormattableString.Invariant($"decode/s1/{stack.Stem}-x{depth}"));
        CaseName name = new("memory/low-rank", "Memory of the host", FormattableString.Invariant($"adapters in a token, {depth} × {stack.Label}"), BenchUnit.GigabytesPerSecond.Name, BenchUnit.GigabytesPerSecond);
        double[] samples = [.. with.Samples.Zip(bare.Samples, (w, b) => 1 / w - 1 / b).Where(seconds => seconds > 0).Select(seconds => (with.BytesPerToken - bare.BytesPerToken)!.Value / seconds / name.Unit.Scale)];
        return samples.Length == 0 ? [] : [new(name, samples, with.Repetitions, null, Derived: $"{with.Name.Id} - {bare.Name.Id}")];
    }

    /// <inheritdoc/>
    public void Dispose() => _prompt?.Dispose();

    private static CaseName Name(string what, string place, string group, string row, string column) => new($"{what}/{place}", group, row, column, BenchUnit.TokensPerSecond, row == BaseRow ? null : $"{what}/base");

    // Keys and values made elsewhere are kept: the work is the same, and nothing has to be replayed.
    private double RunDecode(int tokens, int count, Func<int, AdapterPath> place)
    {
        Session[] sessions = measured.Sessions(count);
        for (int i = 0; i < count; i++)
        {
            sessions[i].Switch(place(i), KvPolicy.Keep);
            sessions[i].Scores.Wanted = _greedy.Candidates;
        }
        long start = Stopwatch.GetTimestamp();
        for (int done = 0; done < tokens; done++)
        {
            if (done % measured.DecodeTokens == 0)
                foreach (Session session in sessions)
                    session.Truncate(measured.Context);
            measured.Batch.Run(sessions);
            if (done % measured.DecodeTokens + 1 < measured.DecodeTokens)
                foreach (Session session in sessions)
                    session.Append(_greedy.Next(session.Scores, [], []));
        }
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private double RunPrefill(int times, int tokens, string node)
    {
        int[] prompt = RandomTraining.Row(0, tokens, measured.Model.Config.Vocabulary);
        _prompt ??= measured.Host.CreateSession(AdapterPath.Root, BenchSettings.Prompts.Max());
        _prompt.Switch(measured.Place(node), KvPolicy.Keep);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < times; i++)
        {
            _prompt.Truncate(0);
            _prompt.Append(prompt);
            measured.Batch.Run(_prompt);
        }
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
