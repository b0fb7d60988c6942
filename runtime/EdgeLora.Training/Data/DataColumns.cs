namespace EdgeLora.Training;

/// <summary>Names of a row's fields, as in the <c>columns</c> of LLaMA-Factory's dataset_info.json.</summary>
public sealed record DataColumns
{
    /// <summary>alpaca: the instruction. LLaMA-Factory's <c>prompt</c>.</summary>
    public string Prompt { get; init; } = "instruction";

    /// <summary>alpaca: what the instruction works on; may be absent or empty. LLaMA-Factory's <c>query</c>.</summary>
    public string Query { get; init; } = "input";

    /// <summary>alpaca: the answer. LLaMA-Factory's <c>response</c>.</summary>
    public string Response { get; init; } = "output";

    /// <summary>alpaca: earlier pairs of instruction and answer, a list of two texts each; may be absent.</summary>
    public string History { get; init; } = "history";

    /// <summary>The system prompt, a text; may be absent.</summary>
    public string System { get; init; } = "system";

    /// <summary>The list of turns; null takes <c>messages</c> or <c>conversations</c>, whichever the row has.</summary>
    public string? Messages { get; init; }

    /// <summary>The functions that the model may call, a list or its JSON text; may be absent.</summary>
    public string Tools { get; init; } = "tools";

    /// <summary>text: the document.</summary>
    public string Text { get; init; } = "text";
}
