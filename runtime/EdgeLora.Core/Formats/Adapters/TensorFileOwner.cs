namespace EdgeLora.Core;

/// <summary>Keeps an opened file mapped as long as a <see cref="TensorFile"/> of views into it, and closes it with that.</summary>
internal sealed class TensorFileOwner(IDisposable file) : TensorStorage
{
    public override long Length => 0;

    public override ReadOnlySpan<byte> Bytes(long offset, int length) => throw new InvalidOperationException("holds no bytes of its own");

    public override void Dispose() => file.Dispose();
}
