using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>One linear case on a backend, made once for all that is asked of it.</summary>
public sealed class LinearForward(IComputeBackend backend, LinearCase c)
{
    /// <summary>What stands in the output before it runs.</summary>
    public const float Untouched = 7;

    private readonly SiteTable[] _paths = BackendCases.Paths(backend, c);
    private readonly LinearSite _site = BackendCases.Site(backend, c);
    private readonly float[] _x = BackendCases.Random(3, (long)c.Rows * c.Inputs);

    /// <summary>Runs rows [<paramref name="first"/>, first + <paramref name="count"/>) of its batch into a buffer of <paramref name="bufferRows"/> rows, or of as many as there are.</summary>
    public float[] Run(int first, int count, int bufferRows = 0)
    {
        DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(count, c.Inputs));
        backend.Write(_x.AsSpan(first * c.Inputs, count * c.Inputs), x, 0);
        DeviceTensor y = backend.Allocate("y", DType.F32, new Shape(Math.Max(count, bufferRows), c.Outputs));
        float[] old = new float[y.Shape.Elements];
        Array.Fill(old, Untouched);
        backend.Write(old, y, 0);
        BatchLayout batch = new();
        BackendCases.Fill(batch, _paths, first, count);
        backend.Linear(batch, _site, x, y);
        return BackendCases.Read(backend, y);
    }
}
