namespace EdgeLora.Extensions.AI;

/// <summary>What <c>AddEdgeLora</c> opens and how it runs. As configuration: a section with the same names, <c>EdgeLora:Path</c>, <c>EdgeLora:Host:Device</c>, <c>EdgeLora:Chat:Node</c>.</summary>
public sealed class EdgeLoraOptions
{
    /// <summary>A tree, a model folder or a .gguf file.</summary>
    public string Path { get; set; } = "";

    /// <summary>Time of one tick.</summary>
    public TimeSpan TickBudget { get; set; } = TimeSpan.FromMilliseconds(10);

    /// <summary>The host's own options. Without a logger the container's is taken.</summary>
    public EdgeHostOptions Host { get; set; } = new();

    /// <summary>The chat client's.</summary>
    public EdgeChatClientOptions Chat { get; set; } = new();
}
