using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

// The control block's part that ops share: rows, their paths and sequences. Layout: shaders/common/batch.glsl.
public sealed unsafe partial class VulkanBackend
{
    private const int BatchHeader = 4, RowWords = 6, SequenceWords = 6;

    /// <summary>Bytes of the control block that say where a session of one row stands.</summary>
    internal const int SessionBytes = (RowWords + SequenceWords) * sizeof(uint);

    /// <summary>The batch's address in this frame's control block: written where it changed since it was last asked for.</summary>
    private ulong Batch(BatchLayout batch)
    {
        for (int i = _batches.Count - 1; i >= 0; i--)
            if (ReferenceEquals(_batches[i].Batch, batch) && _batches[i].Version == batch.Version)
                return _batches[i].Address;
        int sequencesAt = BatchHeader + RowWords * batch.Rows, count = sequencesAt + SequenceWords * batch.Sequences.Length;
        // Tables first: they may be new, and then all before them is waited for.
        foreach (RowGroup group in batch.Groups)
            _tables.Of(group.Path);
        Span<uint> words = MemoryMarshal.Cast<byte, uint>(_frames[_current].Control.Take(count * sizeof(uint), out ulong address));
        (words[0], words[1], words[2], words[3]) = ((uint)batch.Rows, (uint)batch.Sequences.Length, (uint)sequencesAt, 0);
        foreach (RowGroup group in batch.Groups)
        {
            ulong path = _tables.Of(group.Path);
            for (int i = 0; i < group.Count; i++)
            {
                Span<uint> row = words.Slice(BatchHeader + RowWords * (group.Start + i), RowWords);
                (row[0], row[1], row[2], row[3], row[4], row[5]) =
                    ((uint)batch.Tokens[group.Start + i], (uint)batch.Positions[group.Start + i], (uint)path, (uint)(path >> 32), 0, (uint)i);
            }
        }
        for (int s = 0; s < batch.Sequences.Length; s++)
        {
            SequenceSpan sequence = batch.Sequences[s];
            ulong cache = _tables.Of(sequence.Cache);
            Span<uint> to = words.Slice(sequencesAt + SequenceWords * s, SequenceWords);
            (to[0], to[1], to[2], to[3], to[4], to[5]) = ((uint)sequence.Start, (uint)sequence.Count, (uint)sequence.Past, 0, (uint)cache, (uint)(cache >> 32));
            for (int t = sequence.Start; t < sequence.Start + sequence.Count; t++)
                words[BatchHeader + RowWords * t + 4] = (uint)s;
        }
        _batches.Add((batch, batch.Version, address));
        return address;
    }
}
