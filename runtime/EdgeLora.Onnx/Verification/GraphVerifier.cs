using System.Globalization;
using System.Text.RegularExpressions;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>One op on two devices.</summary>
/// <param name="Step">prefill, or decode: one token behind the others.</param>
/// <param name="Layer">The decoder layer it belongs to; -1 before the first, the number of layers behind the last.</param>
/// <param name="Operator">A site's name, or what the op is.</param>
/// <param name="Error">max|a-b| / max|b| of its result; what differed before it is in it too.</param>
public sealed record OperatorError(string Step, int Layer, string Operator, double Error);

/// <summary>Compares ONNX Runtime with another backend op by op: both run the model's own pass, and every op's result is looked at.</summary>
public static partial class GraphVerifier
{
    /// <summary>Runs tokens but the last in one forward, then the last one behind them, on a path. Every op in order; the first whose error is too large is where devices part.</summary>
    /// <param name="openBase">Opens the base; called twice.</param>
    /// <param name="device">ONNX Runtime.</param>
    /// <param name="reference">What it is compared with.</param>
    /// <param name="resolve">Brings a path to a model's device; given the model.</param>
    /// <param name="tokens">2 to 16 tokens.</param>
    public static IReadOnlyList<OperatorError> Compare(Func<BaseCheckpoint> openBase, OnnxBackend device, IComputeBackend reference, Func<DecoderModel, AdapterPath> resolve, ReadOnlySpan<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(tokens.Length, 2);
        // The head runs so many rows at once.
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens.Length, 16);
        TracedBackend traced = new(reference);
        using DecoderModel expected = DecoderModel.Load(openBase(), traced), found = DecoderModel.Load(openBase(), device);
        AdapterPath expectedPath = resolve(expected), foundPath = resolve(found);
        using KvBuffer expectedCache = expected.CreateCache(tokens.Length), foundCache = found.CreateCache(tokens.Length);
        List<OperatorError> errors = [];
        foreach ((string step, int from, int count) in (ReadOnlySpan<(string, int, int)>)[("prefill", 0, tokens.Length - 1), ("decode", tokens.Length - 1, 1)])
        {
            traced.Results.Clear();
            int[] rows = [.. Enumerable.Range(0, count)];
            expected.Forward(Batch(expectedCache, tokens.Slice(from, count), from, expectedPath.Table), rows, new float[count * expected.Config.Vocabulary]);
            IReadOnlyList<OpResult> results = ((OnnxCausalLM)found.Whole!).Trace(Batch(foundCache, tokens.Slice(from, count), from, foundPath.Table));
            if (!results.Select(r => r.Name).SequenceEqual(traced.Results.Select(r => r.Name)))
                throw new InvalidOperationException($"{device.Name} runs {results.Count} ops, {reference.Name} {traced.Results.Count}: they are not the same pass");
            int layer = -1;
            for (int i = 0; i < results.Count; i++)
            {
                layer = LayerOf(found.Sites, results[i].Name) ?? layer;
                errors.Add(new(step, layer, results[i].Name, GoldenError.Relative(results[i].Values, traced.Results[i].Values)));
            }
        }
        return errors;
    }

    [GeneratedRegex(@"\.(?:layers|h)\.(\d+)\.")]
    private static partial Regex LayerNumber();

    // A site says which layer it is of; what has no site belongs to the site before it.
    private static int? LayerOf(SiteCatalog sites, string op)
    {
        if (sites.Find(op) is not { } site)
            return null;
        if (LayerNumber().Match(op) is { Success: true } match)
            return int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        return site.Embedding is null ? sites.Layers : null;
    }

    private static BatchLayout Batch(KvBuffer cache, ReadOnlySpan<int> tokens, int past, SiteTable path)
    {
        BatchLayout batch = new();
        batch.BeginSequence(cache, past);
        foreach (int token in tokens)
            batch.Add(token, path);
        return batch;
    }
}
