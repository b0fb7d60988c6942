using EdgeLora.Core;

namespace EdgeLora.Vulkan;

/// <summary>Bytes of a stored tensor as they lie on the device and back. Quantised blocks are cut into a plane of quants and a plane of scales, so that quants are whole words.</summary>
internal static class StoredLayout
{
    /// <summary>Bytes on the device.</summary>
    public static long Bytes(DType type, long elements) => type.Bytes(elements);

    /// <summary>File order to device order.</summary>
    public static void ToDevice(DType type, ReadOnlySpan<byte> stored, Span<byte> device)
    {
        int quants = Quants(type);
        if (quants == 0)
        {
            stored.CopyTo(device);
            return;
        }
        int block = quants + 2, count = stored.Length / block;
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> source = stored.Slice(i * block, block);
            source[2..].CopyTo(device[(i * quants)..]);
            source[..2].CopyTo(device[(count * quants + i * 2)..]);
        }
    }

    /// <summary>Device order to file order.</summary>
    public static void FromDevice(DType type, ReadOnlySpan<byte> device, Span<byte> stored)
    {
        int quants = Quants(type);
        if (quants == 0)
        {
            device[..stored.Length].CopyTo(stored);
            return;
        }
        int block = quants + 2, count = stored.Length / block;
        for (int i = 0; i < count; i++)
        {
            Span<byte> destination = stored.Slice(i * block, block);
            device.Slice(i * quants, quants).CopyTo(destination[2..]);
            device.Slice(count * quants + i * 2, 2).CopyTo(destination);
        }
    }

    private static int Quants(DType type) => type switch
    {
        DType.Q8_0 => 32,
        DType.Q4_0 => 16,
        _ => 0,
    };
}
