using System.Buffers;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Where a trained adapter comes from.</summary>
/// <param name="Parent">Its parent's path in the tree; empty below the root.</param>
/// <param name="ParentFingerprint">Fingerprint of the parent's tensors; empty below the root.</param>
/// <param name="BaseFingerprint">Fingerprint of the base.</param>
public sealed record AdapterLineage(string Parent, string ParentFingerprint, string BaseFingerprint);

/// <summary>Puts trained tensors back into an adapter's file form, and writes it: what the library would write, keys, shapes and configuration.</summary>
public static class AdapterOutput
{
    /// <summary>Beside PEFT's files, which have no place for it: the <see cref="AdapterLineage"/>.</summary>
    public const string LineageName = "lineage.json";

    /// <summary>The adapter that <paramref name="start"/> became. Tensors that did not train are the start's own, and live as long as it.</summary>
    /// <param name="start">The adapter that the run started from.</param>
    /// <param name="trained">File key and value in the file's row order (<see cref="TrainableTensor.InFileOrder"/>), each once. An unknown key throws <see cref="ArgumentException"/>.</param>
    public static PeftAdapter Of(LoraAdapter start, IEnumerable<(string Key, float[] Values)> trained)
    {
        Dictionary<string, Tensor> tensors = start.File.Tensors.ToDictionary(StringComparer.Ordinal);
        foreach ((string key, float[] values) in trained)
        {
            if (!tensors.TryGetValue(key, out Tensor? old))
                throw new ArgumentException($"{start.Name}: has no tensor {key}");
            tensors[key] = Tensor.FromFloats(key, old.Shape, values);
        }
        return PeftAdapter.From(start.Name, start.Config, new TensorFile(start.Name, tensors, start.File.File.Metadata, []));
    }

    /// <summary>Writes <paramref name="adapter"/> into <paramref name="folder"/>: a PEFT folder with its lineage beside, or <see cref="PeftAdapter.EdgeName"/> with it inside. Each file is atomic, the one that makes it an adapter comes last.</summary>
    public static void Write(PeftAdapter adapter, string folder, AdapterFormat format, AdapterLineage lineage)
    {
        Directory.CreateDirectory(folder);
        if (format == AdapterFormat.Elora)
        {
            adapter.WriteElora(Path.Combine(folder, PeftAdapter.EdgeName), Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))), lineage.ParentFingerprint, lineage.BaseFingerprint);
            return;
        }
        ArrayBufferWriter<byte> json = new();
        using (Utf8JsonWriter writer = new(json, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteString("parent", lineage.Parent);
            writer.WriteString("parentFingerprint", lineage.ParentFingerprint);
            writer.WriteString("baseFingerprint", lineage.BaseFingerprint);
            writer.WriteEndObject();
        }
        AtomicFile.WriteBytes(Path.Combine(folder, LineageName), json.WrittenMemory);
        adapter.Write(folder);
    }
}
