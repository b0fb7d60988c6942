using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Weights of the block types that no kernel reads as stored (<see cref="DTypes.HasKernels"/>): widened by <see cref="Dequantize"/>, block by block, as they are read.</summary>
internal static unsafe class WidenBlocks
{
    private const int LargestBlock = 256;

    /// <summary>Elements [<paramref name="first"/>, first + <paramref name="count"/>) of the row that begins at <paramref name="row"/>, which may begin and end within a block.</summary>
    public static void Run(DType type, byte* row, int first, int count, float* destination)
    {
        int block = type.BlockSize(), bytes = type.BlockBytes();
        float* whole = stackalloc float[LargestBlock];
        while (count > 0)
        {
            int skip = first % block, blocks = skip == 0 ? count / block : 0, taken = blocks > 0 ? blocks * block : Math.Min(block - skip, count);
            byte* source = row + (long)(first / block) * bytes;
            if (blocks > 0)
            {
                Dequantize.ToFloats(type, new(source, blocks * bytes), new(destination, taken));
            }
            else
            {
                Dequantize.ToFloats(type, new(source, bytes), new(whole, block));
                new ReadOnlySpan<float>(whole + skip, taken).CopyTo(new(destination, taken));
            }
            first += taken;
            destination += taken;
            count -= taken;
        }
    }
}
