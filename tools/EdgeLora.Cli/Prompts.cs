using System.Text.Json;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>Prompts as tokens.</summary>
internal static class Prompts
{
    /// <summary>The host's tokenizer; throws where it has none.</summary>
    public static Tokenizer Tokenizer(EdgeHost host) =>
        host.Tokenizer ?? throw new InvalidOperationException($"{host.Name}: has no tokenizer; give --tokens");

    /// <summary>Tokens of a text, at least one; through the chat template where <paramref name="chat"/> is set.</summary>
    public static int[] Encode(EdgeHost host, string text, bool chat)
    {
        int[] ids = chat ? Encode(host, [new ChatMessage("user", text)]) : Tokenizer(host).EncodeIds(text);
        if (ids.Length > 0)
            return ids;
        return (Tokenizer(host).BosId ?? host.Model.Config.BosId) is { } bos ? [bos] : throw new UsageException("the prompt is empty and the model has no begin-of-sequence token");
    }

    /// <summary>Tokens of a dialogue that waits for the assistant's answer.</summary>
    public static int[] Encode(EdgeHost host, IReadOnlyList<ChatMessage> dialogue)
    {
        Tokenizer tokenizer = Tokenizer(host);
        string source = tokenizer.ChatTemplate ?? throw new InvalidOperationException($"{host.Name}: has no chat template; use 'run'");
        string text = ChatTemplate.Parse(source).Render(new ChatTemplateInput { Turns = dialogue, AddGenerationPrompt = true, SpecialTokens = tokenizer.SpecialTokens });
        return tokenizer.EncodeIds(text, addSpecialTokens: false);
    }

    /// <summary>Writes an array of ids.</summary>
    public static void WriteTokens(this Utf8JsonWriter writer, string name, ReadOnlySpan<int> ids)
    {
        writer.WriteStartArray(name);
        foreach (int id in ids)
            writer.WriteNumberValue(id);
        writer.WriteEndArray();
    }

    /// <summary>Writes a number, or null where it is none: JSON has no NaN.</summary>
    public static void WriteFinite(this Utf8JsonWriter writer, string name, double value)
    {
        if (double.IsFinite(value))
            writer.WriteNumber(name, value);
        else
            writer.WriteNull(name);
    }

    /// <summary>Writes an array of texts.</summary>
    public static void WriteTexts(this Utf8JsonWriter writer, string name, IEnumerable<string> texts)
    {
        writer.WriteStartArray(name);
        foreach (string text in texts)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }

    /// <summary>Writes one fact of a report: a text, texts, a number, a flag.</summary>
    public static void WriteFact(this Utf8JsonWriter writer, string name, object value)
    {
        switch (value)
        {
            case bool flag: writer.WriteBoolean(name, flag); break;
            case int number: writer.WriteNumber(name, number); break;
            case long number: writer.WriteNumber(name, number); break;
            case double number when double.IsFinite(number): writer.WriteNumber(name, number); break;
            case IReadOnlyList<string> texts: writer.WriteTexts(name, texts); break;
            default: writer.WriteString(name, System.Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture)); break;
        }
    }
}
