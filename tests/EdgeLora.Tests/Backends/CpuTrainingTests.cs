using EdgeLora.Core;
using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

public sealed class CpuTrainingTests
{
    [Fact]
    public void Nothing_is_allocated_in_training_once_warm()
    {
        using CpuBackend backend = new(2);
        List<Action> ops = [];
        foreach (BackwardCase c in (BackwardCase[])
            [
                BackwardCases.Linear(backend, new(DType.F32, 257, 300, 64, false, PathKind.Mixed, true), 0.1), BackwardCases.Linear(backend, new(DType.Q8_0, 256, 300, 9, false, PathKind.Mixed, true)),
                BackwardCases.Linear(backend, new(DType.F32, 257, 300, 9, true, PathKind.Mixed, true)), BackwardCases.Embed(backend, DType.F32, 256, 64),
                BackwardCases.Norm(backend, 257, 64, 1, layer: true), BackwardCases.Norm(backend, 64, 64, 3, layer: false), BackwardCases.Rope(backend, RopePairs.Halves, 64, 32, 64),
                BackwardCases.Attention(backend, new(4, 2, 64, 0, 0, 64)), BackwardCases.Activate(backend, Activation.Gelu, 257, 64), BackwardCases.GatedActivation(backend, Activation.Silu, 257, 64), BackwardCases.CrossEntropy(backend, 1000, 17),
            ])
            ops.Add(c.Backward);
        ops.Add(BackwardCases.Linear(backend, new(DType.F32, 257, 300, 64, false, PathKind.Mixed, true), 0.1).Forward);
        DeviceTensor p = BackendCases.Buffer(backend, 1, 100, 300), g = BackendCases.Buffer(backend, 2, 100, 300), m = BackendCases.Buffer(backend, 3, 100, 300), v = BackendCases.Buffer(backend, 4, 100, 300);
        ops.Add(() => backend.AdamW(p, g, m, v, new AdamWStep(0.001, 0.9, 0.999, 1e-8, 0.1, 3, 1)));
        ops.Add(() => backend.Sgd(p, g, 0.001, 0, 1));
        ops.Add(() => backend.SumOfSquares(p));
        ops.Add(() => backend.Clear(100, g));
        CpuBackendTests.NoneAllocates(ops);
    }

    [Fact]
    public void Attention_s_backward_refuses_a_sequence_with_a_past()
    {
        using CpuBackend backend = new(1);
        using KvBuffer cache = new(backend, 1, 4, 4);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 2);
        batch.Add(0, SiteTable.Base);
        DeviceTensor q = BackendCases.Buffer(backend, 1, 1, 4);
        Assert.Contains("found 2", Assert.Throws<ArgumentException>(() => backend.AttentionBackward(batch, 0, new AttentionShape(1, 1, 4, 1, 0), q, q, q, q, q)).Message);
    }
}
