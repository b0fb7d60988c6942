using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The reference passes its own suite, and agrees with plain F64 loops that share no code with it.</summary>
public sealed class ReferenceConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = new ReferenceBackend();

    [Fact]
    public void A_linear_layer_with_two_steps_gains_and_bias_is_what_the_formula_says()
    {
        const int inputs = 7, outputs = 5, rank = 2, rows = 3;
        Tensor w = BackendCases.Weight(1, DType.F32, outputs, inputs), bias = BackendCases.Weight(2, DType.F32, outputs);
        Tensor a = BackendCases.Weight(3, DType.F32, rank, inputs), b = BackendCases.Weight(4, DType.F32, outputs, rank);
        Tensor gain = BackendCases.Weight(5, DType.F32, outputs), offset = BackendCases.Weight(6, DType.F32, outputs);
        HostTensor Host(Tensor t) => new(t);
        LowRankStep step = new(Host(a), Host(b), rank, 0.5f, Host(offset), Host(gain));
        SiteTable path = new([new SiteAdapter([step, step with { Scale = 2, Gain = null, OutputBias = null }])]);
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(path);
        DeviceTensor x = BackendCases.Buffer(Backend, 9, rows, inputs), y = Backend.Allocate("y", DType.F32, new Shape(rows, outputs));
        Backend.Linear(batch, new LinearSite("w", 0, Host(w), Host(bias), false), x, y);
        float[] input = BackendCases.Read(Backend, x), found = BackendCases.Read(Backend, y);
        for (int t = 0; t < rows; t++)
            for (int o = 0; o < outputs; o++)
            {
                double value = 0, delta = 0;
                for (int i = 0; i < inputs; i++)
                {
                    value += (double)w.Floats[o * inputs + i] * input[t * inputs + i];
                    for (int r = 0; r < rank; r++)
                        delta += (double)b.Floats[o * rank + r] * a.Floats[r * inputs + i] * input[t * inputs + i];
                }
                value = (value + 0.5 * (delta + offset.Floats[o])) * gain.Floats[o] + 2 * delta + bias.Floats[o];
                Assert.Equal(value, found[t * outputs + o], 1e-6);
            }
    }

    [Fact]
    public void Attention_of_one_visible_position_is_its_value()
    {
        float[] y = ForwardCases.Attention(Backend, new AttentionCase(4, 2, 8, 1, 3, 2), 2);
        float[] values = BackendCases.Random(6, 5 * 16);
        for (int t = 0; t < 2; t++)
            for (int h = 0; h < 4; h++)
                Assert.Equal(values[((3 + t) * 16 + h / 2 * 8)..((3 + t) * 16 + h / 2 * 8 + 8)], y[(t * 32 + h * 8)..(t * 32 + h * 8 + 8)]);
    }
}
