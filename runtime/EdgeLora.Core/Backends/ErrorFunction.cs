namespace EdgeLora.Core;

/// <summary>erf in F64, for the exact GELU.</summary>
public static class ErrorFunction
{
    /// <summary>erf(x) to about 1e-15: the Maclaurin series below 2.5, a continued fraction of erfc above (Abramowitz and Stegun 7.1.6, 7.1.14).</summary>
    public static double Erf(double x)
    {
        double a = Math.Abs(x);
        if (double.IsNaN(x) || a > 6)
            return double.IsNaN(x) ? x : Math.Sign(x);
        if (a < 2.5)
        {
            double term = a, sum = a;
            for (int n = 1; n < 100 && term > sum * 1e-17; n++)
                sum += term *= 2 * a * a / (2 * n + 1);
            return Math.Sign(x) * 2 / Math.Sqrt(Math.PI) * Math.Exp(-a * a) * sum;
        }
        double fraction = a;
        for (int n = 80; n >= 1; n--)
            fraction = a + n / 2.0 / fraction;
        return Math.Sign(x) * (1 - Math.Exp(-a * a) / Math.Sqrt(Math.PI) / fraction);
    }
}
