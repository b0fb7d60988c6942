using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Silk.NET.Core;
using Silk.NET.Core.Native;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>The connection to the Vulkan loader, with the validation layers where they are asked for.</summary>
internal sealed unsafe class VulkanInstance : IDisposable
{
    private const string ValidationLayer = "VK_LAYER_KHRONOS_validation", DebugUtils = "VK_EXT_debug_utils", Portability = "VK_KHR_portability_enumeration";

    private readonly DebugUtilsMessengerEXT _messenger;
    private readonly GCHandle _self;
    private readonly List<string> _errors = [];

    /// <summary>Opens the loader. Throws <see cref="VulkanException"/>.</summary>
    /// <param name="validation">Validation layers.</param>
    /// <param name="loader">Its file; null: the system's own.</param>
    public VulkanInstance(VulkanValidation validation, string? loader)
    {
        Api = new(new VulkanLibrary(loader));
        using NativeStrings names = new();
        HashSet<string> extensions = Extensions();
        bool portable = extensions.Contains(Portability), validate = validation != VulkanValidation.Off;
        if (validate && !Layers().Contains(ValidationLayer))
            throw new VulkanException(VulkanFault.MissingFeature, $"validation was asked for, but {ValidationLayer} is not installed");
        byte** layers = stackalloc byte*[1], enabled = stackalloc byte*[2];
        uint layerCount = 0, extensionCount = 0;
        if (validate)
        {
            layers[layerCount++] = names.Of(ValidationLayer);
            enabled[extensionCount++] = names.Of(DebugUtils);
        }
        if (portable)
            enabled[extensionCount++] = names.Of(Portability);
        if (validate)
            _self = GCHandle.Alloc(this);
        DebugUtilsMessengerCreateInfoEXT debug = new()
        {
            SType = StructureType.DebugUtilsMessengerCreateInfoExt,
            MessageSeverity = DebugUtilsMessageSeverityFlagsEXT.ErrorBitExt,
            MessageType = DebugUtilsMessageTypeFlagsEXT.GeneralBitExt | DebugUtilsMessageTypeFlagsEXT.ValidationBitExt,
            PUserData = validate ? (void*)GCHandle.ToIntPtr(_self) : null,
            PfnUserCallback = new PfnDebugUtilsMessengerCallbackEXT(
                (delegate* unmanaged[Cdecl]<DebugUtilsMessageSeverityFlagsEXT, DebugUtilsMessageTypeFlagsEXT, DebugUtilsMessengerCallbackDataEXT*, void*, Bool32>)
                (delegate* unmanaged[Cdecl]<DebugUtilsMessageSeverityFlagsEXT, DebugUtilsMessageTypeFlagsEXT, DebugUtilsMessengerCallbackDataEXT*, void*, uint>)&OnMessage),
        };
        ValidationFeatureEnableEXT* features = stackalloc ValidationFeatureEnableEXT[2];
        uint featureCount = 0;
        if (validation == VulkanValidation.Synchronization)
            features[featureCount++] = ValidationFeatureEnableEXT.SynchronizationValidationExt;
        if (validation == VulkanValidation.GpuAssisted)
        {
            features[featureCount++] = ValidationFeatureEnableEXT.GpuAssistedExt;
            features[featureCount++] = ValidationFeatureEnableEXT.GpuAssistedReserveBindingSlotExt;
        }
        ValidationFeaturesEXT asked = new() { SType = StructureType.ValidationFeaturesExt, EnabledValidationFeatureCount = featureCount, PEnabledValidationFeatures = features, PNext = &debug };
        ApplicationInfo application = new() { SType = StructureType.ApplicationInfo, ApiVersion = Vk.Version12, PEngineName = names.Of("EdgeLora") };
        InstanceCreateInfo info = new()
        {
            SType = StructureType.InstanceCreateInfo,
            PApplicationInfo = &application,
            EnabledLayerCount = layerCount,
            PpEnabledLayerNames = layers,
            EnabledExtensionCount = extensionCount,
            PpEnabledExtensionNames = enabled,
            PNext = validate ? &asked : null,
            Flags = portable ? InstanceCreateFlags.EnumeratePortabilityBitKhr : InstanceCreateFlags.None,
        };
        Result made = Api.CreateInstance(&info, null, out Instance instance);
        if (made != Result.Success)
            Dispose();
        VulkanException.Check(made, "vkCreateInstance");
        Handle = instance;
        if (!validate)
            return;
        // Silk.NET's extension packages are not needed: the entry point by its name.
        var create = (delegate* unmanaged<Instance, DebugUtilsMessengerCreateInfoEXT*, AllocationCallbacks*, DebugUtilsMessengerEXT*, Result>)
            Api.GetInstanceProcAddr(Handle, "vkCreateDebugUtilsMessengerEXT").Handle;
        fixed (DebugUtilsMessengerEXT* messenger = &_messenger)
            VulkanException.Check(create(Handle, &debug, null, messenger), "vkCreateDebugUtilsMessengerEXT");
    }

