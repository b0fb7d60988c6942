using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>A session as C has it, with the text that it was not given yet.</summary>
internal sealed class NativeSession
{
    private readonly Lock _beginning = new();
    private volatile NativeGeneration? _generation;

    private NativeSession(NativeHost native, HostSession face)
    {
        Native = native;
        Face = face;
        Handle = Table.Add(this);
        native.Add(this);
    }

    /// <summary>All sessions.</summary>
    public static HandleTable<NativeSession> Table { get; } = new(0x53, "session");

    public ulong Handle { get; }

    public NativeHost Native { get; }

    public HostSession Face { get; }

    public static ulong Open(NativeHost native, string node, HostSessionOptions options) =>
        new NativeSession(native, native.Wait(native.Host.OpenSessionAsync(node, options))).Handle;

    /// <summary>Closes a session. Behind it nothing more is called back. Throws for a handle that is none.</summary>
    public static void Close(ulong handle)
    {
        NativeSession session = Table.Remove(handle);
        session.Native.Remove(session);
        session.Face.Dispose();
        session._generation?.Silence();
    }

    /// <summary>As <see cref="Close"/>, where it may be closed already.</summary>
    public static void TryClose(ulong handle)
    {
        try
        {
            Close(handle);
        }
        catch (NativeException)
        {
            // Another thread was first.
        }
    }

    /// <summary>Starts a generation. Throws, with the one before left as it is, where it cannot start.</summary>
    public void Begin(IReadOnlyList<int> tokens, GenerationOptions options, PieceCallback callback)
    {
        lock (_beginning)
        {
            NativeGeneration? before = _generation;
            NativeGeneration begun = new(Handle, callback);
            // In place before the first piece can come.
            _generation = begun;
            try
            {
                Native.Wait(Face.BeginAsync(tokens, options, begun.Pieces, begun.Cancellation));
            }
            catch
            {
                _generation = before;
                throw;
            }
        }
    }

    /// <summary>The last generation; null before there was one.</summary>
    public NativeGeneration? Generation => _generation;

    /// <summary>Calls back what came.</summary>
    public void Deliver() => _generation?.Deliver();
}
