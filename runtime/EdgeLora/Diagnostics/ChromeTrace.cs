using System.Diagnostics;
using System.Text.Json;

namespace EdgeLora;

/// <summary>Scopes as Chrome's trace events: complete events ("X") that nest by time, and the threads' names.</summary>
/// <remarks>https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, which Perfetto reads.</remarks>
internal static class ChromeTrace
{
    /// <summary>The scope around all others of its thread.</summary>
    public const string Tick = "tick";

    /// <summary>Writes a JSON array.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="scopes">In any order; sorted here.</param>
    /// <param name="threads">Names by id.</param>
    /// <param name="epoch">Time 0, of <see cref="Stopwatch.GetTimestamp"/>.</param>
    public static void Write(Stream stream, ProfileScope[] scopes, IEnumerable<KeyValuePair<int, string>> threads, long epoch)
    {
        // A parent before its children: earlier first, of two that begin together the longer.
        Array.Sort(scopes, static (a, b) => a.Start != b.Start ? a.Start.CompareTo(b.Start) : b.End.CompareTo(a.End));
        using Utf8JsonWriter writer = new(stream);
        writer.WriteStartArray();
        foreach ((int thread, string name) in threads.OrderBy(t => t.Key))
        {
            writer.WriteStartObject();
            writer.WriteString("name", "thread_name");
            writer.WriteString("ph", "M");
            writer.WriteNumber("pid", Environment.ProcessId);
            writer.WriteNumber("tid", thread);
            writer.WriteStartObject("args");
            writer.WriteString("name", name);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }
        foreach (ProfileScope scope in scopes)
        {
            writer.WriteStartObject();
            writer.WriteString("name", scope.Name);
            writer.WriteString("cat", "edgelora");
            writer.WriteString("ph", "X");
            // Both ends are rounded alike, so that what nests goes on nesting.
            decimal start = Microseconds(scope.Start - epoch);
            writer.WriteNumber("ts", start);
            writer.WriteNumber("dur", Microseconds(scope.End - epoch) - start);
            writer.WriteNumber("pid", Environment.ProcessId);
            writer.WriteNumber("tid", scope.Thread);
            writer.WriteStartObject("args");
            if (scope.Node is not null)
                writer.WriteString("node", scope.Node);
            if (scope.First is { } first)
                writer.WriteNumber(first.Name, first.Value);
            if (scope.Second is { } second)
                writer.WriteNumber(second.Name, second.Value);
            writer.WriteEndObject();
            writer.WriteEndObject();
            if (writer.BytesPending > 1 << 16)
                writer.Flush();
        }
        writer.WriteEndArray();
    }

    private static decimal Microseconds(long ticks) => decimal.Floor(ticks * 1e9m / Stopwatch.Frequency) / 1000;
}
