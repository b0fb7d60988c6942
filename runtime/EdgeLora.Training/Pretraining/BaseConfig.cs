using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>A config.json for a base that does not exist yet: it may leave to the tokenizer what only the tokenizer knows.</summary>
public sealed class BaseConfig
{
    private const string VocabularyField = "vocab_size";

    private readonly string _path;
    private readonly ReadOnlyMemory<byte> _utf8;

    private BaseConfig(string path, ReadOnlyMemory<byte> utf8, int? vocabulary) => (_path, _utf8, Vocabulary) = (path, utf8, vocabulary);

    /// <summary>vocab_size; null where the tokenizer decides.</summary>
    public int? Vocabulary { get; }

    /// <summary>Reads and checks a config. Throws <see cref="ModelFileException"/> naming the fields that cannot be.</summary>
    public static BaseConfig Read(string path)
    {
        ReadOnlyMemory<byte> utf8 = SafeJson.ReadBytes(path, 16L << 20);
        HfConfig config = HfConfig.Parse(path, utf8);
        int? vocabulary = config.TryGetInt(VocabularyField, 1, int.MaxValue, out int named) ? named : null;
        // Whatever else is wrong must be told before a tokenizer is trained for it: any size will do.
        WeightPlan.Of(vocabulary is null ? HfConfig.Parse(path, Write(Fields(utf8, f => f[VocabularyField] = 1))) : config);
        return new(path, utf8, vocabulary);
    }

    /// <summary>
    /// The config of a base with this tokenizer: vocab_size, bos_token_id, eos_token_id and pad_token_id are filled in where they are absent, and the type of the weights is set. A vocab_size larger than the
    /// tokenizer's stays. Throws <see cref="ModelFileException"/> with every field that contradicts the tokenizer.
    /// </summary>
    public (HfConfig Config, ReadOnlyMemory<byte> Utf8) Complete(Tokenizer tokenizer, DType type)
    {
        FaultList faults = new(_path);
        HfConfig given = HfConfig.Parse(_path, _utf8);
        int vocabulary = Vocabulary ?? tokenizer.VocabularySize;
        if (vocabulary < tokenizer.VocabularySize)
            faults.Add($"{VocabularyField}: expected at least {tokenizer.VocabularySize}, the tokenizer's tokens, found {vocabulary}");
        JsonObject fields = Fields(_utf8, f =>
        {
            f[VocabularyField] = vocabulary;
            foreach ((string role, int? id) in new[] { ("bos_token", tokenizer.BosId), ("eos_token", tokenizer.EosId), ("pad_token", tokenizer.PadId) })
                SetId(f, given, role, id, faults);
            HfConfig.SetType(f, type);
        });
        faults.ThrowIfAny();
        byte[] utf8 = Write(fields);
        return (HfConfig.Parse(_path, utf8), utf8);
    }

    private static void SetId(JsonObject fields, HfConfig given, string role, int? id, FaultList faults)
    {
        string field = role + "_id";
        if (id is null)
            return;
        // -1 stands for no padding in some older configs.
        if (!given.TryGetInts(field, -1, int.MaxValue, out IReadOnlyList<int> ids))
            fields[field] = id;
        else if (!ids.Contains(id.Value))
            faults.Add($"{field}: expected {id}, the tokenizer's {role}, found {string.Join(", ", ids)}");
    }

    private static JsonObject Fields(ReadOnlyMemory<byte> utf8, Action<JsonObject> change)
    {
        JsonObject fields = JsonNode.Parse(utf8.Span)!.AsObject();
        change(fields);
        return fields;
    }

    private static byte[] Write(JsonObject fields)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            fields.WriteTo(writer);
        return stream.ToArray();
    }
}
