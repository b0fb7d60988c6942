using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>The functions on a host's tree; edgelora.h says what they do.</summary>
internal static unsafe class TreeExports
{
    [UnmanagedCallersOnly(EntryPoint = "edgelora_node_count", CallConvs = [typeof(CallConvCdecl)])]
    public static int NodeCount(ulong host, int* count) => Call.Guard(() =>
    {
        Out.Check(count, "count");
        using HostUse use = NativeHost.Use(host);
        *count = use.Host.Tree.Nodes.Count;
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_node_at", CallConvs = [typeof(CallConvCdecl)])]
    public static int NodeAt(ulong host, int index, NodeLayout* node) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        ref NodeLayout given = ref Layout.Get(node, "node");
        IReadOnlyList<AdapterNode> nodes = use.Host.Tree.Nodes;
        if ((uint)index >= (uint)nodes.Count)
            throw new KeyNotFoundException($"index: expected 0 to {nodes.Count - 1}, found {index}");
        given.Set(nodes[index]);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_node_find", CallConvs = [typeof(CallConvCdecl)])]
    public static int NodeFind(ulong host, byte* path, NodeLayout* node) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        ref NodeLayout given = ref Layout.Get(node, "node");
        given.Set(use.Host.Tree.Get(Utf8.Read(path, "path")));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_mount", CallConvs = [typeof(CallConvCdecl)])]
    public static int Mount(ulong host, byte* folder, byte* parent, byte* name, int wait) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        string from = Utf8.Read(folder, "folder");
        string? called = Utf8.ReadOrNull(name, "name");
        End(use.Native, use.Host.MountAsync(from, Utf8.ReadOrNull(parent, "parent") ?? "", called), called ?? from, wait);
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_unmount", CallConvs = [typeof(CallConvCdecl)])]
    public static int Unmount(ulong host, byte* node) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        use.Native.Wait(use.Host.UnmountAsync(Utf8.Read(node, "node")));
    });

    [UnmanagedCallersOnly(EntryPoint = "edgelora_reload", CallConvs = [typeof(CallConvCdecl)])]
    public static int Reload(ulong host, byte* node, int wait) => Call.Guard(() =>
    {
        using HostUse use = NativeHost.Use(host);
        string path = Utf8.Read(node, "node");
        End(use.Native, use.Host.ReloadAsync(path), path, wait);
    });

    private static void End(NativeHost native, Task request, string node, int wait)
    {
        if (wait != 0)
            native.Wait(request);
        else
            native.Leave(request, node);
    }
}
