using EdgeLora.Cpu;
using Xunit;

namespace EdgeLora.Tests.Backends;

public sealed class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(8)]
    public void Every_part_runs_exactly_once_in_every_region(int threads)
    {
        using WorkerPool pool = new(threads);
        int[] counts = new int[threads];
        Random random = new(threads);
        for (int i = 1; i <= 400; i++)
        {
            // Pauses of every length: workers spin, yield and park.
            if (i % 40 == 0)
                Thread.Sleep(random.Next(12));
            Run(pool, counts);
            for (int part = 0; part < threads; part++)
                Assert.Equal(i, counts[part]);
        }
    }

    [Fact]
    public void An_exception_in_any_part_reaches_the_caller_and_the_pool_lives_on()
    {
        using WorkerPool pool = new(3);
        for (int part = 0; part < 3; part++)
            Assert.Equal($"part {part}", Assert.Throws<InvalidOperationException>(() => RunThrowing(pool, part)).Message);
        int[] counts = new int[3];
        Run(pool, counts);
        Assert.Equal([1, 1, 1], counts);
    }

    [Fact]
    public void Dispose_joins_and_a_region_after_it_is_refused()
    {
        WorkerPool pool = new(3);
        pool.Dispose();
        pool.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Run(pool, new int[3]));
    }

    [Fact]
    public async Task Regions_of_several_host_threads_never_overlap()
    {
        using WorkerPool pool = new(2);
        int[] counts = new int[2];
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 500; i++)
                Run(pool, counts);
        })));
        Assert.Equal([2000, 2000], counts);
    }

    [Fact]
    public void A_region_allocates_nothing_on_any_thread()
    {
        using WorkerPool pool = new(2);
        int[] counts = new int[2];
        for (int i = 0; i < 200; i++)
            Run(pool, counts);
        long best = long.MaxValue;
        // Other tests may allocate meanwhile: one quiet round is the proof.
        for (int round = 0; round < 200 && best > 0; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 50; i++)
                Run(pool, counts);
            best = Math.Min(best, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.Equal(0, best);
    }

    [Fact]
    public void Parts_cover_all_units_once()
    {
        foreach (int count in (int[])[0, 1, 2, 7, 100])
            foreach (int parts in (int[])[1, 2, 3, 8])
            {
                int next = 0;
                for (int part = 0; part < parts; part++)
                {
                    (int start, int end) = WorkerPool.Split(count, part, parts);
                    Assert.Equal(next, start);
                    next = end;
                }
                Assert.Equal(count, next);
            }
    }

    private static unsafe void Run(WorkerPool pool, int[] counts) => pool.Run(&Count, counts);

    private static unsafe void RunThrowing(WorkerPool pool, int part) => pool.Run(&Throw, part);

    private static void Count(object context, int part, int parts) => ((int[])context)[part]++;

    private static void Throw(object context, int part, int parts)
    {
        if (part == (int)context)
            throw new InvalidOperationException($"part {part}");
    }
}
