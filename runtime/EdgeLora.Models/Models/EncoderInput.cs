namespace EdgeLora.Models;

/// <summary>What an encoder reads as one row: tokens, or an image.</summary>
public sealed class EncoderInput
{
    private EncoderInput(int[] ids, int[]? mask, int[]? types, float[]? pixels) => (Ids, Mask, Types, Pixels) = (ids, mask, types, pixels);

    internal int[] Ids { get; }

    internal int[]? Mask { get; }

    internal int[]? Types { get; }

    internal float[]? Pixels { get; }

    /// <summary>Tokens.</summary>
    /// <param name="ids">[T] token ids, padding included.</param>
    /// <param name="mask">[T] 1, or 0 for padding, wherever it stands; null: no padding.</param>
    /// <param name="types">[T] token types (0 for a first text, 1 for a second); null: all 0.</param>
    public static EncoderInput Tokens(int[] ids, int[]? mask = null, int[]? types = null) => new(ids, mask, types, null);

    /// <summary>An image.</summary>
    /// <param name="pixels">[C, H, W], normalised as the model's processor does.</param>
    public static EncoderInput Image(float[] pixels) => new([], null, null, pixels);
}

/// <summary>A row of a batch: what is read, and on which path of the tree.</summary>
/// <param name="Input">Tokens or an image.</param>
/// <param name="Path">Where it stands; rows of one batch may stand on different nodes.</param>
public sealed record EncoderRow(EncoderInput Input, AdapterPath Path);
