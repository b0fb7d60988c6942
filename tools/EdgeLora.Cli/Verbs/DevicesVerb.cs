using System.CommandLine;
using EdgeLora.Models;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>devices</c>: what models can run on here.</summary>
internal static class DevicesVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("devices", "List what models can run on here; the first column is what --device takes.");
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(json);
        command.SetAction(result =>
        {
            IReadOnlyList<DeviceInfo> devices = ComputeDevices.All(out IReadOnlyList<MissingDevice> missing);
            if (result.GetValue(json))
            {
                io.WriteJson(w =>
                {
                    w.WriteStartArray("devices");
                    foreach (DeviceInfo device in devices)
                    {
                        w.WriteStartObject();
                        w.WriteString("id", device.Id);
                        w.WriteString("name", device.Name);
                        w.WriteString("kind", device.Kind);
                        w.WriteString("detail", device.Detail);
                        w.WriteBoolean("default", device.IsDefault);
                        if (device.Uuid is { } uuid)
                            w.WriteString("uuid", uuid);
                        if (device.MemoryBytes is { } bytes)
                            w.WriteNumber("memoryBytes", bytes);
                        w.WriteEndObject();
                    }
                    w.WriteEndArray();
                    w.WriteStartObject("missing");
                    foreach (MissingDevice kind in missing)
                        w.WriteString(kind.Name, kind.Why);
                    w.WriteEndObject();
                });
                return EdgeLoraCommand.Ok;
            }
            Table table = new Table().Border(TableBorder.None).AddColumns("id", "name", "kind", "memory", "uuid", "detail");
            foreach (DeviceInfo device in devices)
                table.AddRow(new Text(device.Id + (device.IsDefault ? " *" : "")), new Text(device.Name), new Text(device.Kind), new Text(device.MemoryBytes is { } bytes ? FormattableString.Invariant($"{bytes / 1073741824.0:0.0} GiB") : ""), new Text(device.Uuid?.ToString() ?? ""), new Text(device.Detail));
            io.Console().Write(table);
            foreach (MissingDevice kind in missing)
                io.Console().WriteLine($"No {kind.Name} device: {kind.Why}.");
            return EdgeLoraCommand.Ok;
        });
        return command;
    }
}
