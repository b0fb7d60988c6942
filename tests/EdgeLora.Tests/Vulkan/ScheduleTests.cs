using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>Barriers from declared reads and writes: no validation layer sees these hazards.</summary>
public sealed class ScheduleTests
{
    private const ulong A = 0x100, B = 0x200, C = 0x300, D = 0x400;

    private static readonly Kernel s_kernel = new(0, "none", default);

    [Fact]
    public void A_read_waits_for_the_write_before_it() => Assert.Equal([0, 1], Levels([Write(A)], [Read(A), Write(B)]));

    [Fact]
    public void A_write_waits_for_the_reads_and_the_write_before_it() => Assert.Equal([0, 1, 1, 2, 3], Levels([Write(A)], [Read(A), Write(B)], [Read(A), Write(C)], [Write(A)], [Write(A)]));

    [Fact]
    public void Reads_do_not_wait_for_each_other() => Assert.Equal([0, 0, 0], Levels([Read(A), Write(B)], [Read(A), Write(C)], [Read(A), Write(D)]));

    [Fact]
    public void What_does_not_depend_moves_up_and_keeps_its_order()
    {
        // Three products that share an input run side by side although their consumers were enqueued between them.
        Assert.Equal([0, 1, 0, 1, 2], Levels([Read(A), Write(B)], [Read(B), Write(C)], [Read(A), Write(D)], [Read(D), Write(D)], [Read(C), Read(D)]));
    }

    [Fact]
    public void Reading_what_paths_point_to_waits_for_a_write_of_an_adapter_s_tensor_and_for_no_other() =>
        Assert.Equal([0, 1, 0], Levels([new(A | Access.WriteBit | Access.IndirectBit)], [Access.Indirect, Read(B), Write(C)], [Write(D)]));

    [Fact]
    public void Writing_an_adapter_s_tensor_waits_for_those_who_may_read_it() =>
        Assert.Equal([0, 1], Levels([Access.Indirect, Write(B)], [new(A | Access.WriteBit | Access.IndirectBit)]));

    [Fact]
    public void A_barrier_parts_all_before_it_from_all_behind_it()
    {
        CommandList list = new();
        Add(list, [Write(A)]);
        Add(list, [Read(A), Write(B)]);
        list.AddBarrier();
        Add(list, [Write(C)]);
        Assert.Equal([0, 1, 2], Schedule.Of(list.Bytes).Select(s => s.Level));
    }

    [Fact]
    public void Push_constants_come_back_as_they_went_in()
    {
        CommandList list = new();
        list.Add(s_kernel, (1, 2UL), 3, 4, 5, [Read(A)]);
        list.Add(s_kernel, 7, 1, 1, 1, [Write(A)]);
        Scheduled second = Schedule.Of(list.Bytes)[1];
        CommandHeader header = System.Runtime.InteropServices.MemoryMarshal.Read<CommandHeader>(list.Bytes[second.At..]);
        Assert.Equal(7, BitConverter.ToInt32(Schedule.Push(list.Bytes, second.At, header)));
        Assert.Equal(1, second.Level);
    }

    // Random lists: whatever order the levels give, no conflicting pair shares a level or changes places.
    [Fact]
    public void Of_two_dispatches_in_conflict_the_first_always_has_the_lower_level()
    {
        Random random = new(5);
        for (int round = 0; round < 200; round++)
        {
            CommandList list = new();
            List<Access[]> all = [];
            for (int i = 0; i < 30; i++)
            {
                Access[] accesses = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => new Access((ulong)random.Next(1, 8) << 8 | (random.Next(3) == 0 ? Access.WriteBit : 0)))];
                all.Add(accesses);
                Add(list, accesses);
            }
            int[] levels = [.. Schedule.Of(list.Bytes).OrderBy(s => s.At).Select(s => s.Level)];
            for (int j = 0; j < all.Count; j++)
                for (int i = 0; i < j; i++)
                    if (all[i].Any(a => all[j].Any(b => a.Bits >> 8 == b.Bits >> 8 && ((a.Bits | b.Bits) & Access.WriteBit) != 0)))
                        Assert.True(levels[i] < levels[j], $"round {round}: {i} and {j}");
        }
    }

    private static Access Read(ulong address) => new(address);

    private static Access Write(ulong address) => new(address | Access.WriteBit);

    private static void Add(CommandList list, Access[] accesses) => list.Add(s_kernel, 0, 1, 1, 1, accesses);

    // In the order in which they were enqueued.
    private static int[] Levels(params Access[][] dispatches)
    {
        CommandList list = new();
        foreach (Access[] accesses in dispatches)
            Add(list, accesses);
        Scheduled[] scheduled = Schedule.Of(list.Bytes);
        Assert.All(scheduled.Zip(scheduled.Skip(1)), pair => Assert.True(pair.First.Level < pair.Second.Level || (pair.First.Level == pair.Second.Level && pair.First.At < pair.Second.At)));
        return [.. scheduled.OrderBy(s => s.At).Select(s => s.Level)];
    }
}
