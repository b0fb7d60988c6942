using EdgeLora.Extensions.AI;
using EdgeLora.Tests.Diagnostics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Xunit;

namespace EdgeLora.Tests.Extensions;

/// <summary>EdgeLora in a container.</summary>
public sealed class AddEdgeLoraTests
{
    [Fact]
    public async Task A_container_starts_answers_and_stops()
    {
        LogLines lines = new();
        using IHost app = Build(new() { ["EdgeLora:Path"] = Shipped.Folder, ["EdgeLora:Host:Threads"] = "1", ["EdgeLora:Chat:Node"] = "math", ["EdgeLora:Chat:MaxTokens"] = "5" }, lines: lines);
        await app.StartAsync(TestContext.Current.CancellationToken);
        IChatClient client = app.Services.GetRequiredService<IChatClient>();
        ChatResponse response = await client.GetResponseAsync("1+1", cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal("math", response.ModelId);
        Assert.InRange(response.Usage!.OutputTokenCount!.Value, 0, 5);
        EdgeHost host = app.Services.GetRequiredService<EdgeHost>();
        Assert.Same(host, client.GetService<EdgeHost>());
        Assert.Same(client, app.Services.GetRequiredService<EdgeChatClient>());
        Assert.Contains((LogLevel.Debug, "adapter math: Activated, generation 0"), lines.All);
        await app.StopAsync(TestContext.Current.CancellationToken);
        app.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => host.OpenSessionAsync());
    }

    [Fact]
    public void Settings_are_read_by_name_and_code_has_the_last_word()
    {
        using IHost app = Build(new()
        {
            ["EdgeLora:Path"] = "nowhere",
            ["EdgeLora:TickBudget"] = "00:00:00.002",
            ["EdgeLora:Host:Device"] = "vulkan,cpu",
            ["EdgeLora:Host:Adapters:0"] = "a",
            ["EdgeLora:Host:Adapters:1"] = "b",
            ["EdgeLora:Host:KvBudgetBytes"] = "5000000000",
            ["EdgeLora:Host:MaxDrift"] = "1.5",
            ["EdgeLora:Host:watch"] = "true",
            ["EdgeLora:Chat:Temperature"] = "0.7",
            ["EdgeLora:Chat:Seed"] = "18446744073709551615",
            ["EdgeLora:Chat:StopStrings:0"] = "x",
        }, o => (o.Path, o.Chat) = (Shipped.Folder, o.Chat with { Node = "holmes" }));
        EdgeLoraOptions options = app.Services.GetRequiredService<IOptions<EdgeLoraOptions>>().Value;
        Assert.Equal((Shipped.Folder, TimeSpan.FromMilliseconds(2), "vulkan,cpu", 5_000_000_000, 1.5, true), (options.Path, options.TickBudget, options.Host.Device, options.Host.KvBudgetBytes, options.Host.MaxDrift, options.Host.Watch));
        Assert.Equal(["a", "b"], options.Host.Adapters);
        Assert.Equal(("holmes", 0.7, ulong.MaxValue, 256), (options.Chat.Node, options.Chat.Generation.Sampling.Temperature, options.Chat.Generation.Sampling.Seed, options.Chat.Generation.MaxTokens));
        Assert.Equal(["x"], options.Chat.Generation.StopStrings);
    }

    [Fact]
    public void Every_option_of_the_host_and_the_client_that_a_text_can_say_is_in_the_section()
    {
        string source = File.ReadAllText(Path.Combine(SharedFolder.Repository, "runtime", "EdgeLora.Extensions.AI", "EdgeLoraSection.cs"));
        string[] code = ["DeviceReport", "WatchShaders", "Logger", "Generation", "EqualityContract"];
        Assert.All(typeof(EdgeHostOptions).GetProperties().Concat(typeof(EdgeChatClientOptions).GetProperties()).Select(p => p.Name).Except(code), name => Assert.Contains($"(\"{name}\"", source));
    }

    [Fact]
    public void Wrong_settings_are_named_all_at_once()
    {
        using IHost app = Build(new()
        {
            ["EdgeLora:Path"] = Shipped.Folder,
            ["EdgeLora:Host:Threads"] = "two",
            ["EdgeLora:Host:Watched"] = "true",
            ["EdgeLora:TickBudget"] = "-1",
            ["EdgeLora:Chat:TopP"] = "0,9",
        });
        OptionsValidationException e = Assert.Throws<OptionsValidationException>(() => app.Services.GetRequiredService<EdgeHost>());
        Assert.Equal(4, e.Failures.Count());
        Assert.Contains("EdgeLora:Host:Threads: expected a whole number, found two", e.Failures);
        Assert.Contains(e.Failures, f => f.StartsWith("EdgeLora:Host:Watched: expected one of Device, Threads", StringComparison.Ordinal));
        Assert.Contains("EdgeLora:Chat:TopP: expected a number, found 0,9", e.Failures);
        using IHost empty = Build([]);
        Assert.Contains("EdgeLora:Path: expected a tree", Assert.Throws<OptionsValidationException>(() => empty.Services.GetRequiredService<IChatClient>()).Message);
    }

    private static IHost Build(Dictionary<string, string?> settings, Action<EdgeLoraOptions>? configure = null, LogLines? lines = null)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings);
        if (lines is not null)
            builder.Logging.AddProvider(lines).SetMinimumLevel(LogLevel.Debug);
        builder.Services.AddEdgeLora(configure);
        return builder.Build();
    }
}
