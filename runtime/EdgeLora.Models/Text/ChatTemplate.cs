namespace EdgeLora.Models;

/// <summary>A model's chat template: Jinja 3.1 in the sandbox and with the settings of Hugging Face's apply_chat_template. Parsed once, rendered any number of times, from any thread.</summary>
/// <remarks>Templates are untrusted: they reach no type or file, and recursion, loops and output are bounded.</remarks>
public sealed class ChatTemplate
{
    private const string ContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

    private readonly JinjaStatement body;
    private readonly IReadOnlyDictionary<string, JinjaStatement> blocks;

    private ChatTemplate(string source)
    {
        Source = source;
        (body, blocks, MarksGeneration) = JinjaParser.Parse(source);
    }

    /// <summary>The template's text.</summary>
    public string Source { get; }

    /// <summary>Whether the template marks the model's own words with generation blocks.</summary>
    public bool MarksGeneration { get; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">The text of chat_template.jinja, or of chat_template in tokenizer_config.json.</param>
    /// <exception cref="ChatTemplateException">The text is not a template.</exception>
    public static ChatTemplate Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new(source);
    }

    /// <summary>Renders a dialogue.</summary>
    /// <param name="input">The dialogue and what goes with it.</param>
    /// <exception cref="ChatTemplateException">The template refuses the dialogue, or fails on it.</exception>
    /// <exception cref="ArgumentException">The input is malformed.</exception>
    public string Render(ChatTemplateInput input) => RenderWithSpans(input).Text;

    /// <summary>Renders a dialogue and gives the spans of its generation blocks, for a loss on the answers only.</summary>
    /// <param name="input">The dialogue and what goes with it.</param>
    /// <exception cref="ChatTemplateException">The template refuses the dialogue, or fails on it.</exception>
    /// <exception cref="ArgumentException">The input is malformed.</exception>
    public RenderedChat RenderWithSpans(ChatTemplateInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (input.ContinueFinalMessage && input.AddGenerationPrompt)
            throw ChatTemplateException.Value("continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want the model to continue the final message, and add_generation_prompt when you want to add a header that will prompt it to start a new assistant message instead.");

        List<object?> messages = Messages(input);
        string final = input.ContinueFinalMessage ? MarkFinal(messages, input.ContinueField) : "";
        object? documents = input.Documents is { } d ? JinjaJson.Read(d) : null;
        if (documents is JinjaList list && list.Items.Any(i => i is not JinjaDict))
            throw ChatTemplateException.Type("Documents should be a list of dicts with 'title' and 'text' keys!");

        Dictionary<string, object?> variables = new(StringComparer.Ordinal);
        foreach ((string name, string token) in input.SpecialTokens)
            variables[name] = token;
        foreach ((string name, object? value) in input.Variables)
            variables[name] = JinjaJson.Read(value, name);
        variables["messages"] = new JinjaList(messages);
        variables["tools"] = input.Tools is { } t ? JinjaJson.Read(t) : null;
        variables["documents"] = documents;
        variables["add_generation_prompt"] = input.AddGenerationPrompt;

        RenderedChat rendered = Execute(variables, input.Clock);
        return input.ContinueFinalMessage ? rendered with { Text = CutAtTag(rendered.Text, final) } : rendered;
    }

    /// <summary>Renders with these variables alone: plain Jinja, without what apply_chat_template does around it.</summary>
    /// <param name="variables">Null, bools, numbers, texts, JSON, and lists and dictionaries of them.</param>
    /// <param name="clock">What strftime_now reads; the local time if not given.</param>
    /// <exception cref="ChatTemplateException">The template fails.</exception>
    /// <exception cref="ArgumentException">A variable has a type that templates do not know.</exception>
    public string RenderVariables(IReadOnlyDictionary<string, object?> variables, Func<DateTimeOffset>? clock = null)
    {
        ArgumentNullException.ThrowIfNull(variables);
        return Execute(variables.ToDictionary(v => v.Key, v => JinjaJson.Read(v.Value, v.Key)), clock ?? (() => DateTimeOffset.Now)).Text;
    }

