using System.Diagnostics;
using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Measuring;
using EdgeLora.Models;
using EdgeLora.Onnx;

namespace EdgeLora.Benchmarks;

/// <summary>Decoding on ONNX Runtime: beside the SIMD backend, beside a graph without any adapter input, by rank; and what a switch costs. All in one process, in turns.</summary>
internal static class OnnxBenchmark
{
    private const int Context = 64, Tokens = 8;
    private static readonly int[] s_ranks = [8, 16, 64];

    /// <summary>Measures a shape and prints a table.</summary>
    public static void Run(LlamaShape shape, DType type, string device, int threads, double seconds)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-onnx-").FullName;
        try
        {
            string stem = Path.Combine(folder, "base");
            RandomModel.Write(stem, shape, type);
            string model = type.BlockSize() == 1 ? stem : stem + ".gguf";
            using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(model))
                foreach (int rank in s_ranks)
                    foreach (string copy in (string[])["a", "b"])
                        RandomAdapter.Write(Path.Combine(folder, $"{copy}{rank}"), RandomAdapter.LayersOf(checkpoint.Config), rank, 1000 * rank + copy[0]);
            using CpuBackend cpu = new(threads);
            using OnnxBackend onnx = new(device, threads), rounded = new(device, threads, new OnnxOptions { Int8Activations = true }), plain = new(device, threads, new OnnxOptions { AdapterInputs = false });
            using Subject simd = new("EdgeLora.Cpu", model, folder, cpu), graph = new($"{device}, one graph", model, folder, onnx), bare = new($"{device}, no adapter inputs", model, folder, plain);
            Console.WriteLine($"{shape.Name} {type}, {onnx.Description} beside {cpu.Description}; {Context} tokens of context, decoding {Tokens}, greedy");
            using Subject? small = type.BlockSize() > 1 ? new($"{device}, 8-bit activations", model, folder, rounded) : null;
            List<(Subject Subject, int Rank)> cases = [(simd, 0), (bare, 0), (graph, 0)];
            cases.AddRange(from rank in s_ranks from subject in (Subject[])[simd, graph] select (subject, rank));
            if (small is not null)
                cases.AddRange([(small, 0), (small, 16)]);
            Decode(cases, seconds);
            foreach (Subject subject in (Subject[])[simd, graph])
                Switch(subject, seconds / 4);
            foreach (Subject subject in (Subject[])[simd, graph])
                Together(subject, seconds / 4);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Decode(List<(Subject Subject, int Rank)> cases, double seconds)
    {
        Rounds[] rounds = Interleaved.Run(seconds, [.. cases.Select(c => (Action)(() => c.Subject.Decode(c.Rank, Tokens)))]);
        for (int i = 0; i < cases.Count; i++)
            Print($"| decode | {cases[i].Subject.Name} | rank {cases[i].Rank} | {Tokens / rounds[i].Median:0.0} tokens/s | {rounds[i].FasterThan(rounds[0]):0.00} of EdgeLora.Cpu's base, {rounds[i].FasterThan(rounds[1]):0.00} of the graph without adapters |");
    }

    // A step on the path of the last step, on another resident path, and on one that the store has to read and bind first.
    private static void Switch(Subject subject, double seconds)
    {
        Rounds[] rounds = Interleaved.Run(seconds, () => subject.Decode(16, 1), subject.DecodeSwitched);
        Print($"| switch, resident | {subject.Name} | rank 16 | {(rounds[1].Median - rounds[0].Median) * 1e6:0} µs more than the same step without | step {rounds[0].Median * 1e3:0.00} ms |");
        List<double> cold = [];
        for (int i = 0; i < 5; i++)
            cold.Add(subject.DecodeCold());
        Print($"| switch, cold | {subject.Name} | rank 16 | {Rounds.MedianOf([.. cold]) * 1e3:0.0} ms from the file to the first token's logits | |");
    }

