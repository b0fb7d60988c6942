using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Cli.Inspection;

/// <summary>One tensor of a file.</summary>
internal sealed record TensorLine(string Name, string Type, Shape Shape, long Bytes);

/// <summary>What was found out about a file or folder.</summary>
internal sealed class InspectReport(string path)
{
    /// <summary>adapter, model, tree, tensors, tokenizer, config, or unknown.</summary>
    public string Kind { get; set; } = "unknown";

    /// <summary>The container: safetensors, GGUF v3, PEFT, .elora, …</summary>
    public string Format { get; set; } = "";

    /// <summary>Bytes of the tensors, or of the file where there are none.</summary>
    public long Bytes { get; set; }

    /// <summary>XxHash128 over the tensors, or null.</summary>
    public string? Fingerprint { get; set; }

    /// <summary>More facts in the order to show them: texts, long, double, bool.</summary>
    public List<(string Name, object Value)> Facts { get; } = [];

    /// <summary>The tensors.</summary>
    public List<TensorLine> Tensors { get; } = [];

    /// <summary>What becomes of an adapter or a model in every format that is written.</summary>
    public List<ConversionLine> Conversions { get; } = [];

    /// <summary>Why a reader refuses it; empty when it is sound.</summary>
    public List<string> Faults { get; } = [];

    /// <summary>Takes a file's tensors, their bytes and their fingerprint.</summary>
    public void Take(IReadOnlyCollection<Tensor> tensors)
    {
        Tensors.AddRange(tensors.Select(t => new TensorLine(t.Name, t.Type.ToString(), t.Shape, t.ByteLength)));
        Bytes = tensors.Sum(t => t.ByteLength);
        Fingerprint = Core.Fingerprint.Of(tensors);
    }

    /// <summary>Writes the fields of one JSON object.</summary>
    public void WriteJson(Utf8JsonWriter w)
    {
        w.WriteString("path", path);
        w.WriteString("kind", Kind);
        w.WriteString("format", Format);
        w.WriteBoolean("ok", Faults.Count == 0);
        w.WriteNumber("bytes", Bytes);
        w.WriteString("fingerprint", Fingerprint);
        foreach ((string name, object value) in Facts)
            w.WriteFact(name, value);
        w.WriteStartArray("tensors");
        foreach (TensorLine tensor in Tensors)
        {
            w.WriteStartObject();
            w.WriteString("name", tensor.Name);
            w.WriteString("dtype", tensor.Type);
            w.WriteStartArray("shape");
            foreach (long dimension in tensor.Shape.Dimensions)
                w.WriteNumberValue(dimension);
            w.WriteEndArray();
            w.WriteNumber("bytes", tensor.Bytes);
            w.WriteEndObject();
        }
        w.WriteEndArray();
        if (Conversions.Count > 0)
        {
            w.WriteStartArray("convertsTo");
            foreach (ConversionLine conversion in Conversions)
            {
                w.WriteStartObject();
                w.WriteString("format", conversion.Format);
                w.WriteString("verdict", conversion.Verdict);
                w.WriteTexts("reasons", conversion.Reasons);
                w.WriteEndObject();
            }
            w.WriteEndArray();
        }
        w.WriteTexts("faults", Faults);
    }

    /// <summary>Writes it for people.</summary>
    public void WriteText(TextWriter output)
    {
        output.WriteLine($"{path}: {Kind}{(Format.Length > 0 ? ", " + Format : "")}");
        if (Bytes > 0)
            output.WriteLine(FormattableString.Invariant($"  bytes        {Bytes:N0}"));
        if (Fingerprint is not null)
            output.WriteLine($"  fingerprint  {Fingerprint}");
        foreach ((string name, object value) in Facts)
            output.WriteLine($"  {name,-12} {(value is IReadOnlyList<string> list ? Shortened(list) : System.Convert.ToString(value, CultureInfo.InvariantCulture))}");
        WriteTensors(output);
        if (Conversions.Count > 0)
            output.WriteLine("  converts to");
        foreach (ConversionLine conversion in Conversions)
            output.WriteLine($"    {conversion.Format,-18} {conversion.Verdict,-12} {Reasons(conversion.Reasons)}".TrimEnd());
        output.WriteLine(Faults.Count == 0 ? "  sound" : $"  refused: {Faults.Count} {(Faults.Count == 1 ? "fault" : "faults")}");
    }

    // An adapter's tensors are summed up by its facts; where it was refused they tell what is there.
    private void WriteTensors(TextWriter output)
    {
        if (Kind == "adapter" && Conversions.Count > 0)
            return;
        // All in one screen: what facts and conversions leave of it.
        const int Screen = 40, Least = 6;
        int most = Math.Max(Least, Screen - Facts.Count - Conversions.Count), shown = Tensors.Count <= most + 1 ? Tensors.Count : most, width = shown == 0 ? 0 : Math.Min(90, Tensors.Take(shown).Max(t => t.Name.Length));
        foreach (TensorLine tensor in Tensors.Take(shown))
            output.WriteLine($"  {tensor.Name.PadRight(width)}  {tensor.Type,-5} {tensor.Shape}");
        if (shown < Tensors.Count)
            output.WriteLine(FormattableString.Invariant($"  and {Tensors.Count - shown} more tensors: --json has all"));
    }

    private static string Shortened(IReadOnlyList<string> list)
    {
        const int Most = 12;
        return string.Join(", ", list.Take(Most)) + (list.Count > Most ? FormattableString.Invariant($" and {list.Count - Most} more") : "");
    }

    private static string Reasons(IReadOnlyList<string> reasons)
    {
        const int Most = 110;
        if (reasons.Count == 0)
            return "";
        string first = reasons[0].Length > Most ? reasons[0][..Most] + "…" : reasons[0];
        return reasons.Count > 1 ? FormattableString.Invariant($"{first} (and {reasons.Count - 1} more)") : first;
    }
}
