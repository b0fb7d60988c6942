using System.Diagnostics;

namespace EdgeLora.Core;

// The loss, and the optimizers.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Clear(int rows, DeviceTensor x) => Store(new double[rows * x.Columns], x, 0);

    /// <inheritdoc/>
    public void CrossEntropy(DeviceTensor logits, ReadOnlySpan<int> labels, ReadOnlySpan<float> scales, DeviceTensor losses)
    {
        Debug.Assert(labels.Length == scales.Length, "one scale for each label");
        for (int t = 0; t < labels.Length; t++)
        {
            double[] z = Load(logits, t, 1);
            double loss = 0;
            if (labels[t] < 0)
            {
                Array.Clear(z);
            }
            else
            {
                double max = z.Max(), at = z[labels[t]], sum = 0;
                for (int i = 0; i < z.Length; i++)
                    sum += z[i] = Math.Exp(z[i] - max);
                loss = Math.Log(sum) + max - at;
                for (int i = 0; i < z.Length; i++)
                    z[i] = scales[t] * (z[i] / sum - (i == labels[t] ? 1 : 0));
            }
            Store(z, logits, t);
            Store([loss], losses, t);
        }
    }

    /// <inheritdoc/>
    public double SumOfSquares(DeviceTensor x)
    {
        double[] values = All(x);
        return Dot(values, values);
    }

    /// <inheritdoc/>
    public void AdamW(DeviceTensor parameter, DeviceTensor gradient, DeviceTensor m, DeviceTensor v, in AdamWStep step)
    {
        double[] p = All(parameter), g = All(gradient), first = All(m), second = All(v);
        double rate = step.LearningRate / (1 - Math.Pow(step.Beta1, step.Step)), root = Math.Sqrt(1 - Math.Pow(step.Beta2, step.Step));
        for (int i = 0; i < p.Length; i++)
        {
            double d = g[i] * step.GradientScale;
            first[i] = step.Beta1 * first[i] + (1 - step.Beta1) * d;
            second[i] = step.Beta2 * second[i] + (1 - step.Beta2) * d * d;
            p[i] = p[i] * (1 - step.LearningRate * step.WeightDecay) - rate * first[i] / (Math.Sqrt(second[i]) / root + step.Epsilon);
        }
        Store(p, parameter, 0);
        Store(first, m, 0);
        Store(second, v, 0);
    }

    /// <inheritdoc/>
    public void Sgd(DeviceTensor parameter, DeviceTensor gradient, double learningRate, double weightDecay, double gradientScale)
    {
        double[] p = All(parameter), g = All(gradient);
        for (int i = 0; i < p.Length; i++)
            p[i] -= learningRate * (g[i] * gradientScale + weightDecay * p[i]);
        Store(p, parameter, 0);
    }

    private static double[] All(DeviceTensor tensor) => Load(tensor, 0, checked((int)tensor.Shape.Rows));
}
