using System.Buffers;
using System.Runtime.InteropServices;
using EdgeLora.Core;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>
/// Any Vulkan 1.2 GPU through our own compute shaders. Ops are enqueued; <see cref="Read"/> submits and waits. A list of ops that was seen before is replayed, not recorded: what
/// changes from step to step (tokens, positions, lengths, paths) lies in a control block. A row's bits do not depend on the rows beside it. Ops are called from one thread; tensors may be made and disposed on any.
/// </summary>
public sealed unsafe partial class VulkanBackend : ITrainingBackend
{
    // A longer list is submitted at the next whole-row op, so that the device does not wait for the host.
    private const int LongList = 4096;
    private const long MuchControl = 8 << 20;
    private const int PieceFloats = 1 << 18;

    private readonly VulkanDevice _device;
    private readonly MemoryPool _memory;
    private readonly Kernels _kernels;
    private readonly Uploader _uploader;
    private readonly PathTables _tables;
    private readonly BoundArenas? _bound;
    private readonly Frame[] _frames;
    private readonly CommandList _list = new();
    private readonly List<(BatchLayout Batch, long Version, ulong Address)> _batches = [];
    private readonly ScratchTensors _scratch;
    private readonly ShaderWatch? _watch;
    private readonly Dictionary<string, (long Dispatches, double Milliseconds)>? _times;
    private Allocation? _readback;
    private int _current;
    private long _submitted, _controlBytes, _uploadedBytes, _readBytes;
    private bool _disposed;

    /// <summary>Opens a device. Throws <see cref="VulkanException"/> where it is not there or lacks something.</summary>
    public VulkanBackend(VulkanOptions? options = null)
    {
        options ??= new();
        _device = new(options);
        _memory = new(_device);
        _kernels = new(_device, options);
        _uploader = new(_device, _memory);
        _tables = new(this, _memory);
        _scratch = new(this);
        _bound = _device.Addresses ? null : new(_device, _kernels, _memory);
        _watch = options.WatchShaders is { } folder ? new(folder, _device.Addresses, options.ShaderReport ?? (_ => { })) : null;
        _times = options.Profile ? [] : null;
        _frames = [new(_device, _kernels, _memory, _times), new(_device, _kernels, _memory, _times)];
    }

    /// <inheritdoc/>
    public string Name => "vulkan";

    /// <inheritdoc/>
    public string Description => $"vulkan:{_device.Info.Index}, {_device.Info.Name}, {_device.Info.Driver}{(_device.Addresses ? "" : ", storage buffers")}";

    /// <summary>The device.</summary>
    public VulkanDeviceInfo Device => _device.Info;

    /// <summary>What was done so far.</summary>
    public VulkanCounters Counters => new(_frames.Sum(f => f.Recorded), _submitted, _controlBytes, _uploadedBytes + _tables.WrittenBytes, _readBytes, _memory.InUse(MemoryUse.Device));

