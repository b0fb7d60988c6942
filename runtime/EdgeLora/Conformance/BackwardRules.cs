using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>What holds for the backward ops beside their numbers.</summary>
internal static class BackwardRules
{
    public static readonly ConformanceCheck[] All =
    [
        new("A job's derivatives have the same bits beside other jobs", JobBits),
        new("A sequence's derivatives have the same bits beside other sequences", SequenceBits),
        new("A dx that is not wanted changes no other derivative", UnwantedInput),
        new("A NaN is not hidden by a backward op", NotANumber),
    ];

    private static void JobBits(ConformanceRun run)
    {
        foreach (DType type in (DType[])[DType.F32, DType.Q8_0])
            foreach (double dropout in (double[])[0, 0.3])
            {
                float[][] alone = Job(run.Training, type, dropout, 0, 0);
                run.SameBits(nameof(ITrainingBackend.LinearBackward), $"{type} dropout {dropout}, four rows before", alone, Job(run.Training, type, dropout, 4, 0));
                run.SameBits(nameof(ITrainingBackend.LinearBackward), $"{type} dropout {dropout}, three rows before and 61 after", alone, Job(run.Training, type, dropout, 3, 61));
            }
    }

    private static void SequenceBits(ConformanceRun run)
    {
        run.SameBits(nameof(ITrainingBackend.AttentionBackward), "37 rows before", Sequence(0), Sequence(37));

        float[][] Sequence(int before)
        {
            const int count = 21;
            ITrainingBackend b = run.Training;
            BatchLayout batch = new();
            foreach (int rows in before > 0 ? (int[])[before, count] : [count])
            {
                batch.BeginSequence(new KvBuffer(b, 1, 66, rows), 0);
                for (int t = 0; t < rows; t++)
                    batch.Add(0, SiteTable.Base);
            }
            b.StoreKeyValues(batch, 0, Placed(b, 2, before, count, 0, 66), Placed(b, 3, before, count, 0, 66));
            DeviceTensor[] d = [Placed(b, 5, before, count, 0, 198), Placed(b, 6, before, count, 0, 66), Placed(b, 7, before, count, 0, 66)];
            b.AttentionBackward(batch, 0, new AttentionShape(6, 2, 33, 0.2f, 0), Placed(b, 1, before, count, 0, 198), Placed(b, 4, before, count, 0, 198), d[0], d[1], d[2]);
            return Array.ConvertAll(d, t => BackendCases.Read(b, t)[(before * t.Columns)..]);
        }
    }

    private static void UnwantedInput(ConformanceRun run)
    {
        float[][] wanted = Run(wanted: true), unwanted = Run(wanted: false);
        string[] ops = [nameof(ITrainingBackend.RmsNormBackward), nameof(ITrainingBackend.LayerNormBackward), nameof(ITrainingBackend.LinearBackward)];
        for (int k = 0; k < ops.Length; k++)
            run.SameBits(ops[k], "without dx", [wanted[k]], [unwanted[k]]);

        float[][] Run(bool wanted)
        {
            ITrainingBackend b = run.Training;
            BatchLayout batch = BackendCases.Rows(5, SiteTable.Base);
            DeviceTensor x = BackendCases.Buffer(b, 1, 5, 33), dy = BackendCases.Buffer(b, 2, 5, 33);
            DeviceTensor rms = BackendCases.Buffer(b, 3, 1, 33), layer = BackendCases.Buffer(b, 3, 1, 33), weight = BackendCases.Buffer(b, 4, 33, 33);
            DeviceTensor dRms = BackendCases.Buffer(b, 5, 1, 33), dLayer = BackendCases.Buffer(b, 5, 1, 33), dWeight = BackendCases.Buffer(b, 6, 33, 33);
            Gradients gradients = new();
            gradients.Add(rms, dRms);
            gradients.Add(layer, dLayer);
            gradients.Add(weight, dWeight);
            DeviceTensor? dx = wanted ? BackendCases.Buffer(b, 7, 5, 33) : null;
            b.LinearBackward(batch, new("w", 0, weight, null, false), x, dy, dx, gradients);
            b.RmsNormBackward(batch, new("n", 0, rms, null, 1e-5f), x, dy, dx, gradients);
            b.LayerNormBackward(batch, new("n", 0, layer, null, 1e-5f), x, dy, dx, gradients);
            return [BackendCases.Read(b, dRms), BackendCases.Read(b, dLayer), BackendCases.Read(b, dWeight)];
        }
    }

