using EdgeLora.Models;

namespace EdgeLora;

/// <summary>An adapter of a host's tree, seen from another process.</summary>
/// <param name="Path">Path in the tree; empty for the base.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="Generation">Raised by each reload.</param>
/// <param name="ByteLength">Bytes of its tensors; of the base, of the base's; 0 until it was read.</param>
/// <param name="MinRank">Smallest rank among its sites.</param>
/// <param name="MaxRank">Largest rank among its sites.</param>
/// <param name="Form">LoRA, rsLoRA, DoRA …; null until it was read.</param>
/// <param name="Folder">Where its files are, on the host's side.</param>
/// <param name="Faults">Why it, or a newer file of it, was refused.</param>
public sealed record LinkNode(string Path, AdapterState State, int Generation, long ByteLength, int MinRank, int MaxRank, string? Form, string Folder, IReadOnlyList<string> Faults)
{
    internal static LinkNode From(LinkMessage m) => new(m.Text("path"), LinkText.Value<AdapterState>(m, "state"), (int)m.Number("generation", 0, int.MaxValue), m.Number("bytes"),
        (int)m.Number("minRank", 0, int.MaxValue), (int)m.Number("maxRank", 0, int.MaxValue), m.TextOrNull("form"), m.Text("folder"), m.Texts("faults"));

    internal static LinkMessage ToMessage(AdapterNode node, long bytes) => new()
    {
        ["path"] = node.Path,
        ["state"] = LinkText.Of(node.State),
        ["generation"] = node.Generation,
        ["bytes"] = bytes,
        ["minRank"] = node.MinRank,
        ["maxRank"] = node.MaxRank,
        ["form"] = node.Form,
        ["folder"] = node.Folder,
        ["faults"] = LinkText.Short(node.Faults),
    };
}
