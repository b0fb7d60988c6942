using System.Buffers;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Cli.Bench;

/// <summary>A report as one JSON object: what <c>--json</c> writes and <c>compare</c> reads.</summary>
internal static class BenchJson
{
    private const string Kind = "edgelora-bench";
    private const int Version = 1;

    /// <summary>The whole object.</summary>
    public static ReadOnlyMemory<byte> ToUtf8(BenchReport report)
    {
        ArrayBufferWriter<byte> bytes = new();
        using (Utf8JsonWriter writer = new(bytes))
        {
            writer.WriteStartObject();
            Write(writer, report);
            writer.WriteEndObject();
        }
        return bytes.WrittenMemory;
    }

    /// <summary>Writes the object's fields.</summary>
    public static void Write(Utf8JsonWriter w, BenchReport report)
    {
        w.WriteString("kind", Kind);
        w.WriteNumber("version", Version);
        w.WriteString("edgelora", report.Engine);
        w.WriteString("commit", report.Commit);
        w.WriteString("runtime", report.Runtime);
        w.WriteString("os", report.Os);
        w.WriteString("architecture", report.Architecture);
        w.WriteNumber("cores", report.Cores);
        w.WriteString("started", report.Started.ToString("O", CultureInfo.InvariantCulture));
        w.WriteString("model", report.Model);
        w.WriteString("type", report.Type);
        w.WriteBoolean("quick", report.Quick);
        w.WriteStartArray("devices");
        foreach (DeviceReport device in report.Devices)
            Write(w, device);
        w.WriteEndArray();
    }

    /// <summary>A report from <paramref name="root"/>. Throws <see cref="ModelFileException"/> naming <paramref name="path"/> and what is not as <see cref="Write(Utf8JsonWriter, BenchReport)"/> writes it.</summary>
    public static BenchReport Read(string path, JsonElement root)
    {
        try
        {
            if (root.GetProperty("kind").GetString() != Kind || root.GetProperty("version").GetInt32() != Version)
                throw new ModelFileException(path, $"expected kind {Kind}, version {Version}; found {SafeJson.Excerpt(root.GetProperty("kind"))}, {SafeJson.Excerpt(root.GetProperty("version"))}");
            return new(Text(root, "edgelora")!, Text(root, "commit"), Text(root, "runtime")!, Text(root, "os")!, Text(root, "architecture")!, root.GetProperty("cores").GetInt32(),
                DateTimeOffset.Parse(Text(root, "started")!, CultureInfo.InvariantCulture), Text(root, "model")!, Text(root, "type"), root.GetProperty("quick").GetBoolean(), [.. root.GetProperty("devices").EnumerateArray().Select(ReadDevice)]);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException or InvalidDataException)
        {
            throw new ModelFileException(path, $"is no report of 'edgelora bench': {e.Message}");
        }
    }

    private static void Write(Utf8JsonWriter w, DeviceReport device)
    {
        w.WriteStartObject();
        w.WriteString("id", device.Id);
        w.WriteString("name", device.Name);
        w.WriteString("kind", device.Kind);
        w.WriteString("driver", device.Driver);
        w.WriteString("error", device.Error);
        if (device.Bytes is { } bytes)
        {
            w.WriteStartObject("bytes");
            w.WriteNumber("base", bytes.Base);
            w.WriteStartArray("adapters");
            foreach (AdapterBytes adapter in bytes.Adapters)
            {
                w.WriteStartObject();
                w.WriteString("label", adapter.Label);
                w.WriteNumber("resident", adapter.Resident);
                w.WriteNumber("file", adapter.File);
                w.WriteEndObject();
            }
            w.WriteEndArray();
            w.WriteEndObject();
        }
        if (device.Load is { } load)
        {
            w.WriteStartObject("load");
            w.WriteNumber("cpuShare", load.CpuShare);
            Optional(w, "before", load.LoadBefore);
            Optional(w, "after", load.LoadAfter);
            w.WriteBoolean("noisy", load.IsNoisy);
            w.WriteEndObject();
        }
        w.WriteStartArray("cases");
        foreach (CaseResult result in device.Cases)
            Write(w, device, result);
        w.WriteEndArray();
        w.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter w, DeviceReport device, CaseResult result)
    {
        w.WriteStartObject();
        w.WriteString("id", result.Name.Id);
        w.WriteString("group", result.Name.Group);
        w.WriteString("row", result.Name.Row);
        w.WriteString("column", result.Name.Column);
        w.WriteString("unit", result.Name.Unit.Name);
        w.WriteBoolean("higherIsBetter", result.Name.Unit.Rate);
        w.WriteString("against", result.Name.Against);
        w.WriteString("derived", result.Derived);
        w.WriteString("error", result.Error);
        w.WriteNumber("repetitions", result.Repetitions);
        Optional(w, "bytesPerToken", result.BytesPerToken);
        w.WriteStartArray("samples");
        foreach (double sample in result.Samples)
            w.WriteNumberValue(sample);
        w.WriteEndArray();
        // What follows is computed from the samples, for who reads the file without this program.
        if (result.Error is null)
        {
            w.WriteNumber("median", result.Median);
            w.WriteFinite("spread", result.Spread);
            Optional(w, "slowdown", device.Slowdown(result));
            Optional(w, "gigabytesPerSecond", device.Gigabytes(result));
            Optional(w, "ofMemoryBandwidth", BenchTables.Bandwidth(device, result));
        }
        w.WriteEndObject();
    }

    private static DeviceReport ReadDevice(JsonElement e) => new(Text(e, "id")!, Text(e, "name")!, Text(e, "kind")!, Text(e, "driver")!, Text(e, "error"),
        e.TryGetProperty("bytes", out JsonElement bytes)
            ? new(bytes.GetProperty("base").GetInt64(), [.. bytes.GetProperty("adapters").EnumerateArray().Select(a => new AdapterBytes(Text(a, "label")!, a.GetProperty("resident").GetInt64(), a.GetProperty("file").GetInt64()))])
            : null,
        e.TryGetProperty("load", out JsonElement load) ? new(load.GetProperty("cpuShare").GetDouble(), Number(load, "before"), Number(load, "after")) : null,
        [.. e.GetProperty("cases").EnumerateArray().Select(ReadCase)]);

    private static CaseResult ReadCase(JsonElement e) => new(
        new(Text(e, "id")!, Text(e, "group")!, Text(e, "row")!, Text(e, "column")!, BenchUnit.Of(Text(e, "unit")!), Text(e, "against")),
        [.. e.GetProperty("samples").EnumerateArray().Select(s => s.GetDouble())], e.GetProperty("repetitions").GetInt32(), Text(e, "error"), (long?)Number(e, "bytesPerToken"), Text(e, "derived"));

    private static string? Text(JsonElement e, string name) => e.GetProperty(name).GetString();

    private static double? Number(JsonElement e, string name) => e.TryGetProperty(name, out JsonElement value) ? value.GetDouble() : null;

    private static void Optional(Utf8JsonWriter w, string name, double? value)
    {
        if (value is { } number && double.IsFinite(number))
            w.WriteNumber(name, number);
    }
}
