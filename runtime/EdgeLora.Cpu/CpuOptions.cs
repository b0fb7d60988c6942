namespace EdgeLora.Cpu;

/// <summary>How the CPU device computes.</summary>
public sealed record CpuOptions
{
    /// <summary>Threads, the caller's included; 0: one for each core.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Whether linear layers in Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K and Q5_K read their inputs rounded to whole numbers, as llama.cpp always does: of every 32 inputs the largest is 127, and for Q8_0 32767, where that
    /// costs nothing. Faster; results then differ from the exact ones, but as ever not between threads, batches or vectors. Other types, adapters, attention and norms stay F32. Such a device does not train. False: exact.
    /// </summary>
    public bool Int8Activations { get; init; }
}