    private static void Together(Subject subject, double seconds)
    {
        Rounds[] rounds = Interleaved.Run(seconds, () => subject.DecodeTogether(8, samePath: true), () => subject.DecodeTogether(8, samePath: false));
        Print($"| 8 sessions, one path | {subject.Name} | rank 16 | {8 / rounds[0].Median:0.0} tokens/s | |");
        Print($"| 8 sessions, two paths in turns | {subject.Name} | rank 16 | {8 / rounds[1].Median:0.0} tokens/s | |");
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));

    // A base on one backend with a session for every rank.
    private sealed class Subject : IDisposable
    {
        private readonly DecoderModel _model;
        private readonly string _folder;
        private readonly Batch _batch;
        private readonly List<ResidentAdapter> _adapters = [];
        private readonly Dictionary<int, Session> _sessions = [];
        private readonly List<Session> _together = [];
        private readonly AdapterPath[] _paths;
        private bool _other;

        public Subject(string name, string model, string folder, IComputeBackend backend)
        {
            (Name, _folder) = (name, folder);
            _model = DecoderModel.Load(BaseCheckpoint.Open(model), backend);
            _batch = new(_model);
            _paths = [Path("a", 16), Path("b", 16)];
            foreach (int rank in (int[])[0, .. s_ranks])
                _sessions[rank] = Start(rank == 0 ? AdapterPath.Root : rank == 16 ? _paths[0] : Path("a", rank));
        }

        public string Name { get; }

        public void Decode(int rank, int tokens) => Decode(_sessions[rank], tokens);

        public void DecodeSwitched()
        {
            _other = !_other;
            _sessions[16].Switch(_paths[_other ? 1 : 0], KvPolicy.Keep);
            Decode(16, 1);
        }

        public double DecodeCold()
        {
            long from = Stopwatch.GetTimestamp();
            using ResidentAdapter adapter = ResidentAdapter.Load(System.IO.Path.Combine(_folder, "b16"), "b16", _model.Sites, _model.Backend);
            Session session = _sessions[0];
            session.Switch(PathResolver.Resolve("cold", _model.Sites, _model.Backend, [(adapter, 1f)]), KvPolicy.Keep);
            Decode(session, 1);
            double seconds = Stopwatch.GetElapsedTime(from).TotalSeconds;
            session.Switch(AdapterPath.Root, KvPolicy.Keep);
            return seconds;
        }

        public void DecodeTogether(int sessions, bool samePath)
        {
            while (_together.Count < 2 * sessions)
                _together.Add(Start(_paths[_together.Count < sessions ? 0 : _together.Count % 2]));
            Session[] some = [.. _together.Skip(samePath ? 0 : sessions).Take(sessions)];
            foreach (Session session in some)
                Next(session);
            _batch.Run(some);
        }

        public void Dispose()
        {
            foreach (Session session in _sessions.Values.Concat(_together))
                session.Dispose();
            _adapters.ForEach(a => a.Dispose());
            _model.Dispose();
        }

        private AdapterPath Path(string copy, int rank)
        {
            _adapters.Add(ResidentAdapter.Load(System.IO.Path.Combine(_folder, $"{copy}{rank}"), $"{copy}{rank}", _model.Sites, _model.Backend));
            return PathResolver.Resolve($"{copy}{rank}", _model.Sites, _model.Backend, [(_adapters[^1], 1f)]);
        }

        private Session Start(AdapterPath path)
        {
            Session session = new(_model, path, 2 * Context);
            session.Append([.. Enumerable.Range(1, Context)]);
            _batch.Run(session);
            return session;
        }

        private void Decode(Session session, int tokens)
        {
            for (int i = 0; i < tokens; i++)
            {
                Next(session);
                _batch.Run(session);
            }
        }

        // Every measured step is one token behind about as much context.
        private static void Next(Session session)
        {
            if (session.Count >= 2 * Context)
                session.Truncate(Context);
            session.Append(ArgMax.Of(session.Logits));
        }
    }
}
