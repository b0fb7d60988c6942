using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>A shader with its specialisation constants.</summary>
/// <param name="Id">Number among the kernels; part of what identifies a recorded list.</param>
/// <param name="Name">The shader's stem.</param>
/// <param name="Pipeline">The pipeline.</param>
internal sealed record Kernel(int Id, string Name, Pipeline Pipeline);

/// <summary>Pipelines by shader and constants, made when first asked for, through a cache on disk. All share one layout: 128 bytes of push constants and, without buffer device addresses, the arenas as storage buffers.</summary>
internal sealed unsafe class Kernels : IDisposable
{
    /// <summary>Arenas that are bound where there are no buffer device addresses.</summary>
    public const int Arenas = 8;

    /// <summary>Bytes of push constants, which every device has.</summary>
    public const int PushBytes = 128;

    private const int Constants = 6;

    private readonly VulkanDevice _device;
    private readonly PipelineCacheFile _cache;
    private readonly Dictionary<Key, Kernel> _all = [];
    private readonly List<Kernel> _byId = [];
    private readonly Dictionary<string, byte[]> _replaced = [];
    private readonly DescriptorSetLayout _setLayout;

    public Kernels(VulkanDevice device, VulkanOptions options)
    {
        _device = device;
        _cache = new(device, options.CacheFolder);
        DescriptorSetLayout setLayout = default;
        if (!device.Addresses)
        {
            DescriptorSetLayoutBinding binding = new() { DescriptorType = DescriptorType.StorageBuffer, DescriptorCount = Arenas, StageFlags = ShaderStageFlags.ComputeBit };
            DescriptorSetLayoutCreateInfo sets = new() { SType = StructureType.DescriptorSetLayoutCreateInfo, BindingCount = 1, PBindings = &binding };
            VulkanException.Check(device.Api.CreateDescriptorSetLayout(device.Handle, &sets, null, out setLayout), "vkCreateDescriptorSetLayout");
            _setLayout = setLayout;
        }
        PushConstantRange range = new() { StageFlags = ShaderStageFlags.ComputeBit, Size = PushBytes };
        PipelineLayoutCreateInfo info = new()
        {
            SType = StructureType.PipelineLayoutCreateInfo,
            PushConstantRangeCount = 1,
            PPushConstantRanges = &range,
            SetLayoutCount = device.Addresses ? 0u : 1u,
            PSetLayouts = &setLayout,
        };
        VulkanException.Check(device.Api.CreatePipelineLayout(device.Handle, &info, null, out PipelineLayout layout), "vkCreatePipelineLayout");
        Layout = layout;
    }

    /// <summary>Layout of every pipeline.</summary>
    public PipelineLayout Layout { get; }

    /// <summary>Layout of the bound arenas.</summary>
    public DescriptorSetLayout SetLayout => _setLayout;

    /// <summary>The kernel of a number.</summary>
    public Kernel this[int id] => _byId[id];

    /// <summary>Shader <paramref name="name"/> with specialisation constants 0..5; those it does not declare are ignored. Throws <see cref="VulkanException"/>.</summary>
    public Kernel this[string name, uint c0 = 0, uint c1 = 0, uint c2 = 0, uint c3 = 0, uint c4 = 0, uint c5 = 0]
    {
        get
        {
            Key key = new(name, c0, c1, c2, c3, c4, c5);
            if (!_all.TryGetValue(key, out Kernel? kernel))
            {
                _all.Add(key, kernel = new(_byId.Count, name, Create(key)));
                _byId.Add(kernel);
            }
            return kernel;
        }
    }

    /// <summary>Makes every pipeline of a shader anew from other code. On a fault the old ones stay, and it throws <see cref="VulkanException"/>. Nothing may be in flight.</summary>
    public void Replace(string name, byte[] spirv)
    {
        _replaced.TryGetValue(name, out byte[]? old);
        _replaced[name] = spirv;
        try
        {
            (Key Key, Kernel Kernel, Pipeline Made)[] made = [.. _all.Where(p => p.Key.Name == name).Select(p => (p.Key, p.Value, Create(p.Key)))];
            foreach ((Key key, Kernel before, Pipeline pipeline) in made)
            {
                _device.Api.DestroyPipeline(_device.Handle, before.Pipeline, null);
                _all[key] = _byId[before.Id] = before with { Pipeline = pipeline };
            }
        }
        catch
        {
            _replaced.Remove(name);
            if (old is not null)
                _replaced[name] = old;
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Kernel kernel in _byId)
            _device.Api.DestroyPipeline(_device.Handle, kernel.Pipeline, null);
        _device.Api.DestroyPipelineLayout(_device.Handle, Layout, null);
        _device.Api.DestroyDescriptorSetLayout(_device.Handle, _setLayout, null);
        _cache.Dispose();
    }

    private Pipeline Create(Key key)
    {
        byte[] spirv = Spirv(key.Name);
        ShaderModule module;
        fixed (byte* code = spirv)
        {
            ShaderModuleCreateInfo info = new() { SType = StructureType.ShaderModuleCreateInfo, CodeSize = (nuint)spirv.Length, PCode = (uint*)code };
            VulkanException.Check(_device.Api.CreateShaderModule(_device.Handle, &info, null, out module), $"vkCreateShaderModule of {key.Name}");
        }
        try
        {
            uint* constants = stackalloc uint[Constants] { key.C0, key.C1, key.C2, key.C3, key.C4, key.C5 };
            SpecializationMapEntry* entries = stackalloc SpecializationMapEntry[Constants];
            for (uint i = 0; i < Constants; i++)
                entries[i] = new() { ConstantID = i, Offset = i * sizeof(uint), Size = sizeof(uint) };
            SpecializationInfo specialisation = new() { MapEntryCount = Constants, PMapEntries = entries, DataSize = Constants * sizeof(uint), PData = constants };
            fixed (byte* main = "main\0"u8)
            {
                PipelineShaderStageCreateInfo stage = new() { SType = StructureType.PipelineShaderStageCreateInfo, Stage = ShaderStageFlags.ComputeBit, Module = module, PName = main, PSpecializationInfo = &specialisation };
                ComputePipelineCreateInfo info = new() { SType = StructureType.ComputePipelineCreateInfo, Stage = stage, Layout = Layout };
                Pipeline pipeline;
                VulkanException.Check(_device.Api.CreateComputePipelines(_device.Handle, _cache.Handle, 1, &info, null, &pipeline), $"vkCreateComputePipelines of {key.Name}");
                return pipeline;
            }
        }
        finally
        {
            _device.Api.DestroyShaderModule(_device.Handle, module, null);
        }
    }

    private byte[] Spirv(string name)
    {
        if (_replaced.TryGetValue(name, out byte[]? other))
            return other;
        string file = name + (_device.Addresses ? ".spv" : ".ssbo.spv");
        using Stream stream = typeof(Kernels).Assembly.GetManifestResourceStream("spirv/" + file) ?? throw new InvalidOperationException($"there is no shader {file}");
        byte[] spirv = new byte[stream.Length];
        stream.ReadExactly(spirv);
        return spirv;
    }

    private readonly record struct Key(string Name, uint C0, uint C1, uint C2, uint C3, uint C4, uint C5);
}
