using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Vectors at the end of a row that has no whole vector left: the missing lanes are 0.</summary>
internal static unsafe class Partial<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>The first <paramref name="count"/> lanes from <paramref name="p"/>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static V Load(float* p, int count)
    {
        V v = O.Zero;
        for (int i = 0; i < count; i++)
            ((float*)&v)[i] = p[i];
        return v;
    }

    /// <summary>The first <paramref name="count"/> elements of an unblocked weight type.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static V Load<W>(byte* p, int count) where W : struct, IWeightType
    {
        byte* padded = stackalloc byte[64];
        Unsafe.InitBlockUnaligned(padded, 0, 64);
        Unsafe.CopyBlockUnaligned(padded, p, (uint)(count * W.ElementBytes));
        return W.Load<O, V>(padded, 0, 0, default);
    }

    /// <summary>Stores the first <paramref name="count"/> lanes.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Store(V v, float* p, int count)
    {
        for (int i = 0; i < count; i++)
            p[i] = ((float*)&v)[i];
    }
}
