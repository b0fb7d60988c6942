using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Addresses of tensors. Their bytes lie in mapped files or pinned arrays and do not move; whoever takes one keeps the tensor alive.</summary>
internal static unsafe class Pointer
{
    /// <summary>The stored bytes, to be read.</summary>
    public static byte* Bytes(DeviceTensor tensor) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(((HostTensor)tensor).Bytes));

    /// <summary>F32 elements, to be read.</summary>
    public static float* In(DeviceTensor tensor) => (float*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(((HostTensor)tensor).ReadFloats));

    /// <summary>F32 elements of a buffer, to be written.</summary>
    public static float* Out(DeviceTensor tensor) => (float*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(((HostTensor)tensor).Floats));
}
