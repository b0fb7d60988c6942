using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>The model of a verb: a tree or a plain model, where to stand in it, and the device.</summary>
internal sealed class HostArguments
{
    /// <summary>Adds the arguments to <paramref name="command"/>; without a device and a place for a verb that picks them itself.</summary>
    public HostArguments(Command command, bool withBlend = false, bool withDevice = true)
    {
        command.Add(Source);
        if (withDevice)
            command.Add(At);
        command.Add(Adapter);
        if (withBlend)
            command.Add(Blend);
        if (withDevice)
            Device.AddTo(command);
    }

    public Argument<string> Source { get; } = new("tree-or-model") { Description = "A tree folder (with base/, base.gguf or base.json), a model folder, a .gguf file, or hf:owner/name[@revision][:file] that 'pull' brought." };

    public Option<string?> At { get; } = new("--at") { Description = "Node to stand on, a path in the tree such as support/alice. Default: the root; with --adapter: the last adapter.", HelpName = "path" };

    public Option<string[]> Adapter { get; } = new("--adapter") { Description = "Adapter folder or file (PEFT, .elora, .gguf, .onnx_adapter and others), or hf:owner/name, on a plain model; repeated: each builds on the one before. Default: none.", HelpName = "folder" };

    public Option<string?> Blend { get; } = new("--blend") { Description = "Weighted sum of nodes instead of one: a=0.3,b/c=0.7. Default: none.", HelpName = "node=strength,…" };

    public DeviceArguments Device { get; } = new();

    /// <summary>Opens the host.</summary>
    public EdgeHost Open(ParseResult result, string? device = null) => EdgeHost.Open(result.GetRequiredValue(Source), Options(result, device));

    /// <summary>Opens the host of an encoder.</summary>
    public ClassifierHost OpenClassifier(ParseResult result) => ClassifierHost.Open(result.GetRequiredValue(Source), Options(result, null));

    private EdgeHostOptions Options(ParseResult result, string? device) => new()
    {
        Device = device ?? Device.Name(result),
        Threads = Device.Threads(result),
        Int8Activations = Device.Int8Activations(result),
        DeviceReport = DeviceArguments.Report,
        WatchShaders = Device.WatchShaders(result),
        Adapters = result.GetValue(Adapter) ?? [],
    };

    /// <summary>Goes where the arguments say.</summary>
    public AdapterPath Enter(EdgeHost host, ParseResult result) => Enter(result, host.Tree, host.Enter, host.Blend);

    /// <summary>Goes where the arguments say.</summary>
    public AdapterPath Enter(ClassifierHost host, ParseResult result) => Enter(result, host.Tree, host.Enter, host.Blend);

    /// <summary>The node that the arguments name.</summary>
    public string Node(EdgeHost host, ParseResult result) => result.GetValue(At) ?? Default(host.Tree, result);

    private AdapterPath Enter(ParseResult result, AdapterTree tree, Func<string, AdapterPath> enter, Func<IReadOnlyList<(string, float)>, AdapterPath> blended)
    {
        string? at = result.GetValue(At), blend = result.GetValue(Blend);
        if (blend is not null)
            return at is null ? blended(Numbers.Blend(blend)) : throw new UsageException("--blend and --at: give one of them");
        return enter(at ?? Default(tree, result));
    }

    private string Default(AdapterTree tree, ParseResult result) => result.GetValue(Adapter) is { Length: > 0 } ? tree.Nodes[^1].Path : "";
}
