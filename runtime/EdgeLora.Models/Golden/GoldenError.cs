namespace EdgeLora.Models;

/// <summary>One comparison with a reference tensor.</summary>
/// <param name="Tensor">Name in expected.safetensors.</param>
/// <param name="Error">max|a-b| / max|b| over the tensor; for token ids the number that differ.</param>
/// <param name="Tolerance">What was asked for.</param>
public sealed record GoldenError(string Tensor, double Error, double Tolerance)
{
    /// <summary>True within tolerance; NaN never is.</summary>
    public bool Passed => Error <= Tolerance;

    /// <summary>max|a-b| / max|b|.</summary>
    public static double Relative(ReadOnlySpan<float> found, ReadOnlySpan<float> expected)
    {
        double worst = 0, largest = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double d = Math.Abs((double)found[i] - expected[i]);
            if (!(d <= worst))
                worst = d;
            largest = Math.Max(largest, Math.Abs(expected[i]));
        }
        return worst / Math.Max(largest, 1e-30);
    }
}
