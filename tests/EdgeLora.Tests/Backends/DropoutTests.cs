using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The mask of dropout.</summary>
public sealed class DropoutTests
{
    [Fact]
    public void The_share_that_is_dropped_is_the_probability_and_the_mean_stays()
    {
        Dropout dropout = new(0.1) { Seed = 7 };
        int dropped = 0;
        double sum = 0;
        for (int row = 0; row < 1000; row++)
            for (int column = 0; column < 1000; column++)
            {
                float factor = dropout.Factor(row, column);
                Assert.True(factor is 0 or (float)(1 / 0.9));
                dropped += factor == 0 ? 1 : 0;
                sum += factor;
            }
        // Five standard deviations of a million draws.
        Assert.InRange(dropped, 98_500, 101_500);
        Assert.InRange(sum / 1e6, 0.998, 1.002);
    }

    [Fact]
    public void The_mask_is_its_seed_s_and_no_row_repeats_another()
    {
        string Mask(ulong seed, int row)
        {
            Dropout dropout = new(0.5) { Seed = seed };
            return string.Concat(Enumerable.Range(0, 256).Select(column => dropout.Factor(row, column) == 0 ? '0' : '1'));
        }
        Assert.Equal(Mask(1, 5), Mask(1, 5));
        Assert.Equal(200, Enumerable.Range(0, 100).SelectMany(row => (string[])[Mask(1, row), Mask(2, row)]).Distinct().Count());
    }

    [Fact]
    public void A_probability_of_one_is_refused() => Assert.Contains("below 1", Assert.Throws<ArgumentOutOfRangeException>(() => new Dropout(1)).Message);

    [Fact]
    public void A_mask_row_is_its_factors()
    {
        Dropout dropout = new(0.3) { Seed = 42 };
        float[] x = BackendCases.Random(1, 1003), y = new float[1003];
        foreach (int row in (int[])[0, 1, 70_000])
        {
            dropout.Apply(row, x, y);
            for (int i = 0; i < x.Length; i++)
                Assert.Equal(x[i] * dropout.Factor(row, i), y[i]);
        }
    }
}
