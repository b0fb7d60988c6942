using System.Runtime.InteropServices;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>edgelora_node.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NodeLayout : ILayout
{
    public uint Size;
    public int State;
    public int Generation;
    public int Depth;
    public int MinRank;
    public int MaxRank;
    public long Bytes;
    public byte* Path;
    public byte* Form;
    public byte* Faults;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    public void Set(AdapterNode node)
    {
        State = (int)node.State;
        Generation = node.Generation;
        Depth = node.Depth;
        MinRank = node.MinRank;
        MaxRank = node.MaxRank;
        Bytes = node.ByteLength;
        Path = ThreadText.Keep(ThreadTextSlot.NodePath, node.Path);
        Form = ThreadText.Keep(ThreadTextSlot.NodeForm, node.Form ?? "");
        Faults = ThreadText.Keep(ThreadTextSlot.NodeFaults, string.Join('\n', node.Faults));
    }
}

/// <summary>edgelora_event.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct EventLayout : ILayout
{
    public uint Size;
    public int Kind;
    public int Generation;
    public int Lost;
    public long TimeUnixUs;
    public byte* Node;
    public byte* Faults;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    public void Set(AdapterEvent happened, int lost)
    {
        Kind = (int)happened.Kind;
        Generation = happened.Generation;
        Lost = lost;
        TimeUnixUs = Layout.Microseconds(happened.Time - DateTimeOffset.UnixEpoch);
        Node = ThreadText.Keep(ThreadTextSlot.EventNode, happened.Node);
        Faults = ThreadText.Keep(ThreadTextSlot.EventFaults, string.Join('\n', happened.Faults));
    }
}
