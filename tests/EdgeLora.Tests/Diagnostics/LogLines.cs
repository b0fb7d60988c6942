using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace EdgeLora.Tests.Diagnostics;

/// <summary>A log that keeps its lines.</summary>
internal sealed class LogLines : ILogger, ILoggerProvider
{
    public ConcurrentQueue<(LogLevel Level, string Text)> All { get; } = new();

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => All.Enqueue((logLevel, formatter(state, exception)));

    public void Dispose()
    {
    }
}
