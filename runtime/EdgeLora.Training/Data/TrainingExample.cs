using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>One row of training data.</summary>
/// <param name="InputIds">[T] tokens.</param>
/// <param name="Labels">[T]: label t belongs to token t, the loss shifts; -100 carries none.</param>
/// <param name="SegmentLengths">Lengths of the independent sequences in it: one unless packed. A segment sees only itself, its positions restart, its first label is not predicted.</param>
/// <param name="Input">For an encoder, what is read where it is more than tokens: token types, padding, an image. One segment, of which the first label is the class.</param>
public sealed record TrainingExample(int[] InputIds, int[] Labels, int[] SegmentLengths, EncoderInput? Input = null)
{
    /// <summary>The label of a token without loss.</summary>
    public const int Ignored = -100;

    /// <summary>One sequence and its class, for an encoder.</summary>
    public static TrainingExample OfClass(EncoderInput input, int label) => new([], [label], [1], input);

    /// <summary>Tokens that carry loss: labelled ones but each segment's first.</summary>
    public int Targets
    {
        get
        {
            int count = 0, start = 0;
            foreach (int length in SegmentLengths)
            {
                for (int t = 1; t < length; t++)
                    count += Labels[start + t] == Ignored ? 0 : 1;
                start += length;
            }
            return count;
        }
    }
}
