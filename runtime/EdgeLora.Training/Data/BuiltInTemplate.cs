using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Chat templates for models that have none, and where a template comes from. All mark their answers with generation blocks.</summary>
public static class BuiltInTemplate
{
    private const string Begin = "{{ bos_token | default('') }}", Answer = "{% generation %}{{ m['content'] }}{{ eos_token | default('') }}{% endgeneration %}";

    private static readonly SortedDictionary<string, string> s_sources = new(StringComparer.Ordinal)
    {
        ["alpaca"] = Begin + "{% for m in messages %}{% if m['role'] == 'user' %}{{ '### Instruction:\\n' + m['content'] + '\\n\\n### Response:\\n' }}{% elif m['role'] == 'assistant' %}" + Answer
            + "{{ '\\n\\n' }}{% elif m['role'] == 'system' %}{{ m['content'] + '\\n\\n' }}{% else %}{{ raise_exception('The template alpaca knows system, user and assistant, not ' + m['role']) }}{% endif %}{% endfor %}",
        ["chatml"] = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
            + "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        ["llama3"] = "{% for m in messages %}{% if loop.first %}{{ '<|begin_of_text|>' }}{% endif %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}"
            + "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] | trim + '<|eot_id|>' }}{% endgeneration %}{% else %}{{ m['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
            + "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        ["plain"] = Begin + "{% for m in messages %}{% if m['role'] == 'assistant' %}" + Answer + "{% else %}{{ m['content'] + '\\n' }}{% endif %}{% endfor %}",
    };

    /// <summary>Their names.</summary>
    public static IReadOnlyCollection<string> Names => s_sources.Keys;

    /// <summary>Finds the template that a recipe asks for.</summary>
    /// <param name="template">A built-in template's name or the path of a Jinja file; null takes <paramref name="own"/>.</param>
    /// <param name="own">The model's own template; null where it has none.</param>
    /// <exception cref="ModelFileException">The file is broken or absent.</exception>
    /// <exception cref="ArgumentException">No such template, or none at all.</exception>
    public static ChatTemplate Find(string? template, ChatTemplate? own)
    {
        string names = string.Join(", ", Names);
        if (template is null)
            return own ?? throw new ArgumentException($"the model has no chat template: give one of {names}, or a .jinja file");
        if (s_sources.TryGetValue(template, out string? source))
            return ChatTemplate.Parse(source);
        if (!File.Exists(template))
            throw new ArgumentException($"template: expected one of {names}, or a .jinja file, found \"{template}\"");
        try
        {
            return ChatTemplate.Parse(RowFile.ReadText(template));
        }
        catch (ChatTemplateException e)
        {
            throw new ModelFileException(template, $"line {e.Line}: {e.Message}", e);
        }
    }
}
