using System.Runtime.InteropServices;

namespace EdgeLora.Native;

/// <summary>What a text was given for. A text lasts until this thread is given another for the same.</summary>
internal enum ThreadTextSlot
{
    Error,
    NodePath,
    NodeForm,
    NodeFaults,
    EventNode,
    EventFaults,
    SessionNode,
    Count,
}

/// <summary>The texts that a thread was given last, in memory that C can read.</summary>
internal sealed unsafe class ThreadText
{
    [ThreadStatic]
    private static ThreadText? s_mine;

    private readonly byte*[] _texts = new byte*[(int)ThreadTextSlot.Count];

    // Runs when the thread has ended.
    ~ThreadText()
    {
        foreach (byte* text in _texts)
            NativeMemory.Free(text);
    }

    /// <summary>Keeps a text for this thread.</summary>
    public static byte* Keep(ThreadTextSlot slot, string text)
    {
        ThreadText mine = s_mine ??= new();
        int bytes = Utf8.ByteCount(text);
        byte* kept = (byte*)NativeMemory.Realloc(mine._texts[(int)slot], (nuint)bytes + 1);
        mine._texts[(int)slot] = kept;
        Utf8.Write(text, new Span<byte>(kept, bytes));
        kept[bytes] = 0;
        return kept;
    }

    /// <summary>What was kept last; null before anything was.</summary>
    public static byte* Get(ThreadTextSlot slot) => s_mine is { } mine ? mine._texts[(int)slot] : null;
}
