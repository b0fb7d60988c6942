using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Compares tokenizers with recorded results of the reference libraries: a folder's cases.json, spm_cases.json, config_flags.json,
/// or components.json, in the layout of fixtures/tokenizers. Everything is exact.
/// </summary>
public sealed class TokenizerGolden
{
    private readonly List<string> _mismatches = [];
    private readonly string _name;

    private TokenizerGolden(string name) => _name = name;

    /// <summary>What differs, a line each.</summary>
    public IReadOnlyList<string> Mismatches => _mismatches;

    /// <summary>Number of results compared.</summary>
    public int Compared { get; private set; }

    /// <summary>Checks every tokenizer of <paramref name="folder"/> against the cases beside it.</summary>
    /// <exception cref="ModelFileException">A tokenizer or a case file cannot be read.</exception>
    public static TokenizerGolden Verify(string folder)
    {
        TokenizerGolden golden = new(Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)));
        string cases = Path.Combine(folder, "cases.json"), pieces = Path.Combine(folder, "spm_cases.json"), flags = Path.Combine(folder, "config_flags.json");
        if (File.Exists(cases))
        {
            using JsonDocument document = JsonFields.Parse(cases, "cases.json");
            if (document.RootElement.TryGetProperty("cases", out _))
                golden.Cases(Tokenizer.Load(Path.Combine(folder, "tokenizer.json")), document.RootElement);
            else
                golden.Sections(folder, document.RootElement);
        }
        if (File.Exists(pieces))
        {
            using JsonDocument document = JsonFields.Parse(pieces, "spm_cases.json");
            golden.Pieces(Tokenizer.Load(Path.Combine(folder, "tokenizer.model")), document.RootElement);
        }
        if (File.Exists(flags))
        {
            using JsonDocument document = JsonFields.Parse(flags, "config_flags.json");
            golden.Flags(folder, document.RootElement);
        }
        return golden;
    }

    /// <summary>Checks an opened tokenizer, wherever it came from, against a cases.json or an spm_cases.json.</summary>
    public static TokenizerGolden Verify(Tokenizer tokenizer, string casesFile)
    {
        TokenizerGolden golden = new(Path.GetFileName(casesFile));
        using JsonDocument document = JsonFields.Parse(casesFile, "cases.json");
        if (Path.GetFileName(casesFile) == "spm_cases.json")
            golden.Pieces(tokenizer, document.RootElement);
        else
            golden.Cases(tokenizer, document.RootElement);
        return golden;
    }

    /// <summary>Checks normalizers, pre-tokenizers and decoders one at a time.</summary>
    public static TokenizerGolden VerifyComponents(string componentsFile)
    {
        TokenizerGolden golden = new("components");
        using JsonDocument document = JsonFields.Parse(componentsFile, "components.json");
        TokenizerComponents components = new(new(componentsFile));
        foreach (JsonElement entry in document.RootElement.GetProperty("normalizers").EnumerateArray())
        {
            TextNormalizer normalizer = components.Normalizer(entry.GetProperty("config"), "normalizer");
            foreach (JsonElement c in entry.GetProperty("cases").EnumerateArray())
            {
                NormalizedText text = new(c[0].GetString()!);
                normalizer.Apply(text);
                golden.Check(entry.GetProperty("config").GetRawText(), c[0].GetString()!, c[1].GetString()!, text.ToString());
            }
        }
        foreach (JsonElement entry in document.RootElement.GetProperty("pre_tokenizers").EnumerateArray())
        {
            PreTokenizer preTokenizer = components.PreTokenizer(entry.GetProperty("config"), "pre_tokenizer");
            foreach (JsonElement c in entry.GetProperty("cases").EnumerateArray())
            {
                string expected = string.Join(' ', c[1].EnumerateArray().Select(p => $"{p[0].GetString()}[{p[1].GetInt32()},{p[2].GetInt32()})"));
                string found = string.Join(' ', preTokenizer.Split([new(c[0].GetString()!)]).Select(p => (p, p.Original(0, p.Length))).Select(p => $"{p.p}[{p.Item2.Start},{p.Item2.End})"));
                golden.Check(entry.GetProperty("config").GetRawText(), c[0].GetString()!, expected, found);
            }
        }
        foreach (JsonElement entry in document.RootElement.GetProperty("decoders").EnumerateArray())
        {
            TokenDecoder decoder = components.Decoder(entry.GetProperty("config"), "decoder");
            foreach (JsonElement c in entry.GetProperty("cases").EnumerateArray())
                golden.Check(entry.GetProperty("config").GetRawText(), c[0].GetRawText(), c[1].GetString()!, string.Concat(decoder.Decode([.. c[0].EnumerateArray().Select(t => t.GetString()!)])));
        }
        return golden;
    }

    private void Cases(Tokenizer tokenizer, JsonElement root)
    {
        if (root.TryGetProperty("vocab_size", out JsonElement size))
            Check("vocab_size", "", size.GetInt32().ToString(CultureInfo.InvariantCulture), tokenizer.VocabularySize.ToString(CultureInfo.InvariantCulture));
        foreach (JsonElement c in root.GetProperty("cases").EnumerateArray())
        {
            string text = c.GetProperty("text").GetString()!;
            Encoding encoding = tokenizer.Encode(text);
            int[] plain = tokenizer.EncodeIds(text, addSpecialTokens: false);
            Check("ids", text, Numbers(c, "ids"), Join(encoding.Ids));
            Check("ids_plain", text, Numbers(c, "ids_plain"), Join(plain));
            Check("ids_specials_as_text", text, Numbers(c, c.TryGetProperty("ids_specials_as_text", out _) ? "ids_specials_as_text" : "ids_plain"), Join(tokenizer.EncodeIds(text, false, specialsAsText: true)));
            Details(c, encoding, text);
            int[] ids = [.. c.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32())];
            Check("decoded", text, c.GetProperty("decoded").GetString()!, tokenizer.Decode(ids, skipSpecialTokens: false));
            Check("decoded_skip", text, c.GetProperty("decoded_skip").GetString()!, tokenizer.Decode(ids));
            // Recorded only where it says something new.
            string decodedPlain = c.TryGetProperty("decoded_plain", out JsonElement p) ? p.GetString()! : c.GetProperty(ids.AsSpan().SequenceEqual(plain) ? "decoded" : "decoded_skip").GetString()!;
            Check("decoded_plain", text, decodedPlain, tokenizer.Decode([.. c.GetProperty("ids_plain").EnumerateArray().Select(i => i.GetInt32())], skipSpecialTokens: false));
        }
        if (root.TryGetProperty("pairs", out JsonElement pairs))
            foreach (JsonElement c in pairs.EnumerateArray())
                Pair(tokenizer, c);
        if (root.TryGetProperty("streams", out JsonElement streams))
            foreach (JsonElement c in streams.EnumerateArray())
                Stream(tokenizer, c);
    }

    private void Pair(Tokenizer tokenizer, JsonElement c)
    {
        (string text, string pair) = (c.GetProperty("text").GetString()!, c.GetProperty("pair").GetString()!);
        Encoding encoding = tokenizer.EncodePair(text, pair);
        Check("pair ids", text + "|" + pair, Numbers(c, "ids"), Join(encoding.Ids));
        Details(c, encoding, text + "|" + pair);
        if (c.TryGetProperty("ids_plain", out _))
            Check("pair ids_plain", text + "|" + pair, Numbers(c, "ids_plain"), Join(tokenizer.EncodePair(text, pair, addSpecialTokens: false).Ids));
    }

    private void Stream(Tokenizer tokenizer, JsonElement c)
    {
        bool skip = c.GetProperty("skip_special_tokens").GetBoolean();
        TokenStream stream = tokenizer.CreateStream(skip);
        List<string> found = [];
        foreach (JsonElement id in c.GetProperty("ids").EnumerateArray())
            found.Add(stream.Push(id.GetInt32()) is { } piece ? $"'{piece}'" : "null");
        found.Add($"'{stream.Flush()}'");
        List<string> expected = [.. c.GetProperty("pieces").EnumerateArray().Select(p => p.ValueKind == JsonValueKind.Null ? "null" : $"'{p.GetString()}'"), $"'{c.GetProperty("tail").GetString()}'"];
        Check("stream", c.GetProperty("text").GetString()!, string.Join(' ', expected), string.Join(' ', found));
    }

    private void Details(JsonElement c, Encoding encoding, string text)
    {
        if (c.TryGetProperty("tokens", out JsonElement tokens))
            Check("tokens", text, string.Join('|', tokens.EnumerateArray().Select(t => t.GetString())), string.Join('|', encoding.Tokens));
        if (c.TryGetProperty("offsets", out JsonElement offsets))
            Check("offsets", text, string.Join(' ', offsets.EnumerateArray().Select(o => $"{o[0].GetInt32()}-{o[1].GetInt32()}")), string.Join(' ', encoding.Offsets.Select(o => $"{o.Start}-{o.End}")));
        Check("type_ids", text, c.TryGetProperty("type_ids", out _) ? Numbers(c, "type_ids") : Join(new int[encoding.Ids.Length]), Join(encoding.TypeIds));
        if (c.TryGetProperty("attention_mask", out _))
            Check("attention_mask", text, Numbers(c, "attention_mask"), Join(encoding.AttentionMask));
        if (c.TryGetProperty("special_tokens_mask", out _))
            Check("special_tokens_mask", text, Numbers(c, "special_tokens_mask"), Join(encoding.SpecialTokensMask));
        if (c.TryGetProperty("sequence_ids", out JsonElement sequences))
            Check("sequence_ids", text, string.Join(' ', sequences.EnumerateArray().Select(s => s.GetRawText())), string.Join(' ', encoding.SequenceIds.Select(s => s?.ToString(CultureInfo.InvariantCulture) ?? "null")));
        if (!c.TryGetProperty("overflowing", out JsonElement overflowing))
            return;
        Check("overflowing count", text, overflowing.GetArrayLength().ToString(CultureInfo.InvariantCulture), encoding.Overflowing.Count.ToString(CultureInfo.InvariantCulture));
        foreach ((JsonElement expected, Encoding found) in overflowing.EnumerateArray().Zip(encoding.Overflowing))
        {
            if (expected.ValueKind == JsonValueKind.Array)
            {
                Check("overflowing", text, string.Join(' ', expected.EnumerateArray().Select(i => i.GetInt32())), Join(found.Ids));
                continue;
            }
            Check("overflowing ids", text, Numbers(expected, "ids"), Join(found.Ids));
            Details(expected, found, text);
        }
    }

    private void Sections(string folder, JsonElement root)
    {
        foreach (JsonProperty file in root.EnumerateObject())
        {
            if (file.Value.ValueKind != JsonValueKind.Array)
                continue;
            Tokenizer tokenizer = Tokenizer.Load(Path.Combine(folder, file.Name));
            foreach (JsonElement c in file.Value.EnumerateArray())
            {
                string label = $"{file.Name} {(c.TryGetProperty("text", out JsonElement t) ? t.GetString() : "batch")}";
                bool refused = false;
                IReadOnlyList<Encoding> found = [];
                try
                {
                    found = c.TryGetProperty("batch", out JsonElement batch) ? tokenizer.EncodeBatch([.. batch.EnumerateArray().Select(b => b.GetString()!)])
                        : c.TryGetProperty("pair", out JsonElement pair) ? [tokenizer.EncodePair(t.GetString()!, pair.GetString()!)]
                        : [tokenizer.Encode(t.GetString()!)];
                }
                catch (ArgumentException)
                {
                    refused = true;
                }
                Check("refusal", label, c.TryGetProperty("error", out _).ToString(), refused.ToString());
                if (refused || c.TryGetProperty("error", out _))
                    continue;
                List<JsonElement> expected = c.TryGetProperty("encodings", out JsonElement encodings) ? [.. encodings.EnumerateArray()] : [c];
                foreach ((JsonElement e, Encoding encoding) in expected.Zip(found))
                {
                    Check("ids", label, Numbers(e, "ids"), Join(encoding.Ids));
                    Details(e, encoding, label);
                }
            }
        }
    }

    private void Pieces(Tokenizer tokenizer, JsonElement root)
    {
        foreach (JsonElement c in root.GetProperty("cases").EnumerateArray())
        {
            string text = c.GetProperty("text").GetString()!;
            Encoding encoding = tokenizer.Encode(text, addSpecialTokens: false, specialsAsText: true);
            Check("spm ids", text, Numbers(c, "ids"), Join(encoding.Ids));
            if (c.TryGetProperty("pieces", out JsonElement pieces))
                Check("spm pieces", text, string.Join('|', pieces.EnumerateArray().Select(t => t.GetString())), string.Join('|', encoding.Tokens));
            int[] ids = [.. c.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32())];
            Check("spm decoded", text, c.GetProperty("decoded").GetString()!, tokenizer.Decode(ids, skipSpecialTokens: false));
        }
    }

    private void Flags(string folder, JsonElement root)
    {
        string second = root.TryGetProperty("pair", out JsonElement p) ? p.GetString()! : "b c";
        foreach (JsonElement c in root.GetProperty("cases").EnumerateArray())
        {
            JsonElement flags = c.GetProperty("flags");
            Tokenizer tokenizer = TokenizerFiles.Load(folder, flags.GetProperty("add_bos_token").GetBoolean(), flags.GetProperty("add_eos_token").GetBoolean());
            string text = c.GetProperty("text").GetString()!;
            Check("flags ids", text, Numbers(c, "ids"), Join(tokenizer.EncodeIds(text)));
            Check("flags ids_plain", text, Numbers(c, "ids_plain"), Join(tokenizer.EncodeIds(text, addSpecialTokens: false)));
            if (c.TryGetProperty("pair_ids", out _))
                Check("flags pair_ids", text, Numbers(c, "pair_ids"), Join(tokenizer.EncodePair(text, second).Ids));
        }
    }

    private void Check(string what, string text, string expected, string found)
    {
        Compared++;
        if (expected != found)
            _mismatches.Add($"{_name}: {what} of {JsonEncodedText.Encode(text)}: expected {JsonEncodedText.Encode(expected)}, found {JsonEncodedText.Encode(found)}");
    }

    private static string Numbers(JsonElement element, string name) => string.Join(' ', element.GetProperty(name).EnumerateArray().Select(i => i.GetInt32()));

    private static string Join(int[] ids) => string.Join(' ', ids);
}
