using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace EdgeLora.Extensions.AI;

/// <summary>Ticks a host while an application runs.</summary>
/// <param name="host">The host.</param>
/// <param name="options">How long a tick is.</param>
internal sealed class EdgeHostService(EdgeHost host, IOptions<EdgeLoraOptions> options) : BackgroundService
{
    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => host.RunAsync(stoppingToken, options.Value.TickBudget);
}
