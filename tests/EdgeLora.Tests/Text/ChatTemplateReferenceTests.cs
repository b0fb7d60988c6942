using System.Text.Json;
using Xunit;

namespace EdgeLora.Tests.Text;

public class ChatTemplateReferenceTests
{
    [Fact]
    public void Every_reference_dialogue_is_rendered_exactly()
    {
        string folder = SharedFolder.Require("fixtures/chat_templates");
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        List<string> faults = [];
        int count = 0;
        foreach (JsonElement row in rows.RootElement.EnumerateArray())
        {
            count++;
            string name = row.GetProperty("template").GetString()!;
            if (ChatTemplateFixture.DialogueDifference(row, File.ReadAllText(Path.Combine(folder, "templates", name + ".jinja"))) is string fault)
                faults.Add($"{name} / {row.GetProperty("dialogue")}: {fault}");
        }
        ChatTemplateFixture.AssertNone(faults, count);
        Assert.True(count >= 640);
    }

    [Fact]
    public void Every_reference_snippet_of_the_language_means_the_same()
    {
        string folder = SharedFolder.Require("fixtures/chat_templates");
        Run(Path.Combine(folder, "jinja_language.json"), 252);
    }

    [Fact]
    public void The_snippets_kept_with_the_tests_mean_the_same() =>
        Run(Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Text", "data", "jinja_language.json"), 60);

    [Fact]
    public void Snippets_made_by_jinja_more_py_mean_the_same() =>
        Run(Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Text", "data", "jinja_more.json"), 200);

    [Fact]
    public void The_dialogues_kept_with_the_tests_are_rendered_exactly()
    {
        string folder = Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Text", "data");
        using JsonDocument rows = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "chat_templates.json")));
        List<string> faults = [];
        int count = 0;
        foreach (JsonElement row in rows.RootElement.GetProperty("cases").EnumerateArray())
        {
            count++;
            string source = rows.RootElement.GetProperty("templates").GetProperty(row.GetProperty("template").GetString()!).GetString()!;
            if (ChatTemplateFixture.DialogueDifference(row, source) is string fault)
                faults.Add($"{row.GetProperty("template")} / {row.GetProperty("dialogue")}: {fault}");
        }
        ChatTemplateFixture.AssertNone(faults, count);
        Assert.True(count >= 40);
    }

    private static void Run(string file, int least)
    {
        using JsonDocument data = JsonDocument.Parse(File.ReadAllBytes(file));
        List<string> faults = [];
        int count = 0;
        foreach (JsonElement row in data.RootElement.GetProperty("cases").EnumerateArray())
        {
            count++;
            if (ChatTemplateFixture.SnippetDifference(row, data.RootElement.GetProperty("context")) is string fault)
                faults.Add($"{row.GetProperty("template")}: {fault}");
        }
        ChatTemplateFixture.AssertNone(faults, count);
        Assert.True(count >= least);
    }
}
