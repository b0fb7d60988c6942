using System.Text.Json;
using EdgeLora.Models;

namespace EdgeLora.Tests.Generation;

/// <summary>Reads distributions.json and logits.json, made by sampling_fixture.py with transformers' logits processors.</summary>
internal static class SamplingFixture
{
    public static float[] Logits(JsonElement values) => [.. values.EnumerateArray().Select(v => v.ValueKind == JsonValueKind.String ? float.NegativeInfinity : v.GetSingle())];

    public static int[] Ints(JsonElement values) => values.ValueKind == JsonValueKind.Number ? [values.GetInt32()] : [.. values.EnumerateArray().Select(v => v.GetInt32())];

    public static SamplingOptions Options(JsonElement settings)
    {
        SamplingOptions options = new() { Temperature = 1 };
        foreach (JsonProperty s in settings.EnumerateObject())
            options = s.Name switch
            {
                "logit_bias" => options with { LogitBias = s.Value.EnumerateObject().ToDictionary(b => int.Parse(b.Name), b => b.Value.GetDouble()) },
                "sequence_bias" => options with { SequenceBias = [.. s.Value.EnumerateArray().Select(b => new SequenceBias(Ints(b[0]), b[1].GetDouble()))] },
                "repetition_penalty" => options with { RepetitionPenalty = s.Value.GetDouble() },
                "frequency_penalty" => options with { FrequencyPenalty = s.Value.GetDouble() },
                "presence_penalty" => options with { PresencePenalty = s.Value.GetDouble() },
                "no_repeat_ngram_size" => options with { NoRepeatNgramSize = s.Value.GetInt32() },
                "bad_words_ids" => options with { BadWordsIds = [.. s.Value.EnumerateArray().Select(Ints)] },
                "min_new_tokens" => options with { MinNewTokens = s.Value.GetInt32() },
                "eos_token_id" => options with { EosTokenIds = Ints(s.Value) },
                "suppress_tokens" => options with { SuppressTokens = Ints(s.Value) },
                "temperature" => options with { Temperature = s.Value.GetDouble() },
                "top_k" => options with { TopK = s.Value.GetInt32() },
                "top_p" => options with { TopP = s.Value.GetDouble() },
                "min_p" => options with { MinP = s.Value.GetDouble() },
                "typical_p" => options with { TypicalP = s.Value.GetDouble() },
                _ => throw new InvalidDataException("unknown setting " + s.Name),
            };
        return options;
    }

    /// <summary>What differs between a case and our distribution, or null.</summary>
    public static string? Difference(JsonElement row, float[] logits)
    {
        SamplingOptions options = Options(row.GetProperty("settings"));
        int[] prompt = Ints(row.GetProperty("prompt")), generated = Ints(row.GetProperty("generated"));
        TokenDistribution got = new Sampler(options, logits.Length).Distribution(logits, prompt, generated);
        int[] ids = row.TryGetProperty("ids", out JsonElement listed) ? Ints(listed) : [.. Enumerable.Range(0, logits.Length)];
        double[] probs = [.. row.GetProperty("probs").EnumerateArray().Select(p => p.GetDouble())];
        double relative = Math.Max(1e-4, 4e-7 * logits.Where(float.IsFinite).Max(Math.Abs) / options.Temperature);
        bool arbitrary = row.TryGetProperty("ties", out JsonElement ties) && ties.GetString() == "arbitrary";
        double[] mine = [.. got.Probabilities];
        if (arbitrary)
        {
            if (Math.Abs(mine.Length - probs.Length) > 1)
                return $"kept {mine.Length}, expected {probs.Length} give or take one";
            // One more or one fewer of equal tokens changes every probability a little.
            if (mine.Length != probs.Length)
                return null;
            Array.Sort(mine);
            Array.Sort(probs);
        }
        else if (!got.Ids.SequenceEqual(ids))
            return $"ids [{string.Join(',', got.Ids)}], expected [{string.Join(',', ids)}]";
        for (int i = 0; i < probs.Length; i++)
            if (!(Math.Abs(mine[i] - probs[i]) <= 1e-6 + relative * probs[i]))
                return $"probability {i} is {mine[i]}, expected {probs[i]}";
        if (arbitrary)
            return null;
        int argmax = got.Ids[mine.AsSpan().IndexOf(mine.Max())];
        return argmax == row.GetProperty("argmax").GetInt32() ? null : $"argmax {argmax}, expected {row.GetProperty("argmax")}";
    }

    /// <summary>What differs between a stop string case and ours, or null.</summary>
    public static string? StopDifference(JsonElement row)
    {
        string[] Texts(string name) => [.. row.GetProperty(name).EnumerateArray().Select(t => t.GetString()!)];
        StopStrings stops = new(Texts("stops"));
        List<string> emitted = [];
        int? stoppedAt = null;
        foreach (string piece in Texts("pieces"))
        {
            emitted.Add(stops.Push(piece));
            if (!stops.Stopped)
                continue;
            stoppedAt = emitted.Count - 1;
            break;
        }
        string flush = stops.Flush();
        string expectedFlush = row.TryGetProperty("flush", out JsonElement f) ? f.GetString()! : "";
        int? expectedAt = row.GetProperty("stopped_at_piece").ValueKind == JsonValueKind.Null ? null : row.GetProperty("stopped_at_piece").GetInt32();
        bool same = emitted.SequenceEqual(Texts("emitted")) && flush == expectedFlush && stoppedAt == expectedAt && string.Concat(emitted) + flush == row.GetProperty("text").GetString();
        if (same && stops.Stopped)
            same = stops.Matched == Texts("stops").First(s => Texts("stop_strings_at_start").Contains(s));
        return same ? null : $"emitted [{string.Join('|', emitted)}] flush '{flush}' at {stoppedAt}, matched {stops.Matched}";
    }
}
