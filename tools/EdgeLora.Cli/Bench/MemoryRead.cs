using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;

namespace EdgeLora.Cli.Bench;

/// <summary>How fast the host reads memory: all processors sum up a buffer that no cache holds.</summary>
internal sealed class MemoryRead
{
    private readonly ulong[] _buffer;
    private readonly int _threads;
    private readonly ulong[] _sums;

    /// <summary>A buffer of so many bytes, each page written, for so many threads.</summary>
    public MemoryRead(int bytes, int threads)
    {
        _buffer = GC.AllocateUninitializedArray<ulong>(bytes / sizeof(ulong));
        Array.Fill(_buffer, 1UL);
        _threads = threads;
        _sums = new ulong[threads];
    }

    /// <summary>Bytes of one pass.</summary>
    public long Bytes => (long)_buffer.Length * sizeof(ulong);

    /// <summary>Reads everything so many times. Returns seconds.</summary>
    public double Run(int passes)
    {
        long start = Stopwatch.GetTimestamp();
        for (int pass = 0; pass < passes; pass++)
            Parallel.For(0, _threads, new ParallelOptions { MaxDegreeOfParallelism = _threads }, Sum);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        // The sums are wanted, or the reading could be left out.
        ulong sum = _sums.Aggregate(0UL, (x, y) => x + y);
        return sum == (ulong)_buffer.Length ? seconds : throw new InvalidOperationException($"the sum of {_buffer.Length} ones came out as {sum}");
    }

    private void Sum(int thread)
    {
        int from = (int)((long)_buffer.Length * thread / _threads), to = (int)((long)_buffer.Length * (thread + 1) / _threads);
        ReadOnlySpan<ulong> own = _buffer.AsSpan(from, to - from);
        ReadOnlySpan<Vector<ulong>> vectors = MemoryMarshal.Cast<ulong, Vector<ulong>>(own);
        Vector<ulong> a = default, b = default, c = default, d = default;
        int i = 0;
        for (; i + 3 < vectors.Length; i += 4)
        {
            a += vectors[i];
            b += vectors[i + 1];
            c += vectors[i + 2];
            d += vectors[i + 3];
        }
        ulong sum = Vector.Sum(a + b + (c + d));
        for (int j = i * Vector<ulong>.Count; j < own.Length; j++)
            sum += own[j];
        _sums[thread] = sum;
    }
}
