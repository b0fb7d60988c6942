using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>The shapes of dialogues: alpaca, sharegpt, messages; how they are recognised and what is refused.</summary>
public sealed class DialogueTests : DataFolder
{
    // Writes whatever a message has, so that a test sees all that reached the template.
    private const string Open = "{% if tools %}[tools {{ tools | tojson }}]\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{% generation %}{{ m.content | default('') }}"
        + "{% for c in m.tool_calls | default([]) %}[call {{ c.function.name }} {{ c.function.arguments | tojson }}]{% endfor %}{% endgeneration %}<|im_end|>\n{% endfor %}";

    private TrainingData Data(string json, DataOptions? options = null)
    {
        string path = Write("a.jsonl", json);
        return Load((options ?? Options(path)) with { Files = [path], Template = options?.Template ?? Write("open.jinja", Open) });
    }

    private string Text(string json, DataOptions? options = null) => Assert.Single(Texts(Data(json, options).Train));

    private string Fault(string json, DataOptions? options = null) => Assert.Single(Assert.Throws<ModelFileException>(() => Data(json, options)).Faults);

    private static string Rendered(params (string Role, string Text)[] turns) => string.Concat(turns.Select(t => $"<|im_start|>{t.Role}\n{t.Text}<|im_end|>\n"));

