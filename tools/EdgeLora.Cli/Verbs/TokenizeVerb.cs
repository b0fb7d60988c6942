using System.CommandLine;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>tokenize</c>: text to ids and back.</summary>
internal static class TokenizeVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("tokenize", "Turn text into token ids, or ids into text with --decode.");
        Argument<string> model = new("model-or-tokenizer") { Description = "A tree, a model folder, a .gguf file, a tokenizer file, or hf:owner/name that 'pull' brought." };
        Option<string?> prompt = new("--prompt", "-p") { Description = "The text, or the ids 1,2,3 with --decode. Default: standard input.", HelpName = "text" };
        Option<bool> decode = new("--decode") { Description = "Read ids, print text." };
        Option<bool> special = new("--special") { Description = "Keep special tokens in decoded text." };
        Option<bool> bare = new("--no-special-tokens") { Description = "Add no begin, end or other special tokens." };
        Option<bool> plain = new("--specials-as-text") { Description = "Take special tokens that stand in the text as plain text." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON with ids, tokens and offsets (in code points), or with text." };
        Option<bool> lines = new("--jsonl") { Description = "For each input line, a JSON string (with --decode: an array of ids), print one line of JSON." };
        foreach (Symbol symbol in new Symbol[] { model, prompt, decode, special, bare, plain, json, lines })
            if (symbol is Argument argument)
                command.Add(argument);
            else
                command.Add((Option)symbol);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            Tokenizer tokenizer = Open(HubCache.Resolve(result.GetRequiredValue(model)));
            bool back = result.GetValue(decode), add = !result.GetValue(bare), asText = result.GetValue(plain), skip = !result.GetValue(special);
            if (result.GetValue(lines))
            {
                if (result.GetValue(prompt) is not null)
                    throw new UsageException("--jsonl reads standard input and takes no --prompt");
                for (int number = 1; io.Input.ReadLine() is { } line; number++)
                {
                    cancellation.ThrowIfCancellationRequested();
                    using JsonDocument document = SafeJson.Parse($"line {number}", System.Text.Encoding.UTF8.GetBytes(line));
                    if (back)
                        io.WriteJson(w => w.WriteString("text", tokenizer.Decode(Ids(document.RootElement, number), skip)));
                    else if (document.RootElement.ValueKind == JsonValueKind.String)
                        WriteEncoding(io, tokenizer.Encode(document.RootElement.GetString()!, add, asText));
                    else
                        throw new ModelFileException($"line {number}", $"expected a JSON string, found {SafeJson.Kind(document.RootElement.ValueKind)}");
                }
                return EdgeLoraCommand.Ok;
            }
            string input = result.GetValue(prompt) ?? io.Input.ReadToEnd();
            if (back)
            {
                string text = tokenizer.Decode(Numbers.Tokens(input.Trim().Trim('[', ']').ReplaceLineEndings(" ")), skip);
                if (result.GetValue(json))
                    io.WriteJson(w => w.WriteString("text", text));
                else
                    io.Output.Write(text);
                return EdgeLoraCommand.Ok;
            }
            Encoding encoding = tokenizer.Encode(input, add, asText);
            if (result.GetValue(json))
                WriteEncoding(io, encoding);
            else
                io.Output.Write(string.Join(',', encoding.Ids.Select(i => i.ToString(System.Globalization.CultureInfo.InvariantCulture))) + "\n");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    /// <summary>The tokenizer of a tree, a model or a file.</summary>
    internal static Tokenizer Open(string path)
    {
        string inTree = Path.Combine(path, "base"), gguf = path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) ? path : Path.Combine(path, "base.gguf");
        if (!File.Exists(gguf))
            return Tokenizer.Load(Directory.Exists(inTree) ? inTree : path);
        using GgufFile file = GgufFile.Open(gguf);
        return Tokenizer.FromGguf(file.Metadata, gguf);
    }

    private static int[] Ids(JsonElement array, int line)
    {
        if (array.ValueKind != JsonValueKind.Array)
            throw new ModelFileException($"line {line}", $"expected an array of ids, found {SafeJson.Kind(array.ValueKind)}");
        return [.. array.EnumerateArray().Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int id) ? id
            : throw new ModelFileException($"line {line}", $"expected an id, found {SafeJson.Excerpt(e)}"))];
    }

    private static void WriteEncoding(CommandIo io, Encoding encoding) => io.WriteJson(w =>
    {
        w.WriteTokens("ids", encoding.Ids);
        w.WriteTexts("tokens", encoding.Tokens);
        w.WriteStartArray("offsets");
        foreach ((int start, int end) in encoding.Offsets)
        {
            w.WriteStartArray();
            w.WriteNumberValue(start);
            w.WriteNumberValue(end);
            w.WriteEndArray();
        }
        w.WriteEndArray();
    });
}
