using EdgeLora.Conformance;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule of linear layers, on any backend: what a row, and what a job, gives depends on neither their neighbours nor where the batch was cut.</summary>
internal static class LinearBits
{
    /// <summary>Layers beside every tile, with rows for every kernel.</summary>
    public static IEnumerable<LinearCase> Cases(DType type)
    {
        if (type.BlockSize() > 32)
            return [new(type, 1280, 37, 17, false, PathKind.Mixed, true), new(type, 512, 100, 140, false, PathKind.OneStep, false)];
        if (type.BlockSize() > 1)
            return [new(type, 544, 100, 17, false, PathKind.Mixed, true), new(type, 1056, 250, 9, false, PathKind.OneStep, false)];
        return
        [
            new(type, 33, 13, 17, false, PathKind.Mixed, true), new(type, 1030, 250, 9, false, PathKind.OneStep, false), new(type, 512, 40, 131, false, PathKind.Base, true), new(type, 96, 37, 140, false, PathKind.OneStep, true),
            new(type, 33, 13, 17, true, PathKind.Mixed, true), new(type, 300, 250, 9, true, PathKind.OneStep, false),
        ];
    }

    /// <summary>A batch gives <paramref name="all"/> in pieces of any size too.</summary>
    public static void EqualInChunks(IComputeBackend backend, LinearCase c, float[] all, string what)
    {
        LinearForward forward = new(backend, c);
        foreach (int chunk in (int[])[1, 2, 3, 4, 7])
        {
            List<float> pieces = [];
            for (int t = 0; t < c.Rows; t += chunk)
                pieces.AddRange(forward.Run(t, Math.Min(chunk, c.Rows - t)));
            Assert.True(all.AsSpan().SequenceEqual(pieces.ToArray()), $"{what} {c} in chunks of {chunk}");
        }
    }

    /// <summary>A job's derivatives on <paramref name="one"/> alone, and on <paramref name="two"/> between others and in runs of rows.</summary>
    public static void JobsAreEqual(ITrainingBackend one, ITrainingBackend two, DType type, bool inputMajor)
    {
        foreach (bool dropout in (bool[])[false, true])
        {
            List<float[]> alone = Job(one, type, inputMajor, dropout, [(1, 0, 45)]);
            Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 13), (1, 0, 45), (0, 13, 30)]));
            Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 300), (1, 0, 45)]));
            // A mask counts its rows from the start of a run: a job with dropout stays in one.
            if (!dropout)
                Assert.Equal(alone, Job(two, type, inputMajor, dropout, [(0, 0, 1), (1, 0, 7), (0, 1, 1), (1, 7, 38)]));
        }
    }

    /// <summary>Gradients of job 1 and its rows of dx, in a batch of runs (job, the job's first row, rows).</summary>
    private static List<float[]> Job(ITrainingBackend b, DType type, bool inputMajor, bool dropout, (int Job, int First, int Rows)[] runs)
    {
        const int inputs = 96, outputs = 77;
        Gradients gradients = new();
        List<DeviceTensor> own = [];
        DeviceTensor Train(int job, int seed, int rows, int columns)
        {
            DeviceTensor parameter = BackendCases.Buffer(b, seed + 1000 * job, rows, columns), gradient = BackendCases.Buffer(b, seed + 1, rows, columns);
            gradients.Add(parameter, gradient);
            if (job == 1)
                own.Add(gradient);
            return parameter;
        }
        LowRankStep Step(int job, int seed, int rank, bool gain) => new(
            Train(job, seed, rank, inputs), Train(job, seed + 10, outputs, rank), rank, 0.75f, Train(job, seed + 20, 1, outputs), gain ? Train(job, seed + 30, 1, outputs) : null,
            dropout ? new Dropout(0.2) { Seed = (ulong)seed } : null);
        LinearSite site = new("site", 0, b.Upload(inputMajor ? BackendCases.Weight(1, type, inputs, outputs) : BackendCases.Weight(1, type, outputs, inputs)), null, inputMajor);
        SiteTable[] paths = [.. Enumerable.Range(0, 2).Select(job => new SiteTable([new SiteAdapter([Step(job, 100, 8, false), Step(job, 200, 5, true)])]))];
        BatchLayout batch = new();
        int total = runs.Sum(run => run.Rows), at = 0;
        DeviceTensor x = b.Allocate("x", DType.F32, new Shape(total, inputs)), dy = b.Allocate("dy", DType.F32, new Shape(total, outputs)), dx = b.Allocate("dx", DType.F32, x.Shape);
        foreach ((int job, int first, int rows) in runs)
        {
            b.Write(BackendCases.Random(7 + job, 300 * inputs).AsSpan(first * inputs, rows * inputs), x, at);
            b.Write(BackendCases.Random(17 + job, 300 * outputs).AsSpan(first * outputs, rows * outputs), dy, at);
            for (int t = 0; t < rows; t++, at++)
                batch.AddRow(paths[job]);
        }
        b.LinearBackward(batch, site, x, dy, dx, gradients);
        List<float> inputGradient = [];
        float[] all = BackendCases.Read(b, dx);
        at = 0;
        foreach ((int job, _, int rows) in runs)
        {
            if (job == 1)
                inputGradient.AddRange(all.AsSpan(at * inputs, rows * inputs));
            at += rows;
        }
        return [[.. inputGradient], .. own.Select(gradient => BackendCases.Read(b, gradient))];
    }
}
