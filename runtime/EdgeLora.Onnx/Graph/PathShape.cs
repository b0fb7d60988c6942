using System.Globalization;
using System.Text;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>Low-rank steps of a path at one site that are one product: up to and with a step that has a gain.</summary>
/// <param name="OutputBias">Whether a lora_bias is added.</param>
/// <param name="Gain">Whether a gain ends it.</param>
internal readonly record struct SegmentShape(bool OutputBias, bool Gain);

/// <summary>What a path does at one site, without numbers: what decides which nodes a graph has there.</summary>
/// <param name="Segments">Low-rank products in order.</param>
/// <param name="Weight">Whether another weight stands in the base's place.</param>
/// <param name="Bias">Whether another bias does.</param>
/// <param name="Rows">Whether single rows are replaced.</param>
internal sealed record SiteShape(SegmentShape[] Segments, bool Weight, bool Bias, bool Rows)
{
    /// <summary>Nothing.</summary>
    public static SiteShape None { get; } = new([], false, false, false);

    /// <summary>One low-rank product: what every linear layer has room for.</summary>
    public static SiteShape LowRank { get; } = new([new(false, false)], false, false, false);

    /// <summary>Steps of segment <paramref name="index"/> of a path at a site; empty where the path has none there.</summary>
    public static ReadOnlySpan<LowRankStep> Segment(SiteAdapter? adapter, int index)
    {
        ReadOnlySpan<LowRankStep> steps = adapter is null ? [] : adapter.Steps;
        for (int start = 0; ; index--)
        {
            int end = start;
            while (end < steps.Length && steps[end].Gain is null)
                end++;
            end = Math.Min(end + 1, steps.Length);
            if (index == 0 || start == steps.Length)
                return steps[start..end];
            start = end;
        }
    }
}

/// <summary>
/// What decides which nodes a path's graph has: one graph serves every path of one shape. Each linear layer below the head has room for a low-rank product, so the base and all plain
/// LoRA paths of any depth and rank have one shape, <see cref="IsPlain"/>.
/// </summary>
internal sealed class PathShape
{
    private readonly SiteShape?[] _sites;

    private PathShape(SiteShape?[] sites, string key, List<string> beyond) => (_sites, Key, Beyond) = (sites, key, beyond);

    /// <summary>Sites where it is not the shape of the base.</summary>
    public IReadOnlyList<string> Beyond { get; }

    /// <summary>Equal for equal shapes; empty for the plain one.</summary>
    public string Key { get; }

    /// <summary>Whether it is the shape of the base.</summary>
    public bool IsPlain => Key.Length == 0;

    /// <summary>What it does at a site.</summary>
    public SiteShape this[int index] => (uint)index < (uint)_sites.Length ? _sites[index] ?? SiteShape.None : SiteShape.None;

    /// <summary>The shape of a path.</summary>
    /// <param name="table">The path.</param>
    /// <param name="sites">The base's sites.</param>
    /// <param name="room">Whether linear layers have room for a product that the path does not have.</param>
    public static PathShape Of(SiteTable table, SiteCatalog sites, bool room)
    {
        SiteShape?[] shapes = new SiteShape?[sites.Count];
        StringBuilder key = new();
        List<string> beyond = [];
        foreach (ModelSite site in sites.Sites)
        {
            SiteShape usual = room && HasRoom(site, sites) ? SiteShape.LowRank : SiteShape.None, shape = Of(table[site.Index], usual);
            shapes[site.Index] = shape;
            if (ReferenceEquals(shape, usual))
                continue;
            Write(key, site.Index, shape);
            beyond.Add(site.Name);
        }
        // Which tensors are one (an adapter twice in a blend) belongs to the shape: a graph's inputs follow its example's.
        Dictionary<DeviceTensor, int> seen = [];
        int Number(DeviceTensor tensor) => seen.TryGetValue(tensor, out int known) ? known : seen[tensor] = seen.Count;
        foreach ((string name, int index) in sites.Bottlenecks)
            foreach (BottleneckStep step in table[index]?.Bottlenecks ?? [])
            {
                beyond.Add(name);
                key.Append(CultureInfo.InvariantCulture, $"{index}={step.Activation},{Number(step.Down.Weight)},{Number(step.Down.Bias!)},{Number(step.Up.Weight)},{Number(step.Up.Bias!)};");
            }
        return new(shapes, key.ToString(), beyond);
    }

    // The head is wide: products that nearly no adapter has would cost every token.
    private static bool HasRoom(ModelSite site, SiteCatalog sites) => site.Linear is not null && site.Name != sites.HeadName;

    private static SiteShape Of(SiteAdapter? adapter, SiteShape usual)
    {
        if (adapter is null)
            return usual;
        List<SegmentShape> segments = [];
        bool offset = false, open = false;
        foreach (LowRankStep step in adapter.Steps)
        {
            (open, offset) = (true, offset || step.OutputBias is not null);
            if (step.Gain is null)
                continue;
            segments.Add(new(offset, true));
            (open, offset) = (false, false);
        }
        if (open)
            segments.Add(new(offset, false));
        SiteShape shape = new(segments.Count == 0 ? usual.Segments : [.. segments], adapter.Weight is not null, adapter.Bias is not null, adapter.Rows is not null);
        return shape is { Weight: false, Bias: false, Rows: false } && shape.Segments.AsSpan().SequenceEqual(usual.Segments) ? usual : shape;
    }

    private static void Write(StringBuilder key, int index, SiteShape shape)
    {
        key.Append(index).Append(':');
        foreach (SegmentShape segment in shape.Segments)
            key.Append(segment.OutputBias ? 'b' : 'l').Append(segment.Gain ? 'g' : '.');
        key.Append(shape.Weight ? "W" : "").Append(shape.Bias ? "B" : "").Append(shape.Rows ? "R" : "").Append(';');
    }
}
