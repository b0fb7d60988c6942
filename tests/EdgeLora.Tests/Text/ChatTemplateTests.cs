using System.Text.Json.Nodes;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

public class ChatTemplateTests
{
    private static readonly Dictionary<string, object?> Nothing = [];

    private static string Render(string template) => ChatTemplate.Parse(template).RenderVariables(Nothing);

    private static ChatTemplateErrorKind Fails(string template) => Assert.Throws<ChatTemplateException>(() => Render(template)).Kind;

    [Fact]
    public void A_dialogue_of_roles_and_texts_is_rendered()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}<{{ m.role }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}");
        Assert.Equal("<user>Hi<assistant>", template.Render(ChatTemplateInput.Of(new ChatMessage("user", "Hi")) with { AddGenerationPrompt = true }));
        Assert.Equal("<user>Hi", template.Render(ChatTemplateInput.Of(JsonNode.Parse("""[{"role": "user", "content": "Hi"}]""")!)));
    }

    [Fact]
    public void Variables_replace_special_tokens_and_may_be_any_plain_value()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{{ list }}{{ n + 1 }}{{ flag }}");
        string text = template.Render(ChatTemplateInput.Of() with
        {
            SpecialTokens = new Dictionary<string, string> { ["bos_token"] = "<s>" },
            Variables = new Dictionary<string, object?> { ["bos_token"] = "<b>", ["list"] = new[] { 1, 2 }, ["n"] = 1, ["flag"] = true },
        });
        Assert.Equal("<b>[1, 2]2True", text);
        Assert.Contains("v: expected", Assert.Throws<ArgumentException>(() => template.Render(ChatTemplateInput.Of() with { Variables = new Dictionary<string, object?> { ["v"] = new object() } })).Message);
    }

    [Fact]
    public void The_last_message_can_be_continued()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}[{{ m.content }}]{% endfor %}");
        Assert.Equal("[a][b ", template.Render(ChatTemplateInput.Of(new("user", "a"), new("assistant", "b ")) with { ContinueFinalMessage = true }));
        ChatTemplate trimming = ChatTemplate.Parse("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}");
        Assert.Equal("[a][b", trimming.Render(ChatTemplateInput.Of(new("user", "a"), new("assistant", "b ")) with { ContinueFinalMessage = true }));
        ChatTemplate dropping = ChatTemplate.Parse("{{ messages[0].content }}");
        Assert.Equal(ChatTemplateErrorKind.ValueError, Assert.Throws<ChatTemplateException>(() => dropping.Render(ChatTemplateInput.Of(new("user", "a"), new("assistant", "b")) with { ContinueFinalMessage = true })).Kind);
    }

    [Fact]
    public void Generation_spans_count_code_points()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}😀{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}");
        RenderedChat chat = template.RenderWithSpans(ChatTemplateInput.Of(new ChatMessage("assistant", "é😀"), new ChatMessage("assistant", "x")));
        Assert.Equal("😀é😀😀x", chat.Text);
        Assert.Equal([(1, 3), (4, 5)], chat.GenerationSpans);
    }

    [Fact]
    public void An_error_names_its_kind_and_line()
    {
        ChatTemplateException e = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("a\nb\n{{ 1 + }}"));
        Assert.Equal((ChatTemplateErrorKind.TemplateSyntaxError, 3), (e.Kind, e.Line));
        e = Assert.Throws<ChatTemplateException>(() => Render("a\n{{ nope.x }}"));
        Assert.Equal((ChatTemplateErrorKind.UndefinedError, 2), (e.Kind, e.Line));
    }

    [Theory]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ChatTemplateErrorKind.RecursionError)]
    [InlineData("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", ChatTemplateErrorKind.RecursionError)]
    [InlineData("{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", ChatTemplateErrorKind.RecursionError)]
    [InlineData("{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}", ChatTemplateErrorKind.RecursionError)]
    [InlineData("{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{{ 'x' * 10000000000 }}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{{ [1] * 10000000000 }}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{{ 2 ** 10000000000 }}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{{ 'x'.ljust(2000000000) }}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", ChatTemplateErrorKind.MemoryError)]
    [InlineData("{% for a in range(100000) %}{{ 'x' * 10000 }}{% endfor %}", ChatTemplateErrorKind.MemoryError)]
    public void Endless_templates_end_in_an_exception(string template, ChatTemplateErrorKind kind)
    {
        // A small stack: what holds here holds on any thread an application renders on.
        ChatTemplateErrorKind? found = null;
        Thread thread = new(() => found = Fails(template), 512 * 1024);
        thread.Start();
        thread.Join();
        Assert.Equal(kind, found);
    }

    [Theory]
    [InlineData("(", "1", ")")]
    [InlineData("[", "1", "]")]
    [InlineData("{1: ", "1", "}")]
    [InlineData("not ", "1", "")]
    [InlineData("-", "1", "")]
    [InlineData("l[", "1", "]")]
    [InlineData("", "1", " + 1")]
    [InlineData("", "l", ".a")]
    [InlineData("", "1", " if 1")]
    [InlineData("", "1", " ~ 1")]
    [InlineData("", "1", " | string")]
    [InlineData("", "1", "()")]
    [InlineData("1 if 1 else ", "1", "")]
    [InlineData("1 }}{% if 1 %}{{ ", "1", " }}{% endif %}{{ 1")]
    public void Deeply_nested_source_does_not_end_the_process(string open, string middle, string close)
    {
        string template = "{{ " + string.Concat(Enumerable.Repeat(open, 100_000)) + middle + string.Concat(Enumerable.Repeat(close, 100_000)) + " }}";
        Exception? raised = null;
        Thread thread = new(() => raised = Record.Exception(() => Render(template)), 512 * 1024);
        thread.Start();
        thread.Join();
        Assert.True(raised is null or ChatTemplateException, raised?.ToString());
    }

    [Fact]
    public void One_template_renders_on_many_threads()
    {
        ChatTemplate template = ChatTemplate.Parse("{% set ns = namespace(n=0) %}{% for i in range(100) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}");
        Parallel.For(0, 50, _ => Assert.Equal("4950", template.RenderVariables(Nothing)));
    }
}
