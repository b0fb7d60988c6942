using System.Globalization;
using System.Text.RegularExpressions;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Compares an adapter folder, or a scenario of several adapters in sub-folders, that has an expected.safetensors with its reference. States of a scenario
/// read <c>a+b</c> (both active, in that order), <c>a0.3+b0.7</c> (strengths), <c>base…</c> (the root), <c>mixed</c> (rows a, base, b, a), <c>merged-a</c> (a model folder).
/// </summary>
public static partial class AdapterGolden
{
    /// <summary>Runs every state on the base that the adapter's config names, relative to its folder.</summary>
    /// <param name="folder">Adapter folder or scenario.</param>
    /// <param name="createBackend">Makes a backend; one is made for each base, and disposed.</param>
    public static IReadOnlyList<GoldenError> Verify(string folder, Func<IComputeBackend> createBackend)
    {
        if (EncoderGolden.IsAdapter(folder))
        {
            using IComputeBackend backend = createBackend();
            return EncoderGolden.VerifyAdapter(folder, backend);
        }
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        using Run run = new(folder, expected, createBackend);
        foreach (string name in expected.Tensors.Keys.Where(k => k is "logits" or "base_logits" or "greedy" || k.StartsWith("logits.", StringComparison.Ordinal) || k.StartsWith("greedy.", StringComparison.Ordinal)))
            run.Compare(name);
        return run.Errors;
    }

    [GeneratedRegex(@"\G([+-]?)([A-Za-z][A-Za-z_]*?)([0-9]+(?:\.[0-9]+)?)?(?=[+-]|$)")]
    private static partial Regex TermPattern();

    private sealed class Run(string folder, TensorFile expected, Func<IComputeBackend> createBackend) : IDisposable
    {
        private readonly Dictionary<string, EdgeBase> _bases = [];
        private readonly int[][] _ids = Rows(expected.Tensors["input_ids"]);

        public List<GoldenError> Errors { get; } = [];

        public void Compare(string name)
        {
            Tensor tensor = expected.Tensors[name];
            string state = name.Contains('.') ? name[(name.IndexOf('.') + 1)..] : name == "base_logits" ? "base" : "";
            (DecoderModel model, AdapterPath[] paths) = Open(state);
            if (name.StartsWith("greedy", StringComparison.Ordinal))
            {
                int steps = (int)tensor.Shape[1];
                int[] found = _ids.SelectMany((ids, row) => ModelGolden.Greedy(model, paths[row], ids, steps)).ToArray();
                Errors.Add(new(name, tensor.ToInts().Zip(found).Count(p => p.First != p.Second), 0));
                return;
            }
            float[] logits = state == "mixed" ? Mixed(model, paths) : _ids.SelectMany((ids, row) => ModelGolden.Logits(model, paths[row], ids)).ToArray();
            Errors.Add(new(name, GoldenError.Relative(logits, tensor.Floats), ModelGolden.Tolerance));
        }

        public void Dispose()
        {
            foreach (EdgeBase b in _bases.Values)
                b.Dispose();
        }

        // One batch: every row on its own path.
        private float[] Mixed(DecoderModel model, AdapterPath[] paths)
        {
            BatchLayout batch = new();
            List<KvBuffer> caches = [];
            for (int row = 0; row < _ids.Length; row++)
            {
                caches.Add(model.CreateCache(_ids[row].Length));
                batch.BeginSequence(caches[row], 0);
                foreach (int id in _ids[row])
                    batch.Add(id, paths[row].Table);
            }
            float[] logits = new float[batch.Rows * model.Config.Vocabulary];
            model.Forward(batch, Enumerable.Range(0, batch.Rows).ToArray(), logits);
            caches.ForEach(c => c.Dispose());
            return logits;
        }

        private (DecoderModel, AdapterPath[]) Open(string state)
        {
            if (state.StartsWith("merged-", StringComparison.Ordinal))
                return (Base(Path.Combine(folder, state), null).Model, Same(AdapterPath.Root));
            string[] adapters = Directory.GetDirectories(folder).Select(d => Path.GetFileName(d)!).Where(d => File.Exists(Path.Combine(folder, d, "adapter_config.json"))).ToArray();
            string first = adapters.Length == 0 ? folder : Path.Combine(folder, adapters[0]);
            if (state == "base" || state.StartsWith("base_", StringComparison.Ordinal))
                return (Base(PeftAdapter.BaseFolder(first), null).Model, Same(AdapterPath.Root));
            EdgeBase b = Base(PeftAdapter.BaseFolder(first), PeftAdapter.LayerReplication(first));
            if (state.Length == 0)
                return (b.Model, Same(b.Resolve([(folder, 1)])));
            if (state == "mixed")
            {
                AdapterPath a = b.Resolve([(Path.Combine(folder, "a"), 1)]);
                return (b.Model, [a, AdapterPath.Root, b.Resolve([(Path.Combine(folder, "b"), 1)]), a]);
            }
            return (b.Model, Same(b.Resolve(Terms(state, adapters).Select(t => (Path.Combine(folder, t.Name), t.Strength)).ToArray())));
        }

        private AdapterPath[] Same(AdapterPath path) => Enumerable.Repeat(path, _ids.Length).ToArray();

        private static IEnumerable<(string Name, float Strength)> Terms(string state, string[] adapters)
        {
            if (state == "active_together")
                return [("a", 1), ("b", 1)];
            state = state.EndsWith("_again", StringComparison.Ordinal) ? state[..^6] : state;
            if (adapters.Contains(state))
                return [(state, 1)];
            return TermPattern().Matches(state).Select(m => (m.Groups[2].Value,
                (m.Groups[1].Value == "-" ? -1 : 1) * (m.Groups[3].Success ? float.Parse(m.Groups[3].Value, CultureInfo.InvariantCulture) : 1)));
        }

        private EdgeBase Base(string path, int[]? layers)
        {
            string key = layers is null ? path : $"{path}?{string.Join(',', layers)}";
            if (!_bases.TryGetValue(key, out EdgeBase? b))
                _bases[key] = b = new(path, createBackend(), layers);
            return b;
        }

        private static int[][] Rows(Tensor ids)
        {
            long[] all = ids.ToInts();
            return Enumerable.Range(0, (int)ids.Shape[0]).Select(row => all.AsSpan(row * ids.Shape.Columns, ids.Shape.Columns).ToArray().Select(x => (int)x).ToArray()).ToArray();
        }
    }

    private sealed class EdgeBase(string path, IComputeBackend backend, int[]? layers) : IDisposable
    {
        private readonly Dictionary<string, ResidentAdapter> _adapters = [];

        public DecoderModel Model { get; } = DecoderModel.Load(BaseCheckpoint.OpenFolder(path), backend, layers);

        public AdapterPath Resolve(IReadOnlyList<(string Folder, float Strength)> terms) =>
            PathResolver.Resolve("golden", Model.Sites, backend, terms.Select(t => (Adapter(t.Folder), t.Strength)).ToArray());

        public void Dispose()
        {
            foreach (ResidentAdapter adapter in _adapters.Values)
                adapter.Dispose();
            Model.Dispose();
            backend.Dispose();
        }

        private ResidentAdapter Adapter(string folder)
        {
            if (!_adapters.TryGetValue(folder, out ResidentAdapter? adapter))
                _adapters[folder] = adapter = ResidentAdapter.Load(folder, Path.GetFileName(folder.TrimEnd('/')), Model.Sites, backend);
            return adapter;
        }
    }
}