    /// <summary>The loader's functions.</summary>
    public Vk Api { get; }

    /// <summary>The instance.</summary>
    public Instance Handle { get; }

    /// <summary>Throws the errors that the validation layers found since the last time.</summary>
    public void ThrowErrors()
    {
        string message;
        lock (_errors)
        {
            if (_errors.Count == 0)
                return;
            message = string.Join(Environment.NewLine, _errors);
            _errors.Clear();
        }
        throw new VulkanException(VulkanFault.Validation, message);
    }

    /// <summary>Physical devices in the driver's order. Throws <see cref="VulkanException"/> where there is no driver.</summary>
    public PhysicalDevice[] PhysicalDevices()
    {
        uint count = 0;
        VulkanException.Check(Api.EnumeratePhysicalDevices(Handle, &count, null), "vkEnumeratePhysicalDevices");
        if (count == 0)
            throw new VulkanException(VulkanFault.NoDriver, "there is a Vulkan loader, but no driver with a device");
        PhysicalDevice[] devices = new PhysicalDevice[count];
        fixed (PhysicalDevice* p = devices)
            VulkanException.Check(Api.EnumeratePhysicalDevices(Handle, &count, p), "vkEnumeratePhysicalDevices");
        return devices;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_messenger.Handle != 0)
            ((delegate* unmanaged<Instance, DebugUtilsMessengerEXT, AllocationCallbacks*, void>)Api.GetInstanceProcAddr(Handle, "vkDestroyDebugUtilsMessengerEXT").Handle)(Handle, _messenger, null);
        if (Handle.Handle != 0)
            Api.DestroyInstance(Handle, null);
        Api.Dispose();
        if (_self.IsAllocated)
            _self.Free();
    }

    private HashSet<string> Extensions()
    {
        uint count = 0;
        VulkanException.Check(Api.EnumerateInstanceExtensionProperties((byte*)null, &count, null), "vkEnumerateInstanceExtensionProperties");
        ExtensionProperties[] all = new ExtensionProperties[count];
        HashSet<string> names = [];
        fixed (ExtensionProperties* p = all)
        {
            VulkanException.Check(Api.EnumerateInstanceExtensionProperties((byte*)null, &count, p), "vkEnumerateInstanceExtensionProperties");
            for (uint i = 0; i < count; i++)
                names.Add(Marshal.PtrToStringUTF8((nint)p[i].ExtensionName)!);
        }
        return names;
    }

    private HashSet<string> Layers()
    {
        uint count = 0;
        VulkanException.Check(Api.EnumerateInstanceLayerProperties(&count, null), "vkEnumerateInstanceLayerProperties");
        LayerProperties[] all = new LayerProperties[count];
        HashSet<string> names = [];
        fixed (LayerProperties* p = all)
        {
            VulkanException.Check(Api.EnumerateInstanceLayerProperties(&count, p), "vkEnumerateInstanceLayerProperties");
            for (uint i = 0; i < count; i++)
                names.Add(Marshal.PtrToStringUTF8((nint)p[i].LayerName)!);
        }
        return names;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static uint OnMessage(DebugUtilsMessageSeverityFlagsEXT severity, DebugUtilsMessageTypeFlagsEXT type, DebugUtilsMessengerCallbackDataEXT* data, void* user)
    {
        if (GCHandle.FromIntPtr((nint)user).Target is VulkanInstance instance)
            lock (instance._errors)
                instance._errors.Add(Marshal.PtrToStringUTF8((nint)data->PMessage) ?? "");
        return 0;
    }
}
