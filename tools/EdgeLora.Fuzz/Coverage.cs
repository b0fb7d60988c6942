using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeLora.Fuzz;

/// <summary>
/// The trace of instrumented code in this process: a cell for each pair of branches (SharpFuzz, as AFL has it), counted by each input. New is a cell, or a count of another order of magnitude, that no input had before.
/// </summary>
internal sealed unsafe class Coverage
{
    /// <summary>Cells of the trace.</summary>
    public const int Cells = 1 << 16;

    private readonly byte* _trace = SharpFuzz.Common.Trace.SharedMem;
    private readonly byte[] _seen = new byte[Cells];

    /// <summary>Gives the instrumented code its memory, before anything of it runs: a static field of ours may be made by it.</summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "a program, not a library")]
    internal static void Arm() => SharpFuzz.Common.Trace.SharedMem = (byte*)NativeMemory.AllocZeroed(Cells);

    /// <summary>Cells that were reached since the start.</summary>
    public int Reached { get; private set; }

    /// <summary>Before an input.</summary>
    public void Begin()
    {
        new Span<byte>(_trace, Cells).Clear();
        SharpFuzz.Common.Trace.PrevLocation = 0;
    }

    /// <summary>After an input: whether it reached what none reached before.</summary>
    public bool End()
    {
        bool isNew = false;
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(new ReadOnlySpan<byte>(_trace, Cells));
        for (int w = 0; w < words.Length; w++)
        {
            if (words[w] == 0)
                continue;
            for (int i = 8 * w; i < 8 * w + 8; i++)
            {
                if (_trace[i] == 0)
                    continue;
                // 1, 2..3, 4..7 and so on: a bit each.
                byte bit = (byte)(1 << BitOperations.Log2(_trace[i]));
                if ((_seen[i] & bit) != 0)
                    continue;
                if (_seen[i] == 0)
                    Reached++;
                _seen[i] |= bit;
                isNew = true;
            }
        }
        return isNew;
    }
}
