using System.Runtime.InteropServices;

namespace EdgeLora.Vulkan;

/// <summary>A dispatch of a list with the level it may run at.</summary>
/// <param name="Level">Dispatches of one level do not depend on each other; a barrier stands between levels.</param>
/// <param name="At">Byte of the list where its header begins.</param>
internal readonly record struct Scheduled(int Level, int At);

/// <summary>
/// Barriers from declared reads and writes: a dispatch's level is one above the highest that it must wait for (a write waits for reads and writes of the tensor before it, a read
/// for writes). Validation sees no hazard through buffer device addresses, so this is what keeps them away.
/// </summary>
internal static class Schedule
{
    private const ulong Tensor = ~255UL;

    /// <summary>Dispatches in an order to record, by level, else as they came.</summary>
    public static Scheduled[] Of(ReadOnlySpan<byte> list)
    {
        List<Scheduled> result = [];
        Dictionary<ulong, (int Read, int Write)> last = [];
        int floor = 0, top = -1;
        for (int at = 0; at < list.Length;)
        {
            CommandHeader header = MemoryMarshal.Read<CommandHeader>(list[at..]);
            ReadOnlySpan<Access> accesses = Accesses(list, at, header);
            if (header.Kernel == CommandHeader.Barrier)
            {
                floor = top + 1;
            }
            else
            {
                int level = floor;
                foreach (Access access in accesses)
                    level = Math.Max(level, Earliest(last, access));
                foreach (Access access in accesses)
                    Note(last, access, level);
                top = Math.Max(top, level);
                result.Add(new(level, at));
            }
            at = End(at, header);
        }
        return [.. result.OrderBy(s => s.Level)];
    }

    /// <summary>Push constants of the dispatch whose header begins at <paramref name="at"/>.</summary>
    public static ReadOnlySpan<byte> Push(ReadOnlySpan<byte> list, int at, in CommandHeader header) => list.Slice(at + Marshal.SizeOf<CommandHeader>(), header.PushBytes);

    private static ReadOnlySpan<Access> Accesses(ReadOnlySpan<byte> list, int at, in CommandHeader header) =>
        MemoryMarshal.Cast<byte, Access>(list.Slice(at + Marshal.SizeOf<CommandHeader>() + header.PushBytes, header.AccessCount * sizeof(ulong)));

    private static int End(int at, in CommandHeader header) => at + Marshal.SizeOf<CommandHeader>() + header.PushBytes + header.AccessCount * sizeof(ulong);

    private static int Earliest(Dictionary<ulong, (int Read, int Write)> last, Access access)
    {
        int level = 0;
        foreach (ulong resource in (ReadOnlySpan<ulong>)[access.Bits & Tensor, access.Bits & Access.IndirectBit])
            if (resource != 0 && last.TryGetValue(resource, out var before))
                level = Math.Max(level, 1 + ((access.Bits & Access.WriteBit) != 0 ? Math.Max(before.Read, before.Write) : before.Write));
        return level;
    }

    private static void Note(Dictionary<ulong, (int Read, int Write)> last, Access access, int level)
    {
        foreach (ulong resource in (ReadOnlySpan<ulong>)[access.Bits & Tensor, access.Bits & Access.IndirectBit])
        {
            if (resource == 0)
                continue;
            (int read, int write) = last.GetValueOrDefault(resource, (-1, -1));
            last[resource] = (access.Bits & Access.WriteBit) != 0 ? (read, Math.Max(write, level)) : (Math.Max(read, level), write);
        }
    }
}