    private RenderedChat Execute(IEnumerable<KeyValuePair<string, object?>> variables, Func<DateTimeOffset> clock)
    {
        List<KeyValuePair<string, object?>> given = [.. variables];
        JinjaRun run = new(given, blocks, clock);
        try
        {
            JinjaLimits.Within(given.Sum(v => JinjaLimits.Characters(v.Value)), () => body.Execute(run));
        }
        catch (ChatTemplateException e)
        {
            e.Line ??= run.Line;
            throw;
        }
        return new(run.Text, run.GenerationSpans);
    }

    // Values of None go; reasoning_content, thinking and reasoning stand in for each other as transformers lets them.
    private static List<object?> Messages(ChatTemplateInput input)
    {
        if (input.Messages is not { } json)
            return [.. input.Turns.Select(t => Dict(("role", t.Role), ("content", t.Content)))];
        if (json.ValueKind != System.Text.Json.JsonValueKind.Array)
            throw new ArgumentException($"{nameof(input.Messages)}: expected a JSON array, found {json.ValueKind}", nameof(input));
        List<object?> messages = [];
        foreach (object? message in ((JinjaList)JinjaJson.Read(json)!).Items)
        {
            if (message is not JinjaDict dict)
            {
                messages.Add(message);
                continue;
            }
            JinjaDict kept = new();
            foreach ((object? key, object? value) in dict.Entries)
                if (value is not null)
                    kept[key] = value;
            if (!kept.Has("reasoning_content") && (kept.TryGet("thinking", out object? reasoning) || kept.TryGet("reasoning", out reasoning)))
                kept["reasoning_content"] = reasoning;
            if (!kept.Has("thinking") && kept.TryGet("reasoning_content", out reasoning))
                kept["thinking"] = reasoning;
            messages.Add(kept);
        }
        return messages;
    }

    // Puts the tag at the end of the final text; gives that text.
    private string MarkFinal(List<object?> messages, string field)
    {
        if (messages.Count == 0 || messages[^1] is not JinjaDict last || !last.TryGet(field, out object? content))
            throw ChatTemplateException.Value($"continue_final_message is set but the final message has no \"{field}\" to continue!");
        if (!Source.Contains(field, StringComparison.Ordinal))
            throw ChatTemplateException.Value($"continue_final_message is set to \"{field}\" but this is not an accepted field in the chat_template");
        if (content is JinjaList parts)
        {
            object?[] blocks = [.. parts.Items];
            for (int i = blocks.Length - 1; i >= 0; i--)
                if (blocks[i] is JinjaDict block && block.TryGet("text", out object? text))
                {
                    blocks[i] = With(block, "text", PyNumber.Binary("+", text, ContinueTag));
                    messages[^1] = With(last, field, new JinjaList(blocks));
                    return PyText.Str(text);
                }
            throw ChatTemplateException.Value("continue_final_message is set but we could not find any text to continue in the final message!");
        }
        messages[^1] = With(last, field, PyNumber.Binary("+", content, ContinueTag));
        return PyText.Str(content);
    }

    private static string CutAtTag(string rendered, string final)
    {
        string tag = ContinueTag.TrimEnd();
        int at = rendered.LastIndexOf(tag, StringComparison.Ordinal);
        if (at < 0 || !rendered.Contains(PyText.Strip(final, null), StringComparison.Ordinal))
            throw ChatTemplateException.Value("continue_final_message is set but the final message does not appear in the chat after applying the chat template! This can happen if the chat template deletes portions of the final message. Please verify the chat template and final message in your chat to ensure they are compatible.");
        // Where the template trimmed the tag's own space it would have trimmed the message's too.
        return string.CompareOrdinal(rendered, at, ContinueTag, 0, ContinueTag.Length) == 0 ? rendered[..at] : PyText.TrimEnd(rendered[..at]);
    }

    private static JinjaDict Dict(params (string Key, object? Value)[] pairs)
    {
        JinjaDict dict = new();
        foreach ((string key, object? value) in pairs)
            dict[key] = value;
        return dict;
    }

    private static JinjaDict With(JinjaDict dict, string key, object? value)
    {
        JinjaDict copy = new();
        foreach ((object? k, object? v) in dict.Entries)
            copy[k] = v;
        copy[key] = value;
        return copy;
    }
}
