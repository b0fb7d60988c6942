using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>The order in which each epoch takes the examples. It depends on count, seed and epoch alone, so a run goes on from an epoch and a position without its history, on any machine.</summary>
/// <param name="count">Number of examples.</param>
/// <param name="seed">Any number; another one gives another order.</param>
/// <param name="shuffle">False takes the examples as they stand.</param>
public sealed class ExampleOrder(int count, int seed, bool shuffle)
{
    private (int Epoch, int[] Order)? _current;

    /// <summary>Number of examples.</summary>
    public int Count => count;

    /// <summary>The index of the example that stands at <paramref name="position"/> of <paramref name="epoch"/>, both from 0.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Outside the epoch.</exception>
    public int this[int epoch, int position]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(epoch);
            ArgumentOutOfRangeException.ThrowIfNegative(position);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(position, count);
            if (!shuffle)
                return position;
            if (_current?.Epoch != epoch)
                _current = (epoch, Permutation(count, seed, epoch));
            return _current.Value.Order[position];
        }
    }

    /// <summary>A shuffled 0 … count−1 (Fisher and Yates). Stream −1 is the validation split's; epochs count from 0.</summary>
    internal static int[] Permutation(int count, int seed, int stream)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        Xoshiro256 random = new((ulong)(uint)seed << 32 | (uint)stream);
        for (int i = count - 1; i > 0; i--)
        {
            int j = random.NextBelow(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }
}