    private static void NotANumber(ConformanceRun run)
    {
        const int width = 20;
        ITrainingBackend b = run.Training;
        DeviceTensor half = BackendCases.Filled(b, 0.5f, width), nan = BackendCases.Filled(b, float.NaN, width);
        float[] spoiled = BackendCases.Read(b, nan);
        void Spreads(string op, string what, Action<DeviceTensor> apply)
        {
            DeviceTensor dx = BackendCases.Filled(b, 0, width);
            apply(dx);
            run.Same(op, $"NaN in {what}", spoiled, BackendCases.Read(b, dx));
        }
        foreach (Activation kind in Enum.GetValues<Activation>())
        {
            Spreads(nameof(b.ActivateBackward), $"x, {kind}", dx => b.ActivateBackward(1, kind, nan, half, dx));
            Spreads(nameof(b.ActivateBackward), $"dy, {kind}", dx => b.ActivateBackward(1, kind, half, nan, dx));
            Spreads(nameof(b.GatedActivationBackward), $"gate, {kind}", dx => b.GatedActivationBackward(1, kind, nan, half, half, dx, BackendCases.Filled(b, 0, width)));
            Spreads(nameof(b.GatedActivationBackward), $"dy, {kind}", dx => b.GatedActivationBackward(1, kind, half, half, nan, BackendCases.Filled(b, 0, width), dx));
        }
        BatchLayout batch = BackendCases.Rows(1, SiteTable.Base);
        Gradients none = new();
        NormSite norm = new("n", 0, BackendCases.Filled(b, 1, width), null, 1e-5f);
        Spreads(nameof(b.RmsNormBackward), "x", dx => b.RmsNormBackward(batch, norm, nan, half, dx, none));
        Spreads(nameof(b.LayerNormBackward), "dy", dx => b.LayerNormBackward(batch, norm, half, nan, dx, none));
        LinearSite linear = new("w", 0, BackendCases.Buffer(b, 1, width, width), null, false);
        Spreads(nameof(b.LinearBackward), "dy", dx => b.LinearBackward(batch, linear, half, nan, dx, none));
        DeviceTensor logits = BackendCases.Filled(b, 0.5f, width), loss = b.Allocate("loss", DType.F32, new Shape(1, 1));
        b.Write([.. spoiled[..1], .. Enumerable.Repeat(0.5f, width - 1)], logits, 0);
        b.CrossEntropy(logits, [3], [1f], loss);
        run.Same(nameof(b.CrossEntropy), "NaN in a logit", [.. spoiled, float.NaN], [.. BackendCases.Read(b, logits), .. BackendCases.Read(b, loss)]);
        run.Require(nameof(b.SumOfSquares), double.IsNaN(b.SumOfSquares(nan)), "NaN in x: expected NaN");
        DeviceTensor two = b.Allocate("x", DType.F32, new Shape(2, width)), dTwo = b.Allocate("dx", DType.F32, two.Shape);
        b.Write(spoiled, two, 1);
        b.LinearBackward(BackendCases.Rows(2, SiteTable.Base), linear, two, two, dTwo, none);
        run.Same(nameof(b.LinearBackward), "NaN in the row below", new float[width], BackendCases.Read(b, dTwo)[..width]);
    }

    /// <summary>All derivatives of a job of seven rows (two steps, one with a gain, its own W and bias, a norm), between rows of another job.</summary>
    private static float[][] Job(ITrainingBackend b, DType type, double dropout, int before, int after)
    {
        const int count = 7, width = 96;
        Gradients gradients = new();
        List<DeviceTensor> found = [];
        DeviceTensor Trained(int seed, int rows, int columns)
        {
            DeviceTensor tensor = BackendCases.Buffer(b, seed, rows, columns), gradient = BackendCases.Buffer(b, seed + 100, rows, columns);
            gradients.Add(tensor, gradient);
            found.Add(gradient);
            return tensor;
        }
        SiteTable Path(int seed) => new(
        [
            new SiteAdapter(
            [
                new(Trained(seed, 5, width), Trained(seed + 1, width, 5), 5, 0.5f, null, null, new Dropout(dropout) { Seed = 3 }),
                new(Trained(seed + 2, 8, width), Trained(seed + 3, width, 8), 8, 0.5f, Trained(seed + 4, 1, width), Trained(seed + 5, 1, width)),
            ], type == DType.F32 ? Trained(seed + 6, width, width) : null, Trained(seed + 7, 1, width)),
            new SiteAdapter([], Trained(seed + 8, 1, width), Trained(seed + 9, 1, width)),
        ]);
        SiteTable path = Path(10);
        int own = found.Count;
        SiteTable other = Path(30);
        BatchLayout batch = new();
        for (int t = 0; t < before + count + after; t++)
            batch.AddRow(t >= before && t < before + count ? path : other);
        LinearSite linear = new("w", 0, b.Upload(BackendCases.Weight(1, type, width, width)), null, false);
        NormSite norm = new("n", 1, b.Upload(BackendCases.Weight(2, DType.F32, width)), null, 1e-5f);
        DeviceTensor x = Placed(b, 50, before, count, after, width), dy = Placed(b, 51, before, count, after, width), dx = Placed(b, 52, before, count, after, width);
        b.LinearBackward(batch, linear, x, dy, dx, gradients);
        b.LayerNormBackward(batch, norm, x, dy, dx, gradients);
        return [.. found.Take(own).Select(t => BackendCases.Read(b, t)), BackendCases.Read(b, dx)[(before * width)..((before + count) * width)]];
    }

    /// <summary>Rows of random numbers, between others that do not change them.</summary>
    private static DeviceTensor Placed(ITrainingBackend b, int seed, int before, int count, int after, int columns)
    {
        DeviceTensor tensor = BackendCases.Buffer(b, seed + 1000, before + count + after, columns);
        b.Write(BackendCases.Random(seed, (long)count * columns), tensor, before);
        return tensor;
    }
}
