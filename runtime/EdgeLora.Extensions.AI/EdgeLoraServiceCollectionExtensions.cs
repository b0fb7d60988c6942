using EdgeLora;
using EdgeLora.Extensions.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>EdgeLora in a container.</summary>
public static class EdgeLoraServiceCollectionExtensions
{
    /// <summary>
    /// Adds one <see cref="EdgeHost"/>, a hosted service that ticks it, and an <see cref="IChatClient"/> over it (also as <see cref="EdgeChatClient"/>). Its options come from the configuration, where the container has one,
    /// and then from <paramref name="configure"/>. Whoever resolves them is told of wrong settings by <see cref="OptionsValidationException"/>, all at once.
    /// </summary>
    /// <param name="services">The container's.</param>
    /// <param name="configure">Has the last word on the options.</param>
    /// <param name="section">The configuration's section.</param>
    public static IServiceCollection AddEdgeLora(this IServiceCollection services, Action<EdgeLoraOptions>? configure = null, string section = "EdgeLora")
    {
        OptionsBuilder<EdgeLoraOptions> options = services.AddOptions<EdgeLoraOptions>().Configure<IServiceProvider>((o, provider) =>
        {
            if (provider.GetService<IConfiguration>() is { } configuration)
                EdgeLoraSection.Read(configuration.GetSection(section), o);
        });
        if (configure is not null)
            options.Configure(configure);
        options.Validate(o => o.Path.Length > 0, $"{section}:Path: expected a tree, a model folder or a .gguf file, found nothing");
        services.TryAddSingleton(Open);
        services.TryAddSingleton(provider => new EdgeChatClient(provider.GetRequiredService<EdgeHost>(), provider.GetRequiredService<IOptions<EdgeLoraOptions>>().Value.Chat));
        services.TryAddSingleton<IChatClient>(provider => provider.GetRequiredService<EdgeChatClient>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, EdgeHostService>());
        return services;
    }

    private static EdgeHost Open(IServiceProvider provider)
    {
        EdgeLoraOptions options = provider.GetRequiredService<IOptions<EdgeLoraOptions>>().Value;
        return EdgeHost.Open(options.Path, options.Host with { Logger = options.Host.Logger ?? provider.GetService<ILoggerFactory>()?.CreateLogger(EdgeDiagnostics.SourceName) });
    }
}
