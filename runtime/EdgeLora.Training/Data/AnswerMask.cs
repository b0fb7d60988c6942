using System.Text.Json;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>A dialogue as tokens, and which of them are the model's own words.</summary>
/// <param name="Text">The rendered dialogue.</param>
/// <param name="InputIds">Its tokens, [T].</param>
/// <param name="IsAnswer">Whether a token touches an answer, [T]. An answer includes the mark that ends it.</param>
public sealed record MaskedChat(string Text, int[] InputIds, bool[] IsAnswer)
{
    /// <summary>Labels for a loss on the answers alone, [T].</summary>
    public int[] Labels() => [.. InputIds.Select((id, t) => IsAnswer[t] ? id : TrainingExample.Ignored)];
}

/// <summary>
/// Finds the answers in a rendered dialogue: by the template's generation blocks, as transformers and TRL do, or, where it has none, by rendering the dialogue up to
/// each answer and through it. Neither scans the text for headers, so a user who types a template's tokens trains nothing.
/// </summary>
public static class AnswerMask
{
    /// <summary>Renders and encodes a dialogue.</summary>
    /// <param name="tokenizer">The model's tokenizer; it adds no tokens of its own.</param>
    /// <param name="template">The chat template.</param>
    /// <param name="input">The dialogue.</param>
    /// <exception cref="ChatTemplateException">The template refuses the dialogue, or its answers cannot be told from the rest.</exception>
    public static MaskedChat Encode(Tokenizer tokenizer, ChatTemplate template, ChatTemplateInput input) => Encode(tokenizer, template, input, _ => true);

    /// <summary>As above, with the answers that teach, by the number of their message.</summary>
    internal static MaskedChat Encode(Tokenizer tokenizer, ChatTemplate template, ChatTemplateInput input, Func<int, bool> teaches)
    {
        RenderedChat chat = template.RenderWithSpans(input);
        Encoding encoding = tokenizer.EncodeWhole(chat.Text, addSpecialTokens: false);
        int[] answers = [.. Roles(input).Index().Where(r => r.Item == "assistant").Select(r => r.Index)];
        IReadOnlyList<(int Start, int End)> spans = template.MarksGeneration ? chat.GenerationSpans : [.. answers.Select(a => Span(tokenizer, template, input, a, chat.Text, encoding))];
        if (!answers.All(teaches))
        {
            if (spans.Count != answers.Length)
                throw Refuse($"some answers have weight 0, and the template marks {spans.Count} spans for {answers.Length} answers");
            spans = [.. answers.Zip(spans).Where(a => teaches(a.First)).Select(a => a.Second)];
        }
        bool[] isAnswer = new bool[encoding.Ids.Length];
        for (int t = 0; t < isAnswer.Length; t++)
            isAnswer[t] = spans.Any(s => encoding.Offsets[t].Start < s.End && encoding.Offsets[t].End > s.Start);
        return new(chat.Text, encoding.Ids, isAnswer);
    }

    // From the end of the generation prompt to the mark that ends the turn, in code points.
    private static (int, int) Span(Tokenizer tokenizer, ChatTemplate template, ChatTemplateInput input, int answer, string whole, Encoding encoding)
    {
        string before = template.Render(Prefix(input, answer) with { AddGenerationPrompt = true });
        string through = template.Render(Prefix(input, answer + 1));
        int shared = through.AsSpan().CommonPrefixLength(whole);
        if (shared < before.Length || !through.StartsWith(before, StringComparison.Ordinal))
            throw Rewrites(answer);
        string rest = through[before.Length..shared], said = rest.TrimStart();
        string? content = Content(input, answer)?.Trim();
        bool isAtStart = content is not null && said.StartsWith(content, StringComparison.Ordinal);
        if (content is { Length: > 0 } && !isAtStart && shared < through.Length)
            throw Rewrites(answer);
        if (content is { Length: > 0 } && !isAtStart && before == template.Render(Prefix(input, answer)))
            throw Refuse($"it has no generation prompt and writes \"{(said.Length > 30 ? said[..30] + "…" : said)}\" before message {answer}: give a template with {{% generation %}} blocks");

        // What follows the end mark (blanks, an end of the text) is the template's, not the model's: the first mark behind the content ends the answer,
        // or the last one where the content is not all that the model says.
        int start = CodePoints(before), end = CodePoints(through[..shared]);
        int from = isAtStart ? start + CodePoints(rest[..(rest.Length - said.Length + content!.Length)]) : CodePoints(through[..shared].TrimEnd()) - 1;
        for (int t = 0; t < encoding.Ids.Length; t++)
            if ((isAtStart ? encoding.Offsets[t].Start : encoding.Offsets[t].End - 1) >= from && encoding.Offsets[t].End <= end && encoding.Offsets[t].End > start && tokenizer.IsSpecial(encoding.Ids[t]))
                return (start, encoding.Offsets[t].End);
        return shared == through.Length ? (start, end) : throw Rewrites(answer);
    }

    private static ChatTemplateException Rewrites(int answer) =>
        Refuse($"it writes message {answer} or what stands before it otherwise once more follows, so the answer cannot be found: give a template with {{% generation %}} blocks");

    private static IEnumerable<string?> Roles(ChatTemplateInput input) => input.Messages is { } messages
        ? messages.EnumerateArray().Select(m => m.ValueKind == JsonValueKind.Object && m.TryGetProperty("role", out JsonElement role) && role.ValueKind == JsonValueKind.String ? role.GetString() : null)
        : input.Turns.Select(t => t.Role);

    // What an answer says; null where it also calls functions.
    private static string? Content(ChatTemplateInput input, int answer) => input.Messages is not { } messages ? input.Turns[answer].Content
        : !messages[answer].TryGetProperty("tool_calls", out _) && messages[answer].TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String ? content.GetString() : null;

    private static ChatTemplateInput Prefix(ChatTemplateInput input, int count)
    {
        if (input.Messages is not { } messages)
            return input with { Turns = [.. input.Turns.Take(count)] };
        using JsonDocument prefix = JsonDocument.Parse($"[{string.Join(',', messages.EnumerateArray().Take(count).Select(m => m.GetRawText()))}]");
        return input with { Messages = prefix.RootElement.Clone() };
    }

    private static int CodePoints(string text)
    {
        int count = 0;
        foreach (System.Text.Rune _ in text.EnumerateRunes())
            count++;
        return count;
    }

    private static ChatTemplateException Refuse(string message) => new(ChatTemplateErrorKind.ValueError, message);
}
