using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Tensors of random numbers from one seed: the same numbers for the same calls in the same order.</summary>
internal sealed class RandomTensors(long seed)
{
    private readonly Xoshiro256 _random = new((ulong)seed);
    private double _spare = double.NaN;

    /// <summary>Uniform in ±<paramref name="bound"/>.</summary>
    public float[] Uniform(long count, double bound)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)((2 * _random.NextDouble() - 1) * bound);
        return values;
    }

    /// <summary>Normal with mean 0 and <paramref name="deviation"/>, by Box and Muller.</summary>
    public float[] Normal(long count, double deviation)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)(Normal() * deviation);
        return values;
    }

    private double Normal()
    {
        if (!double.IsNaN(_spare))
        {
            double spare = _spare;
            _spare = double.NaN;
            return spare;
        }
        // 1 - u lies in (0, 1]: its logarithm is finite.
        double radius = Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())), angle = 2 * Math.PI * _random.NextDouble();
        _spare = radius * Math.Sin(angle);
        return radius * Math.Cos(angle);
    }
}