    [Fact]
    public void Alpaca_rows_have_system_history_instruction_and_input()
    {
        Assert.Equal(Rendered(("user", "Add."), ("assistant", "3")), Text("""{"instruction": "Add.", "input": "", "output": "3"}"""));
        Assert.Equal(Rendered(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Add.\n1 + 2"), ("assistant", "3")),
            Text("""{"instruction": "Add.", "input": "1 + 2", "output": "3", "system": "Be brief.", "history": [["Hi", "Hello"]]}"""));
        Assert.Equal("line 1: output is missing", Fault("""{"instruction": "Add."}""", new() { Files = [], Format = "alpaca" }));
        Assert.Equal("line 1: history[0]: expected an instruction and its answer, found 1 items", Fault("""{"instruction": "a", "output": "b", "history": [["x"]]}"""));
        Assert.Equal("line 1: output: expected a text, found 3", Fault("""{"instruction": "a", "output": 3}"""));
    }

    [Fact]
    public void Columns_can_have_other_names()
    {
        DataOptions options = new() { Files = [], Columns = new() { Prompt = "question", Response = "answer" } };
        Assert.Equal(Rendered(("user", "1+1?"), ("assistant", "2")), Text("""{"question": "1+1?", "answer": "2"}""", options));
        options = new() { Files = [], Columns = new() { Messages = "chat" } };
        Assert.Equal(Rendered(("user", "a"), ("assistant", "b")), Text("""{"chat": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""", options));
    }

    [Fact]
    public void Sharegpt_rows_have_calls_observations_and_tools()
    {
        const string Row = """
            {"conversations": [{"from": "human", "value": "Weather?"}, {"from": "function_call", "value": "{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}"}, {"from": "observation", "value": "sun"}, {"from": "gpt", "value": "It is sunny."}], "system": "Help.", "tools": "[{\"name\": \"weather\", \"parameters\": {}}]"}
            """;
        Assert.Equal("[tools [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {}}}]]\n"
            + Rendered(("system", "Help."), ("user", "Weather?"), ("assistant", "[call weather {\"city\": \"Ulm\"}]"), ("tool", "sun"), ("assistant", "It is sunny.")), Text(Row));
        Assert.Equal("line 1: conversations[0].from: expected human, gpt, system, observation or function_call, found \"bing\"", Fault("""{"conversations": [{"from": "bing", "value": "a"}]}"""));
        Assert.StartsWith("line 1: conversations[0].value: expected JSON, found \"weather()\"", Fault("""{"conversations": [{"from": "function_call", "value": "weather()"}]}"""));
        Assert.StartsWith("line 1: conversations[0].value: expected a function with a name", Fault("""{"conversations": [{"from": "function_call", "value": "{\"arguments\": {}}"}]}"""));
    }

    [Fact]
    public void Messages_have_parts_calls_and_tools()
    {
        const string Row = """
            {"messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "3"}, {"role": "assistant", "content": "three"}], "tools": [{"type": "function", "function": {"name": "f"}}]}
            """;
        Assert.Equal("[tools [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]]\n" + Rendered(("system", "Help."), ("user", "one\ntwo"), ("assistant", "[call f {\"x\": 1}]"), ("tool", "3"), ("assistant", "three")), Text(Row));
    }

    [Theory]
    [InlineData("""[{"role": "bot", "content": "a"}]""", "messages[0].role: expected system, developer, user, assistant or tool, found \"bot\"")]
    [InlineData("""[{"content": "a"}]""", "messages[0].role is missing")]
    [InlineData("""[{"role": "user"}]""", "messages[0].content is missing")]
    [InlineData("""[{"role": "user", "content": [{"type": "image_url"}]}]""", "messages[0].content[0].type: expected text, found \"image_url\"")]
    [InlineData("""[{"role": "user", "content": 5}]""", "messages[0].content: expected a list, found 5")]
    [InlineData("""[{"role": "user", "content": "a", "tool_calls": []}]""", "messages[0].tool_calls: expected in an assistant's message, found in one of role user")]
    [InlineData("""[{"role": "assistant", "tool_calls": [{"type": "function"}]}]""", "messages[0].tool_calls[0]: expected a function with a name, found {\"type\": \"function\"}")]
    [InlineData("""["a"]""", "messages[0]: expected an object, found \"a\"")]
    [InlineData(""" "a" """, "messages: expected a list, found \"a\"")]
    public void A_bad_message_is_named(string messages, string fault) => Assert.Equal("line 1: " + fault, Fault($$"""{"messages": {{messages}}}"""));

    [Fact]
    public void A_format_that_cannot_be_told_is_an_error_that_names_the_fields()
    {
        Assert.Equal("line 1: the format cannot be told from the fields question, answer: expected messages, conversations, instruction with output, text, or input_ids with labels; name the columns or give the format", Fault("""{"question": "a", "answer": "b"}"""));
        Assert.Equal("line 1: the fields fit alpaca (instruction, output) and text (text): give the format", Fault("""{"instruction": "a", "output": "b", "text": "ab"}"""));
        Assert.Equal(Rendered(("user", "a"), ("assistant", "b")), Text("""{"instruction": "a", "output": "b", "text": "ab"}""", new() { Files = [], Format = "alpaca" }));
    }

    [Fact]
    public void Turns_tell_sharegpt_from_messages_whatever_their_field_is_called()
    {
        Assert.Equal(Rendered(("user", "a"), ("assistant", "b")), Text("""{"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"""));
        Assert.Equal(Rendered(("user", "a"), ("assistant", "b")), Text("""{"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"""));
    }

    [Theory]
    [InlineData("""{"conversations": [{"from": "human", "value": "a"}], "chosen": {}, "rejected": {}}""", "chosen")]
    [InlineData("""{"instruction": "a", "output": "b", "rejected": "c"}""", "rejected")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}], "label": true}""", "label")]
    public void Preference_rows_are_refused(string row, string field) => Assert.Equal($"line 1: \"{field}\" marks preference data, which is not supervised training data", Fault(row));

    [Fact]
    public void Fields_that_nothing_reads_are_reported()
    {
        TrainingData data = Data("""{"id": 1, "messages": [{"role": "user", "content": "a", "mood": "x", "tool_calls": null}, {"role": "assistant", "content": "b"}], "source": "s"}""");
        Assert.Equal(["id", "source", "message.mood"], data.Report.IgnoredFields);
        Assert.Contains("fields not used: id, source, message.mood", data.Report.Lines());
    }

    [Fact]
    public void An_empty_dialogue_is_skipped_and_an_empty_answer_is_an_answer()
    {
        TrainingData data = Load(Options(Write("a.jsonl", """
            {"instruction": "", "output": ""}
            {"instruction": "Say nothing.", "output": ""}
            """)));
        Assert.Equal("<|im_end|>", Trained(Assert.Single(data.Train)));
        Assert.Equal(new Dictionary<string, int> { ["empty"] = 1 }, data.Report.Skipped);
    }

    [Fact]
    public void What_a_template_leaves_out_is_named()
    {
        string deaf = Write("deaf.jinja", "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% elif m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% endif %}{% endfor %}");
        DataOptions options = new() { Files = [], Template = deaf };
        Assert.Equal("line 1: the chat template leaves out message 0 of role system", Fault("""{"instruction": "a", "output": "b", "system": "c"}""", options));
        Assert.Equal("line 1: the chat template leaves out the function \"f\"", Fault("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]}""", options));
        Assert.Equal("line 1: the chat template leaves out the function \"g\"", Fault("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": [{"name": "g"}]}""", options));
    }

    [Fact]
    public void A_template_that_refuses_a_row_is_named_with_its_line() => Assert.Equal(
        ["line 2: the chat template: The template alpaca knows system, user and assistant, not tool"],
        Assert.Throws<ModelFileException>(() => Data("""
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
            {"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}]}
            """, new() { Files = [], Template = "alpaca" })).Faults);

    [Theory]
    [InlineData("alpaca", "<|im_start|>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello<|im_end|>\n\n", "Hello<|im_end|>")]
    [InlineData("plain", "<|im_start|>Be kind.\nHi\nHello<|im_end|>", "Hello<|im_end|>")]
    [InlineData("chatml", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n", "Hello<|im_end|>")]
    [InlineData("llama3", "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>", "\n\nHello<|eot_id|>")]
    public void A_built_in_template_serves_a_model_without_one(string name, string text, string trained)
    {
        TrainingExample row = Assert.Single(Data("""{"instruction": "Hi", "output": "Hello", "system": "Be kind."}""", new() { Files = [], Template = name }).Train);
        Assert.Equal(text, Texts([row])[0]);
        Assert.EndsWith(trained.TrimStart(), Trained(row));
        Assert.True(Trained(row).Length <= trained.Length);
    }

    [Fact]
    public void The_models_own_template_is_used_unless_another_is_asked_for()
    {
        DataOptions options = new() { Files = [Write("a.jsonl", """{"instruction": "Hi", "output": "Hello"}""")] };
        Assert.Equal("Hi!Hello", Texts(Load(options, ChatTemplate.Parse("{{ messages[0].content }}!{% generation %}{{ messages[1].content }}{% endgeneration %}")).Train)[0]);
        Assert.Contains("the model has no chat template: give one of alpaca, chatml, llama3, plain", Assert.Throws<ArgumentException>(() => Load(options)).Message);
        Assert.Contains("found \"chatlm\"", Assert.Throws<ArgumentException>(() => Load(options with { Template = "chatlm" })).Message);
        Assert.Contains("line 1: ", Assert.Throws<ModelFileException>(() => Load(options with { Template = Write("bad.jinja", "{% for %}") })).Message);
        Assert.Contains("needs a tokenizer", Assert.Throws<ArgumentException>(() => TrainingData.Load(options with { Template = "chatml" }, null)).Message);
    }

    [Theory]
    [InlineData("alpaca_en_demo.json", "chatml", null, null, 999)]
    [InlineData("alpaca_zh_demo.json", "chatml", null, null, 1000)]
    [InlineData("identity.json", "alpaca", null, null, 91)]
    [InlineData("rasbt_instruction-data.json", "plain", null, null, 1100)]
    [InlineData("gsm8k_test.jsonl", "alpaca", "question", "answer", 1319)]
    [InlineData("banking77_test.csv", "plain", "text", "category", 3080)]
    [InlineData("glaive_toolcall_en_demo.json", "qwen25_tools", null, null, 300)]
    public void Real_data_sets_load_whole(string file, string template, string? prompt, string? response, int rows)
    {
        DataColumns columns = new();
        TrainingData data = Load(new()
        {
            Files = [SharedFolder.Require("data/data-sft/" + file)],
            Template = template == "qwen25_tools" ? SharedFolder.Require($"fixtures/chat_templates/templates/{template}.jinja") : template,
            Columns = prompt is null ? columns : columns with { Prompt = prompt, Response = response!, Text = "" },
            CutoffLength = 100_000,
        });
        Assert.Equal(rows, data.Report.RowsRead);
        Assert.Equal(rows, data.Train.Count);
        Assert.Empty(data.Report.Skipped);
        Assert.All(data.Train, e => Assert.InRange(e.Targets, 1, e.InputIds.Length - 2));
    }
}
