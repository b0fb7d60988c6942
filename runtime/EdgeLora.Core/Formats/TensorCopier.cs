using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeLora.Core;

/// <summary>
/// Writes tensors to a stream a piece at a time: several threads read and convert pieces of 1 MiB (of F32) while those before are written. Its memory is constant, 9 MiB for each thread:
/// mapped sources are read from their files, not through the map. A computed source, and one that is turned, is held whole while it is written.
/// </summary>
internal sealed class TensorCopier : IDisposable
{
    private const int PieceElements = 1 << 18;

    private readonly Stream _stream;
    private readonly Action<long>? _written;
    private readonly CancellationToken _cancellation;
    private readonly Dictionary<string, SafeFileHandle> _files = [];
    private readonly Piece[][] _batches;
    private long _total;

    /// <param name="stream">Where to.</param>
    /// <param name="written">Told the bytes written so far.</param>
    /// <param name="cancellation">Looked at between two batches of pieces.</param>
    public TensorCopier(Stream stream, Action<long>? written = null, CancellationToken cancellation = default)
    {
        (_stream, _written, _cancellation) = (stream, written, cancellation);
        int width = Math.Clamp(Environment.ProcessorCount, 1, 16);
        _batches = [[.. Enumerable.Range(0, width).Select(_ => new Piece())], [.. Enumerable.Range(0, width).Select(_ => new Piece())]];
    }

    /// <summary>Writes one tensor. Throws <see cref="OverflowException"/>, naming the tensor, for numbers that its type cannot hold.</summary>
    public void Write(TensorOutput tensor)
    {
        if (tensor.Fault is { } fault)
            throw new ArgumentException(fault);
        foreach (Tensor part in tensor.Parts ?? [tensor.Source])
            Write(tensor, tensor.Turned ? Turn(part) : part.Held());
    }

    private void Write(TensorOutput tensor, Tensor source)
    {
        // Whole rows where they are put in order; else whole blocks of every type.
        int unit = tensor.RowOrder is null ? 256 : WidthOf(tensor), step = Math.Max(1, PieceElements / unit) * unit;
        long elements = source.Shape.Elements;
        Task pending = Task.CompletedTask;
        try
        {
            for (long start = 0, batch = 0; start < elements; batch++)
            {
                _cancellation.ThrowIfCancellationRequested();
                Piece[] pieces = _batches[batch & 1];
                int count = (int)Math.Min(pieces.Length, (elements - start + step - 1) / step);
                long first = start;
                void Fill(int i) => pieces[i].Fill(this, tensor, source, first + (long)i * step, (int)Math.Min(step, elements - first - (long)i * step));
                if (count == 1)
                    Fill(0);
                else
                    Parallel.For(0, count, Fill);
                pending.GetAwaiter().GetResult();
                pending = Task.Run(() => Flush(pieces, count));
                start += (long)count * step;
            }
        }
        catch (AggregateException e) when (e.InnerExceptions[0] is OverflowException or IOException or ModelFileException)
        {
            throw e.InnerExceptions[0];
        }
        finally
        {
            pending.GetAwaiter().GetResult();
        }
    }

    public void Dispose()
    {
        foreach (SafeFileHandle file in _files.Values)
            file.Dispose();
    }

    private void Flush(Piece[] pieces, int count)
    {
        for (int i = 0; i < count; i++)
        {
            _stream.Write(pieces[i].Bytes, 0, pieces[i].Length);
            _total += pieces[i].Length;
        }
        _written?.Invoke(_total);
    }

    // Of a vector, each element is a row.
    private static int WidthOf(TensorOutput tensor) => (int)(tensor.Source.Shape.Elements / tensor.RowOrder!.Length);

    private static Tensor Turn(Tensor source) => source.Type.BlockSize() == 1
        ? source.Transposed()
        : Tensor.FromFloats(source.Name, source.Shape, source.ToFloats()).Transposed();

    private SafeFileHandle Open(string path)
    {
        lock (_files)
        {
            if (!_files.TryGetValue(path, out SafeFileHandle? file))
                _files.Add(path, file = File.OpenHandle(path, options: FileOptions.RandomAccess));
            return file;
        }
    }

    /// <summary>Elements [first, first + count) of a tensor on their way.</summary>
    private sealed class Piece
    {
        private byte[] _stored = [];
        private float[] _values = [];

        /// <summary>The bytes to write.</summary>
        public byte[] Bytes { get; private set; } = [];

        /// <summary>How many of them.</summary>
        public int Length { get; private set; }

        public void Fill(TensorCopier copier, TensorOutput tensor, Tensor source, long first, int count)
        {
            Length = (int)tensor.Type.Bytes(count);
            int stored = (int)source.Type.Bytes(count);
            if (Bytes.Length < Length)
                Bytes = new byte[Length];
            if (source.Type == tensor.Type && !tensor.Recomputes)
            {
                Read(copier, tensor, source, first, Bytes.AsSpan(0, stored));
                return;
            }
            if (_stored.Length < stored)
                _stored = new byte[stored];
            if (_values.Length < count)
                _values = new float[count];
            Read(copier, tensor, source, first, _stored.AsSpan(0, stored));
            Span<float> values = _values.AsSpan(0, count);
            Dequantize.ToFloats(source.Type, _stored.AsSpan(0, stored), values);
            if (tensor.Recomputes)
                foreach (ref float value in values)
                    value = (value + tensor.Shift) * tensor.Scale;
            try
            {
                QuantBlocks.FromFloats(tensor.Type, values, Bytes.AsSpan(0, Length));
                if (tensor.Type == DType.F16 && HalfPrecision.AnyPastHalf(values))
                    throw new OverflowException("a number exceeds F16's largest, 65504; choose BF16 or F32");
            }
            catch (OverflowException e)
            {
                throw new OverflowException($"{tensor.Name}: from element {first} on: {e.Message}", e);
            }
        }

        private static void Read(TensorCopier copier, TensorOutput tensor, Tensor source, long first, Span<byte> destination)
        {
            if (tensor.RowOrder is not { } order)
            {
                ReadBytes(copier, source, source.Type.Bytes(first), destination);
                return;
            }
            int width = WidthOf(tensor), row = (int)source.Type.Bytes(width);
            for (int i = 0; i < destination.Length / row; i++)
                ReadBytes(copier, source, (long)order[first / width + i] * row, destination.Slice(i * row, row));
        }

        private static void ReadBytes(TensorCopier copier, Tensor source, long offset, Span<byte> destination)
        {
            if (source.Place is not { } place)
            {
                source.Bytes.Slice((int)offset, destination.Length).CopyTo(destination);
                return;
            }
            SafeFileHandle file = copier.Open(place.Path);
            for (int done = 0; done < destination.Length;)
            {
                int read = RandomAccess.Read(file, destination[done..], place.Offset + offset + done);
                done += read > 0 ? read : throw new ModelFileException(place.Path, $"{source.Name}: the file ends at byte {place.Offset + offset + done}");
            }
        }
    }
}
