using System.Text.Json;
using EdgeLora.Models;

namespace EdgeLora.Tests.Text;

/// <summary>Runs the cases of cases.json and jinja_language.json, made by chat_templates_fixture.py with transformers and jinja2.</summary>
internal static class ChatTemplateFixture
{
    /// <summary>The frozen clock of the reference script.</summary>
    public static DateTimeOffset Clock() => new(2024, 7, 26, 13, 5, 9, TimeSpan.Zero);

    private static readonly string[] Known = ["tools", "documents", "add_generation_prompt", "continue_final_message"];

    public static ChatTemplateInput Input(JsonElement row)
    {
        JsonElement arguments = row.GetProperty("arguments");
        JsonElement? Argument(string name) => arguments.TryGetProperty(name, out JsonElement value) ? value : null;
        return new()
        {
            Messages = row.GetProperty("messages"),
            Tools = Argument("tools"),
            Documents = Argument("documents"),
            AddGenerationPrompt = Argument("add_generation_prompt") is { ValueKind: JsonValueKind.True },
            ContinueFinalMessage = Argument("continue_final_message") is { ValueKind: JsonValueKind.True },
            Variables = arguments.EnumerateObject().Where(a => !Known.Contains(a.Name)).ToDictionary(a => a.Name, a => (object?)a.Value),
            SpecialTokens = row.GetProperty("special_tokens").EnumerateObject().ToDictionary(t => t.Name, t => t.Value.GetString()!),
            Clock = Clock,
        };
    }

    /// <summary>What differs between a dialogue case and ours, or null.</summary>
    public static string? DialogueDifference(JsonElement row, string template)
    {
        RenderedChat? chat = null;
        string? fault = Difference(row, () => (chat = ChatTemplate.Parse(template).RenderWithSpans(Input(row))).Text);
        if (fault is not null || !row.TryGetProperty("generation_spans", out JsonElement spans))
            return fault;
        string expected = string.Join(' ', spans.EnumerateArray().Select(s => $"{s[0]}-{s[1]}"));
        string got = string.Join(' ', chat!.GenerationSpans.Select(s => $"{s.Start}-{s.End}"));
        return expected == got ? null : $"spans {got}, expected {expected}";
    }

    /// <summary>What differs between a snippet and ours, or null.</summary>
    public static string? SnippetDifference(JsonElement row, JsonElement context)
    {
        Dictionary<string, object?> variables = context.EnumerateObject().ToDictionary(v => v.Name, v => (object?)v.Value);
        return Difference(row, () => ChatTemplate.Parse(row.GetProperty("template").GetString()!).RenderVariables(variables, Clock));
    }

    private static string? Difference(JsonElement row, Func<string> render)
    {
        string? expected = row.TryGetProperty("rendered", out JsonElement text) ? text.GetString() : null;
        string got;
        try
        {
            got = render();
        }
        catch (ChatTemplateException e)
        {
            string? kind = expected is null ? row.GetProperty("error").GetString() : null;
            if (kind is null)
                return $"raised {e.Kind}: {e.Message}\n  expected {JsonSerializer.Serialize(expected, JsonSerializerOptions.Default)}";
            if (kind != e.Kind.ToString())
                return $"raised {e.Kind} ({e.Message}), expected {kind}: {row.GetProperty("message")}";
            string message = row.GetProperty("message").GetString()!;
            return kind is "TemplateError" or "UndefinedError" or "SecurityError" && e.Message != message ? $"message '{e.Message}', expected '{message}'" : null;
        }
        return got == expected ? null : $"rendered {JsonSerializer.Serialize(got)}\n  expected {(expected is null ? row.GetProperty("error") + ": " + row.GetProperty("message") : JsonSerializer.Serialize(expected))}";
    }

    public static void AssertNone(IReadOnlyCollection<string> faults, int count) =>
        Xunit.Assert.True(faults.Count == 0, $"{faults.Count} of {count} differ\n" + string.Join('\n', faults.Take(40)));
}