    /// <summary>What each shader cost so far on the device, the dearest first; empty unless <see cref="VulkanOptions.Profile"/>. Waits.</summary>
    public IReadOnlyList<KernelTime> KernelTimes()
    {
        if (_times is null)
            return [];
        Flush();
        foreach (Frame frame in _frames)
            frame.CollectTimes();
        return [.. _times.Select(t => new KernelTime(t.Key, t.Value.Dispatches, t.Value.Milliseconds)).OrderByDescending(t => t.Milliseconds)];
    }

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor)
    {
        if (!tensor.Type.IsWeight())
            throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected {DTypes.Weights}");
        if (!tensor.Type.HasKernels())
            return Upload(Widened(tensor));
        Allocation allocation = Reserve(tensor.Name, tensor.Type, tensor.Shape);
        ReadOnlySpan<byte> stored = tensor.Bytes;
        if (tensor.Type.BlockSize() == 1)
        {
            _uploader.Write(stored, allocation);
        }
        else if (allocation.Mapped is not null)
        {
            StoredLayout.ToDevice(tensor.Type, stored, allocation.Span(0, stored.Length));
        }
        else
        {
            byte[] planes = ArrayPool<byte>.Shared.Rent(stored.Length);
            StoredLayout.ToDevice(tensor.Type, stored, planes);
            _uploader.Write(planes.AsSpan(0, stored.Length), allocation);
            ArrayPool<byte>.Shared.Return(planes);
        }
        Interlocked.Add(ref _uploadedBytes, stored.Length);
        return new VulkanTensor(this, tensor.Name, tensor.Type, tensor.Shape, allocation);
    }

    // No shader reads these blocks: they lie on the device as the F32 numbers that they mean.
    private static Tensor Widened(Tensor tensor) => DType.F32.Bytes(tensor.Shape.Elements) <= int.MaxValue
        ? Tensor.FromFloats(tensor.Name, tensor.Shape, tensor.ToFloats())
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} is widened to F32 here, {DType.F32.Bytes(tensor.Shape.Elements)} bytes; one tensor may have at most {int.MaxValue}");

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape)
    {
        Allocation allocation = Reserve(name, type, shape);
        _uploader.Clear(allocation);
        return new VulkanTensor(this, name, type, shape, allocation);
    }

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row)
    {
        VulkanTensor to = Of(destination);
        long first = (long)row * to.Columns;
        for (int done = 0; done < values.Length; done += PieceFloats)
        {
            FlushIfLong();
            int count = Math.Min(PieceFloats, values.Length - done);
            ulong staged = Upload32(MemoryMarshal.Cast<float, uint>(values.Slice(done, count)));
            Dispatch(_kernels["copy"], new CopyPush(staged, to.Address + (ulong)(first + done) * sizeof(float), (uint)count, 0, 0, (uint)count), Groups(count), 1, 1, Access.Write(to));
        }
    }

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination)
    {
        VulkanTensor from = Of(source);
        ReadWords(from, (long)row * from.Columns, MemoryMarshal.Cast<float, uint>(destination));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _watch?.Dispose();
        _ = _device.Api.DeviceWaitIdle(_device.Handle);
        foreach (Frame frame in _frames)
            frame.Dispose();
        _bound?.Dispose();
        _uploader.Dispose();
        _kernels.Dispose();
        _memory.Dispose();
        _device.Dispose();
    }

    /// <summary>Submits what is enqueued, without waiting.</summary>
    public void Flush()
    {
        _tables.Collect();
        if (_list.Count == 0)
            return;
        if (_bound is not null && _bound.Changed)
        {
            ForgetRecordings();
            _bound.Update();
        }
        if (_watch is { Ready.IsEmpty: false })
            ReplaceShaders(_watch);
        Frame frame = _frames[_current];
        _controlBytes += frame.Control.Taken;
        try
        {
            frame.Submit(_list, _bound?.Set ?? default);
            _submitted++;
        }
        catch
        {
            frame.Control.Reset();
            throw;
        }
        finally
        {
            // What could not be submitted is dropped: the next op begins anew.
            _list.Clear();
            _batches.Clear();
            _scratch.Rewind();
        }
        _current = (_current + 1) % _frames.Length;
        _frames[_current].Begin();
        _device.Instance.ThrowErrors();
    }

    /// <summary>Reads every element widened to F32.</summary>
    internal float[] ToFloats(VulkanTensor tensor)
    {
        uint[] words = new uint[(tensor.ByteLength + 3) / 4];
        ReadWords(tensor, 0, words);
        byte[] stored = new byte[tensor.ByteLength];
        StoredLayout.FromDevice(tensor.Type, MemoryMarshal.AsBytes(words.AsSpan()), stored);
        float[] result = new float[tensor.Shape.Elements];
        Dequantize.ToFloats(tensor.Type, stored, result);
        return result;
    }

    /// <summary>For tests: from now on every submission and every wait finds the device lost, as a driver says it.</summary>
    internal void LoseDevice() => _device.IsLost = true;

    /// <summary>Frees memory once everything enqueued so far is done.</summary>
    internal void Release(Allocation allocation, MemoryUse use)
    {
        if (!_disposed)
            _memory.Release(allocation, use, _list.Count > 0 ? _device.Timeline.Last + 1 : _device.Timeline.Last);
    }

    /// <summary>What is enqueued from now on waits for all that is enqueued so far.</summary>
    internal void WaitForPending()
    {
        if (_list.Count > 0)
            _list.AddBarrier();
    }

    /// <summary>Scratch memory of a kind of its own, for <see cref="ScratchTensors"/>.</summary>
    internal VulkanTensor NewScratch(int floats) => new(this, "scratch", DType.F32, new Shape(floats), _memory.Allocate(MemoryUse.Device, (long)floats * sizeof(float)));

    private static VulkanTensor Of(DeviceTensor tensor) => (VulkanTensor)tensor;

    private void Dispatch<TPush>(Kernel kernel, in TPush push, int x, int y, int z, params ReadOnlySpan<Access> accesses) where TPush : unmanaged
    {
        if (x > 0 && y > 0 && z > 0)
            _list.Add(kernel, push, x, y, z, accesses);
    }

    // F32 scratch that is one op's alone until the next flush: take it where it is needed, never keep it.
    private VulkanTensor Scratch(int floats) => _scratch.Take(floats);

    private int MaxRank(int site) => _tables.MaxRank(site);

    // Words for this frame's shaders: labels, scales, small tables.
    private ulong Upload32(ReadOnlySpan<uint> words)
    {
        MemoryMarshal.AsBytes(words).CopyTo(_frames[_current].Control.Take(words.Length * sizeof(uint), out ulong address));
        return address;
    }

    // Workgroups of 256 for a loop over count elements that strides over all groups.
    private static int Groups(long count) => (int)Math.Min((count + 255) / 256, 32768);

    private void FlushIfLong()
    {
        if (_list.Count > LongList || _frames[_current].Control.Taken > MuchControl)
            Flush();
    }

    private Allocation Reserve(string name, DType type, Shape shape)
    {
        long bytes = StoredLayout.Bytes(type, shape.Elements);
        try
        {
            return _memory.Allocate(MemoryUse.Device, bytes);
        }
        catch (VulkanException e) when (e.Fault == VulkanFault.OutOfMemory)
        {
            throw new VulkanException(VulkanFault.OutOfMemory, $"{name}: {bytes} bytes do not fit beside the {_memory.InUse(MemoryUse.Device)} bytes in use: {e.Message}");
        }
    }

    private void ReadWords(VulkanTensor from, long first, Span<uint> destination)
    {
        _readBytes += destination.Length * sizeof(uint);
        for (int done = 0; done < destination.Length; done += 16 * PieceFloats)
        {
            int count = Math.Min(16 * PieceFloats, destination.Length - done);
            if (_readback is null || _readback.Bytes < count * sizeof(uint))
            {
                if (_readback is not null)
                    Release(_readback, MemoryUse.Readback);
                _readback = _memory.Allocate(MemoryUse.Readback, Math.Max(1 << 16, count * sizeof(uint)));
            }
            Dispatch(_kernels["copy"], new CopyPush(from.Address + (ulong)(first + done) * sizeof(float), _readback.Address, (uint)count, 0, 0, (uint)count), Groups(count), 1, 1, Access.Read(from), Access.Write(_readback));
            Flush();
            _device.Timeline.Wait(_device.Timeline.Last);
            MemoryMarshal.Cast<byte, uint>(_readback.Span(0, count * sizeof(uint))).CopyTo(destination.Slice(done, count));
        }
        _device.Instance.ThrowErrors();
    }

    private void ForgetRecordings()
    {
        _device.Timeline.Wait(_device.Timeline.Last);
        foreach (Frame frame in _frames)
            frame.Forget();
    }

    private void ReplaceShaders(ShaderWatch watch)
    {
        ForgetRecordings();
        foreach (string name in watch.Ready.Keys)
            if (watch.Ready.TryRemove(name, out byte[]? spirv))
                try
                {
                    _kernels.Replace(name, spirv);
                    watch.Report($"{name} was reloaded");
                }
                catch (VulkanException e)
                {
                    watch.Report($"{name}: the old one goes on: {e.Message}");
                }
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct CopyPush(ulong X, ulong Y, uint Columns, uint XStride, uint YStride, uint Count);
}
