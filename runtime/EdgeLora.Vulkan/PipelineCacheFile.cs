using System.IO.Hashing;
using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>The driver's compiled pipelines on disk, one file a device, driver and set of shaders. A cache that is damaged, or cannot be written, is as good as none.</summary>
internal sealed unsafe class PipelineCacheFile : IDisposable
{
    private readonly VulkanDevice _device;
    private readonly string? _path;
    private readonly byte[] _read = [];

    public PipelineCacheFile(VulkanDevice device, string? folder)
    {
        _device = device;
        _path = folder is "" ? null : Path.Combine(folder ?? DefaultFolder(), $"pipelines-{Key(device):x16}.bin");
        try
        {
            if (_path is not null && File.Exists(_path))
                _read = File.ReadAllBytes(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _path = null;
        }
        fixed (byte* data = _read)
        {
            PipelineCacheCreateInfo info = new() { SType = StructureType.PipelineCacheCreateInfo, InitialDataSize = (nuint)_read.Length, PInitialData = data };
            VulkanException.Check(device.Api.CreatePipelineCache(device.Handle, &info, null, out PipelineCache cache), "vkCreatePipelineCache");
            Handle = cache;
        }
    }

    public PipelineCache Handle { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Save();
        _device.Api.DestroyPipelineCache(_device.Handle, Handle, null);
    }

    private void Save()
    {
        if (_path is null)
            return;
        nuint size = 0;
        if (_device.Api.GetPipelineCacheData(_device.Handle, Handle, &size, null) != Result.Success || size == 0)
            return;
        byte[] data = new byte[size];
        fixed (byte* p = data)
            if (_device.Api.GetPipelineCacheData(_device.Handle, Handle, &size, p) != Result.Success)
                return;
        if (data.AsSpan(0, (int)size).SequenceEqual(_read))
            return;
        string written = $"{_path}.{Environment.ProcessId}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
            File.WriteAllBytes(written, data.AsSpan(0, (int)size));
            File.Move(written, _path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next start compiles again.
        }
    }

    // The driver checks a cache by its own header; the shaders' part of the name keeps old ones from growing for ever.
    private static ulong Key(VulkanDevice device)
    {
        XxHash3 hash = new();
        hash.Append(device.Info.Uuid.ToByteArray());
        hash.Append(MemoryMarshal.AsBytes(device.Info.Driver.AsSpan()));
        hash.Append(typeof(PipelineCacheFile).Module.ModuleVersionId.ToByteArray());
        return hash.GetCurrentHashAsUInt64();
    }

    private static string DefaultFolder() => Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "EdgeLora");
}
