using System.Text;
using EdgeLora.Core;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeLora.Training;

/// <summary>
/// Reads a recipe's YAML: one document, one map; a value is a scalar, a list of scalars or a map of scalars. Events only, so nothing is made by reflection and nothing nests.
/// Aliases, which can blow a small file up, are refused. YAML 1.2: yaml.org/spec/1.2.2.
/// </summary>
internal static class RecipeYaml
{
    private const int MaxBytes = 1 << 20, MaxDepth = 8;

    /// <summary>Names and values in file order; a null is left out. What is wrong goes to <paramref name="faults"/>.</summary>
    public static List<(string Name, RecipeValue Value)> Read(string path, FaultList faults)
    {
        List<(string, RecipeValue)> fields = [];
        try
        {
            Parser parser = new(new StringReader(ReadText(path)));
            parser.Consume<StreamStart>();
            if (!parser.TryConsume<DocumentStart>(out _))
                return fields;
            ReadFields(parser, Path.GetDirectoryName(Path.GetFullPath(path))!, fields, faults);
            parser.Consume<DocumentEnd>();
            if (parser.Current is DocumentStart second)
                faults.Add($"line {second.Start.Line}: a second document begins; a recipe is one");
        }
        catch (YamlException e)
        {
            faults.Add($"line {e.Start.Line}: is no YAML: {e.Message}");
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or EndOfStreamException)
        {
            // The scanner's own slips on some broken texts.
            faults.Add($"is no YAML: {e.Message}");
        }
        return fields;
    }

    private static string ReadText(string path)
    {
        try
        {
            byte[] bytes = new FileInfo(path) is { Exists: true, Length: <= MaxBytes } ? File.ReadAllBytes(path) : throw new IOException(File.Exists(path) ? $"is larger than {MaxBytes} bytes" : "no such file");
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes).TrimStart('\uFEFF');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            throw new ModelFileException(path, e.Message, e);
        }
    }

    private static void ReadFields(Parser parser, string folder, List<(string, RecipeValue)> fields, FaultList faults)
    {
        if (!parser.TryConsume<MappingStart>(out _))
        {
            if (parser.Current is not Scalar { Value.Length: 0 })
                faults.Add($"line {parser.Current?.Start.Line ?? 0}: expected fields (name: value)");
            Skip(parser);
            return;
        }
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            // The scanner gives up without a word on some broken texts.
            ParsingEvent key = parser.Current ?? throw new EndOfStreamException("it ends too soon");
            string where = $"line {key.Start.Line}";
            string? name = (key as Scalar)?.Value;
            if (name is null)
                faults.Add($"{where}: expected a field's name");
            Skip(parser);
            ParsingEvent value = parser.Current ?? throw new EndOfStreamException("it ends too soon");
            switch (value)
            {
                case Scalar scalar:
                    parser.MoveNext();
                    if (name is not null && !IsNull(scalar))
                        fields.Add((name, new(where, folder, scalar.Value)));
                    break;
                case SequenceStart when ReadList(parser) is { } items:
                    if (name is not null && items.Count > 0)
                        fields.Add((name, new(where, folder, null, Items: items)));
                    break;
                case MappingStart when ReadMap(parser) is { } entries:
                    if (name is not null && entries.Count > 0)
                        fields.Add((name, new(where, folder, null, Entries: entries)));
                    break;
                case AnchorAlias:
                    parser.MoveNext();
                    faults.Add($"{where}: {name}: aliases are not read");
                    break;
                default:
                    faults.Add($"{where}: {name}: holds lists, maps or aliases inside of a list or map");
                    break;
            }
        }
    }

    // Null where an item is no scalar; the whole list is consumed all the same.
    private static List<string>? ReadList(Parser parser)
    {
        parser.Consume<SequenceStart>();
        List<string> items = [];
        bool plain = true;
        while (!parser.TryConsume<SequenceEnd>(out _))
        {
            if (parser.Current is Scalar item)
                items.Add(item.Value);
            else
                plain = false;
            Skip(parser);
        }
        return plain ? items : null;
    }

    private static List<(string, string)>? ReadMap(Parser parser)
    {
        parser.Consume<MappingStart>();
        List<(string, string)> entries = [];
        bool plain = true;
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            string? key = (parser.Current as Scalar)?.Value;
            Skip(parser);
            string? text = (parser.Current as Scalar)?.Value;
            Skip(parser);
            if (key is not null && text is not null)
                entries.Add((key, text));
            else
                plain = false;
        }
        return plain ? entries : null;
    }

    // What stands here and all that is in it; a recipe nests nothing, so it is not followed far.
    private static void Skip(Parser parser)
    {
        int depth = 0;
        do
        {
            ParsingEvent at = parser.Current ?? throw new EndOfStreamException("it ends too soon");
            depth += at.NestingIncrease;
            if (depth > MaxDepth)
                throw new YamlException(at.Start, at.End, $"lists and maps are nested more than {MaxDepth} deep");
            parser.MoveNext();
        }
        while (depth > 0);
    }

    private static bool IsNull(Scalar scalar) => scalar.Style == ScalarStyle.Plain && RecipeReader.IsNull(scalar.Value);
}
