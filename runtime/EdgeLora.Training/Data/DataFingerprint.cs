using System.IO.Hashing;
using System.Runtime.InteropServices;

namespace EdgeLora.Training;

/// <summary>Tells whether two runs train on the same rows.</summary>
internal static class DataFingerprint
{
    /// <summary>XxHash128 over tokens, labels and segments of every row, 32 hex digits.</summary>
    public static string Of(IReadOnlyList<TrainingExample> examples)
    {
        XxHash128 hash = new();
        foreach (TrainingExample example in examples)
            foreach (int[] part in (int[][])[example.InputIds, example.Labels, example.SegmentLengths])
            {
                hash.Append(MemoryMarshal.AsBytes<int>([part.Length]));
                hash.Append(MemoryMarshal.AsBytes<int>(part));
            }
        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }
}
