using System.Diagnostics;
using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Benchmarks;

/// <summary>
/// A backend that notes what each kind of op takes: by the wall, and of the processors, which others on the machine disturb less. Ops of the host's backends have run when they return, so clocks around
/// each say it all; threads that wait for the next op are counted with the op or outside of it, as it falls.
/// </summary>
internal sealed class TimedBackend(ITrainingBackend inner) : ITrainingBackend
{
    private readonly Dictionary<string, Spent> _spent = [];

    /// <inheritdoc/>
    public string Name => inner.Name;

    /// <inheritdoc/>
    public string Description => inner.Description;

    /// <summary>Forgets what was noted.</summary>
    public void Reset() => _spent.Clear();

    /// <summary>One line an op, the longest first: its share, milliseconds by the wall and of the processors, calls. Last what no op took.</summary>
    /// <param name="whole">What everything took, by the wall.</param>
    /// <param name="cpu">What everything took of the processors.</param>
    public IEnumerable<string> Lines(TimeSpan whole, TimeSpan cpu)
    {
        foreach ((string op, Spent spent) in _spent.OrderByDescending(s => s.Value.Wall))
            yield return Line(op, spent.Wall, whole, spent.Cpu, spent.Calls);
        TimeSpan Sum(Func<Spent, TimeSpan> part) => TimeSpan.FromTicks(_spent.Values.Sum(s => part(s).Ticks));
        yield return Line("outside of ops", whole - Sum(s => s.Wall), whole, cpu - Sum(s => s.Cpu), 0);
    }

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => inner.Upload(tensor);

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => Note("Allocate", () => inner.Allocate(name, type, shape));

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row)
    {
        using Watch _ = Start("Write");
        inner.Write(values, destination, row);
    }

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination)
    {
        using Watch _ = Start("Read");
        inner.Read(source, row, destination);
    }

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) => Note("Copy", () => inner.Copy(source, sourceRow, destination, destinationRow, rows));

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1) =>
        Note("CopyColumns", () => inner.CopyColumns(rows, source, sourceColumn, destination, destinationColumn, columns, pieces));

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y) => Note("Embed", () => inner.Embed(batch, site, y));

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => Note(Kind("Linear", site), () => inner.Linear(batch, site, x, y));

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Note("RmsNorm", () => inner.RmsNorm(batch, site, x, y));

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Note("LayerNorm", () => inner.LayerNorm(batch, site, x, y));

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => Note("Rope", () => inner.Rope(rows, headSize, pairs, cos, sin, x));

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => Note("StoreKeyValues", () => inner.StoreKeyValues(batch, layer, keys, values));

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        using Watch _ = Start("Attention");
        inner.Attention(batch, layer, shape, q, y);
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => Note("GatedActivation", () => inner.GatedActivation(rows, kind, gate, up, y));

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y) => Note("Activate", () => inner.Activate(rows, kind, x, y));

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y) => Note("Scale", () => inner.Scale(rows, factor, x, y));

    /// <inheritdoc/>
    public bool IsImmediate => inner.IsImmediate;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights) => Note("Route", () => inner.Route(rows, k, renormalise, logits, weights));

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y)
    {
        int[] numbers = rows.ToArray();
        Note("GatherRows", () => inner.GatherRows(numbers, x, y));
    }

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        int[] numbers = rows.ToArray();
        Note("AddRows", () => inner.AddRows(count, numbers, weights, column, x, y));
    }

    /// <inheritdoc/>
    public void RouteBackward(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor dweights, DeviceTensor dlogits) =>
        Note("RouteBackward", () => inner.RouteBackward(rows, k, renormalise, logits, dweights, dlogits));

    /// <inheritdoc/>
    public void GatherRowsBackward(ReadOnlySpan<int> rows, DeviceTensor dy, DeviceTensor dx)
    {
        int[] numbers = rows.ToArray();
        Note("GatherRowsBackward", () => inner.GatherRowsBackward(numbers, dy, dx));
    }

    /// <inheritdoc/>
    public void AddRowsBackward(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor dy, DeviceTensor dx, DeviceTensor dweights)
    {
        int[] numbers = rows.ToArray();
        Note("AddRowsBackward", () => inner.AddRowsBackward(count, numbers, weights, column, x, dy, dx, dweights));
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z) => Note("Add", () => inner.Add(rows, x, y, z));

    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => Note("DoraGain", () => inner.DoraGain(site, magnitude, norms, gain));

    /// <inheritdoc/>
    public void DoraGainBackward(DeviceTensor norms, DeviceTensor dgain, DeviceTensor dmagnitude) => Note("DoraGainBackward", () => inner.DoraGainBackward(norms, dgain, dmagnitude));

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y) => Note("TopK", () => inner.TopK(rows, k, x, y));

    /// <inheritdoc/>
    public void Clear(int rows, DeviceTensor x) => Note("Clear", () => inner.Clear(rows, x));

    /// <inheritdoc/>
    public void EmbedBackward(BatchLayout batch, EmbeddingSite site, DeviceTensor dy, Gradients gradients) => Note("EmbedBackward", () => inner.EmbedBackward(batch, site, dy, gradients));

    /// <inheritdoc/>
    public void LinearBackward(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        Note(Kind("LinearBackward", site), () => inner.LinearBackward(batch, site, x, dy, dx, gradients));

    /// <inheritdoc/>
    public void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        Note("RmsNormBackward", () => inner.RmsNormBackward(batch, site, x, dy, dx, gradients));

    /// <inheritdoc/>
    public void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        Note("LayerNormBackward", () => inner.LayerNormBackward(batch, site, x, dy, dx, gradients));

    /// <inheritdoc/>
    public void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy) =>
        Note("RopeBackward", () => inner.RopeBackward(rows, headSize, pairs, cos, sin, dy));

    /// <inheritdoc/>
    public void AttentionBackward(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor dy, DeviceTensor dq, DeviceTensor dk, DeviceTensor dv)
    {
        using Watch _ = Start("AttentionBackward");
        inner.AttentionBackward(batch, layer, shape, q, dy, dq, dk, dv);
    }

    /// <inheritdoc/>
    public void GatedActivationBackward(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup) =>
        Note("GatedActivationBackward", () => inner.GatedActivationBackward(rows, kind, gate, up, dy, dgate, dup));

    /// <inheritdoc/>
    public void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx) => Note("ActivateBackward", () => inner.ActivateBackward(rows, kind, x, dy, dx));

    /// <inheritdoc/>
    public void CrossEntropy(DeviceTensor logits, ReadOnlySpan<int> labels, ReadOnlySpan<float> scales, DeviceTensor losses)
    {
        using Watch _ = Start("CrossEntropy");
        inner.CrossEntropy(logits, labels, scales, losses);
    }

    /// <inheritdoc/>
    public double SumOfSquares(DeviceTensor x) => Note("SumOfSquares", () => inner.SumOfSquares(x));

    /// <inheritdoc/>
    public void AdamW(DeviceTensor parameter, DeviceTensor gradient, DeviceTensor m, DeviceTensor v, in AdamWStep step)
    {
        using Watch _ = Start("AdamW");
        inner.AdamW(parameter, gradient, m, v, step);
    }

    /// <inheritdoc/>
    public void Sgd(DeviceTensor parameter, DeviceTensor gradient, double learningRate, double weightDecay, double gradientScale) =>
        Note("Sgd", () => inner.Sgd(parameter, gradient, learningRate, weightDecay, gradientScale));

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

    private static string Line(string op, TimeSpan wall, TimeSpan whole, TimeSpan cpu, long calls) =>
        string.Create(CultureInfo.InvariantCulture, $"{100 * (wall / whole),5:F1} %  {wall.TotalMilliseconds,10:F2} ms  {cpu.TotalMilliseconds,10:F2} cpu ms  {calls,6} calls  {op}");

    // The last part of a layer's name is its kind; the head has a kind of its own.
    private static string Kind(string op, LinearSite site) => op + " " + site.Name[(site.Name.LastIndexOf('.') + 1)..];

    private void Note(string op, Action action)
    {
        using Watch _ = Start(op);
        action();
    }

    private T Note<T>(string op, Func<T> function)
    {
        using Watch _ = Start(op);
        return function();
    }

    private Watch Start(string op)
    {
        if (!_spent.TryGetValue(op, out Spent? spent))
            _spent[op] = spent = new();
        return new(spent);
    }

    private sealed class Spent
    {
        public TimeSpan Wall, Cpu;
        public long Calls;
    }

    private readonly struct Watch(Spent spent) : IDisposable
    {
        private readonly TimeSpan _cpu = Environment.CpuUsage.TotalTime;
        private readonly long _start = Stopwatch.GetTimestamp();

        public void Dispose()
        {
            spent.Wall += Stopwatch.GetElapsedTime(_start);
            spent.Cpu += Environment.CpuUsage.TotalTime - _cpu;
            spent.Calls++;
        }
    }
}
