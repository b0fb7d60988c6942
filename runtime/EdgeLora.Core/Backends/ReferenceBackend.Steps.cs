namespace EdgeLora.Core;

// Low-rank steps, for Linear and Embed alike: they differ in A·x alone.
public sealed partial class ReferenceBackend
{
    /// <summary>A·(mask∘x) of a linear step for the rows of a group: [n, R].</summary>
    private static double[] Down(LowRankStep step, double[] x, int rows)
    {
        int inputs = x.Length / rows, rank = step.Rank;
        double[] a = Load(step.A, 0, rank), down = new double[rows * rank], row = new double[inputs];
        for (int t = 0; t < rows; t++)
        {
            for (int i = 0; i < inputs; i++)
                row[i] = Kept(step, t, i) * x[t * inputs + i];
            for (int r = 0; r < rank; r++)
                down[t * rank + r] = Dot(a.AsSpan(r * inputs, inputs), row);
        }
        return down;
    }

    /// <summary><c>dA += dDown·(mask∘x)ᵀ</c> where A trains, <c>dx += mask∘(Aᵀ·dDown)</c>.</summary>
    private static void DownBackward(LowRankStep step, double[] x, double[] dDown, double[] dx, int rows, double[]? dA)
    {
        int inputs = x.Length / rows, rank = step.Rank;
        double[] a = Load(step.A, 0, rank);
        for (int t = 0; t < rows; t++)
            for (int r = 0; r < rank; r++)
                for (int i = 0; i < inputs; i++)
                {
                    double d = Kept(step, t, i) * dDown[t * rank + r];
                    dx[t * inputs + i] += d * a[r * inputs + i];
                    if (dA is not null)
                        dA[r * inputs + i] += d * x[t * inputs + i];
                }
    }

    /// <summary>A's columns of the tokens: [n, R].</summary>
    private static double[] Down(LowRankStep step, ReadOnlySpan<int> tokens)
    {
        double[] down = new double[tokens.Length * step.Rank];
        for (int t = 0; t < tokens.Length; t++)
            for (int r = 0; r < step.Rank; r++)
                down[t * step.Rank + r] = Element(step.A, (long)r * step.A.Columns + tokens[t]);
        return down;
    }

    /// <summary>What dropout makes of input (row, column); a row counts from the start of its group.</summary>
    private static double Kept(LowRankStep step, int row, int column) => step.Dropout?.Factor(row, column) ?? 1;

    /// <summary><c>y += s·B·down + s·outputBias</c>: y [n, O] before the gain.</summary>
    private static void AddUp(LowRankStep step, double[] down, double[] y, int rows)
    {
        int outputs = y.Length / rows, rank = step.Rank;
        double[] b = Load(step.B, 0, outputs);
        double[]? offset = step.OutputBias is null ? null : Load(step.OutputBias, 0, 1);
        for (int t = 0; t < rows; t++)
            for (int o = 0; o < outputs; o++)
            {
                double up = offset is null ? 0 : offset[o];
                for (int r = 0; r < rank; r++)
                    up += b[o * rank + r] * down[t * rank + r];
                y[t * outputs + o] += step.Scale * up;
            }
    }

    /// <summary><c>y ← gain ∘ y</c>.</summary>
    private static void Gain(LowRankStep step, double[] y)
    {
        if (step.Gain is null)
            return;
        double[] gain = Load(step.Gain, 0, 1);
        for (int i = 0; i < y.Length; i++)
            y[i] *= gain[i % gain.Length];
    }

    /// <summary>
    /// Back through the steps, last first: dy [n, O] of what stands behind them becomes that of what stands before them. Returns, per step, the derivative of
    /// <paramref name="downs"/>: s·Bᵀ·dy [n, R].
    /// </summary>
    /// <param name="steps">Steps in path order.</param>
    /// <param name="downs">A·x of each step.</param>
    /// <param name="start">[n, O] before the first step; asked for where a gain trains.</param>
    /// <param name="dy">In: behind the last step; out: before the first.</param>
    /// <param name="rows">n.</param>
    /// <param name="sums">Takes dB, doutputBias and dgain.</param>
    private static double[][] StepsBackward(LowRankStep[] steps, double[][] downs, Func<double[]> start, double[] dy, int rows, Sums sums)
    {
        int outputs = dy.Length / rows;
        double[][] before = new double[steps.Length][];
        if (Array.Exists(steps, step => sums.Of(step.Gain) is not null))
        {
            double[] y = start();
            for (int k = 0; k < steps.Length; k++)
            {
                AddUp(steps[k], downs[k], y, rows);
                before[k] = (double[])y.Clone();
                Gain(steps[k], y);
            }
        }
        double[][] result = new double[steps.Length][];
        for (int k = steps.Length - 1; k >= 0; k--)
        {
            LowRankStep step = steps[k];
            int rank = step.Rank;
            double[]? dGain = sums.Of(step.Gain), dOffset = sums.Of(step.OutputBias), dB = sums.Of(step.B);
            for (int i = 0; dGain is not null && i < dy.Length; i++)
                dGain[i % outputs] += dy[i] * before[k][i];
            Gain(step, dy);
            double[] b = Load(step.B, 0, outputs), dDown = result[k] = new double[rows * rank];
            for (int t = 0; t < rows; t++)
                for (int o = 0; o < outputs; o++)
                {
                    double d = step.Scale * dy[t * outputs + o];
                    if (dOffset is not null)
                        dOffset[o] += d;
                    for (int r = 0; r < rank; r++)
                    {
                        dDown[t * rank + r] += d * b[o * rank + r];
                        if (dB is not null)
                            dB[o * rank + r] += d * downs[k][t * rank + r];
                    }
                }
        }
        return result;
    }
}
