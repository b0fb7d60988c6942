using System.Threading.Channels;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>edgelora_piece_callback and its first argument; no function: the text is asked for.</summary>
internal readonly unsafe struct PieceCallback(delegate* unmanaged[Cdecl]<void*, ulong, int, byte*, nuint, int, void> function, void* user)
{
    public bool IsSet => function is not null;

    public void Invoke(ulong session, int token, string text, int reason)
    {
        byte[] bytes = new byte[Utf8.ByteCount(text) + 1];
        int length = Utf8.Write(text, bytes);
        delegate* unmanaged[Cdecl]<void*, ulong, int, byte*, nuint, int, void> callee = function;
        void* argument = user;
        NativeHost.InCallback(() =>
        {
            fixed (byte* first = bytes)
                callee(argument, session, token, first, (nuint)length, reason);
        });
    }
}

/// <summary>One generation's pieces on their way to C.</summary>
internal sealed unsafe class NativeGeneration(ulong session, PieceCallback callback)
{
    /// <summary>EDGELORA_STOP_FAULT: behind the reasons of <see cref="StopReason"/>.</summary>
    public const int FaultReason = (int)StopReason.Cancelled + 1;

    private readonly Channel<GeneratedPiece> _pieces = Channel.CreateUnbounded<GeneratedPiece>();
    private readonly CancellationTokenSource _cancellation = new();
    private readonly Lock _reading = new();
    private byte[] _text = new byte[256];
    private int _start, _end;
    private StopReason _stop;
    private bool _told;

    /// <summary>Where ticks write.</summary>
    public Channel<GeneratedPiece> Pieces => _pieces;

    public CancellationToken Cancellation => _cancellation.Token;

    public void Cancel() => _cancellation.Cancel();

    /// <summary>Gives what there is, whole characters and a zero, and whether that was all. Throws the fault that it ended with, behind the last text.</summary>
    public void Read(byte* buffer, nuint capacity, nuint* length, int* finished, int* reason)
    {
        if (callback.IsSet)
            throw new InvalidOperationException("this generation's text goes to its callback");
        lock (_reading)
        {
            // The longest character and the zero: with less a reader could wait for ever.
            if (buffer is null || capacity < 5)
                throw new ArgumentException($"buffer: expected at least 5 bytes, found {(buffer is null ? "NULL" : capacity)}");
            int most = (int)Math.Min(capacity - 1, int.MaxValue);
            while (_end - _start < most && _pieces.Reader.TryRead(out GeneratedPiece piece))
                Keep(piece);
            int count = Utf8.Whole(_text.AsSpan(_start, _end - _start), most);
            _text.AsSpan(_start, count).CopyTo(new Span<byte>(buffer, count));
            buffer[count] = 0;
            *length = (nuint)count;
            _start += count;
            bool ended = _start == _end && _pieces.Reader.Completion.IsCompleted;
            Exception? fault = ended ? _pieces.Reader.Completion.Exception?.InnerException : null;
            if (finished is not null)
                *finished = ended ? 1 : 0;
            if (reason is not null)
                *reason = fault is not null ? FaultReason : ended ? (int)_stop : 0;
            if (fault is not null)
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(fault);
        }
    }

    /// <summary>Calls back for each piece that came; behind a fault once more, with its message.</summary>
    public void Deliver()
    {
        if (!callback.IsSet)
            return;
        lock (_reading)
        {
            while (!_told && _pieces.Reader.TryRead(out GeneratedPiece piece))
            {
                _told = piece.Stop != StopReason.None;
                callback.Invoke(session, piece.Token, piece.Text, (int)piece.Stop);
            }
            if (!_told && _pieces.Reader.Completion is { IsFaulted: true } end)
            {
                _told = true;
                callback.Invoke(session, -1, Call.Message(end.Exception!.InnerException!), FaultReason);
            }
        }
    }

    /// <summary>Nothing is called back from now on; waits for a call that runs on another thread.</summary>
    public void Silence()
    {
        lock (_reading)
            _told = true;
    }

    private void Keep(GeneratedPiece piece)
    {
        _stop = piece.Stop;
        int bytes = Utf8.ByteCount(piece.Text);
        if (_end + bytes > _text.Length)
        {
            byte[] larger = _end - _start + bytes > _text.Length ? new byte[2 * (_end - _start + bytes)] : _text;
            _text.AsSpan(_start.._end).CopyTo(larger);
            (_text, _start, _end) = (larger, 0, _end - _start);
        }
        _end += Utf8.Write(piece.Text, _text.AsSpan(_end));
    }
}
