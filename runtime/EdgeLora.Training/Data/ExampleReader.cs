using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Reads files into examples and counts what is lost on the way.</summary>
internal sealed class ExampleReader(DataOptions options, Tokenizer? tokenizer, ChatTemplate? own)
{
    private readonly Lazy<ChatTemplate> _template = new(() => BuiltInTemplate.Find(options.Template, own));
    private readonly List<string> _ignored = [];

    public int Rows { get; private set; }

    public int Examples { get; private set; }

    public int Truncated { get; private set; }

    public long TokensDropped { get; private set; }

    public SortedDictionary<string, int> Skipped { get; } = new(StringComparer.Ordinal);

    public IReadOnlyList<string> IgnoredFields => _ignored;

    /// <summary>The examples of the files in order, each with the number of its row.</summary>
    /// <exception cref="ModelFileException">A file has bad rows; all that were found in it are named.</exception>
    public List<(int Row, TrainingExample Example)> Read(IEnumerable<string> files)
    {
        List<(int, TrainingExample)> examples = [];
        RowFormats.TryParse(options.Format, out RowFormat? asked);
        foreach (string file in files)
        {
            if (!RowFile.IsPlainText(file))
                ReadRows(file, asked, examples);
            else if (asked is null or RowFormat.Text)
                foreach (string document in TextDocuments.Split(RowFile.ReadText(file), options.DocumentSeparator).Take(options.MaxSamples ?? int.MaxValue))
                    AddDocument(document, examples);
            else
                throw new ModelFileException(file, $"format {options.Format}: expected .jsonl, .json or .csv, found plain text");
        }
        return examples;
    }

    private void ReadRows(string file, RowFormat? format, List<(int, TrainingExample)> examples)
    {
        FaultList faults = new(file);
        foreach (DataRow row in RowFile.Read(file, faults).Take(options.MaxSamples ?? int.MaxValue))
            try
            {
                format ??= RowFormats.Detect(row.Value, options.Columns);
                AddRow(row.Value, format.Value, examples);
            }
            catch (Exception e) when (e is RowFault or ChatTemplateException)
            {
                faults.Add($"line {row.Line}: {(e is ChatTemplateException ? "the chat template: " : "")}{e.Message}");
                // Every other row would only say the same.
                if (format is null)
                    break;
            }
        faults.ThrowIfAny();
    }

    private void AddRow(JsonElement row, RowFormat format, List<(int, TrainingExample)> examples)
    {
        switch (format)
        {
            case RowFormat.Tokens:
                Add(TokenRow.Read(row, options.VocabularySize), examples);
                Rows++;
                break;
            case RowFormat.Text:
                string text = RowFields.Text(RowFields.Require(row, options.Columns.Text), options.Columns.Text);
                Ignore(row.EnumerateObject().Select(p => p.Name).Where(name => name != options.Columns.Text));
                AddDocument(text, examples);
                break;
            default:
                RowFormats.RefusePreference(row);
                string column = RowFormats.TurnsColumn(row, format, options.Columns);
                Dialogue dialogue = format switch
                {
                    RowFormat.Alpaca => AlpacaRow.Read(row, options.Columns),
                    RowFormat.ShareGpt => ShareGptRow.Read(row, column, options.Columns),
                    _ => MessagesRow.Read(row, column, options.Columns),
                };
                Ignore(row.EnumerateObject().Select(p => p.Name).Where(name => !dialogue.Fields.Contains(name)));
                AddDialogue(dialogue, examples);
                Rows++;
                break;
        }
    }

    private void AddDialogue(Dialogue dialogue, List<(int, TrainingExample)> examples)
    {
        ChatTemplate template = _template.Value;
        Ignore(dialogue.TurnFields.Where(name => !template.Source.Contains(name, StringComparison.Ordinal)).Select(name => $"message.{name}"));
        if (dialogue.Turns.All(t => t.Text is { } text ? text.Length == 0 : t.Message["tool_calls"] is null))
        {
            Skip("empty");
            return;
        }
        MaskedChat chat = AnswerMask.Encode(TokenizerFor("a chat template"), template, dialogue.ToInput(tokenizer!.SpecialTokens), i => dialogue.Turns[i].Trains);
        RequireAll(dialogue, chat.Text);
        int[] labels = options.TrainOnPrompt ? [.. chat.InputIds] : chat.Labels();
        Add(Example(chat.InputIds, labels), examples);
    }

    // Many templates pass over roles, calls and tools that they do not know: half a dialogue must not be learned as a whole one.
    private static void RequireAll(Dialogue dialogue, string text)
    {
        foreach (string name in dialogue.FunctionNames())
            if (!text.Contains(name, StringComparison.Ordinal))
                throw new RowFault($"the chat template leaves out the function \"{name}\"");
        for (int i = 0; i < dialogue.Turns.Count; i++)
        {
            Turn turn = dialogue.Turns[i];
            if (turn.Role == "assistant" || turn.Text?.Trim() is not { Length: > 0 } said || text.Contains(said, StringComparison.Ordinal))
                continue;
            string json = JsonEncodedText.Encode(said, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping).ToString();
            if (!text.Contains(json, StringComparison.Ordinal))
                throw new RowFault($"the chat template leaves out message {i} of role {turn.Role}");
        }
    }

    // Blocks of one document; none reaches into the next one.
    private void AddDocument(string text, List<(int, TrainingExample)> examples)
    {
        List<int> ids = [.. TokenizerFor("text").EncodeIds(text)];
        if (ids.Count == 0)
            Skip("empty");
        else
        {
            if (options.DocumentStart && tokenizer!.BosId is { } bos && ids[0] != bos)
                ids.Insert(0, bos);
            if (tokenizer!.EosId is { } eos && ids[^1] != eos)
                ids.Add(eos);
            foreach (int[] block in ids.Chunk(options.CutoffLength))
                if (block.Length > 1 || ids.Count == 1)
                    Add(Example(block, [.. block]), examples);
                else
                    TokensDropped++;
        }
        Rows++;
    }

    private void Add(TrainingExample example, List<(int, TrainingExample)> examples)
    {
        int length = example.InputIds.Length, cut = length - options.CutoffLength, targets = example.Targets;
        if (cut > 0)
            example = Cut(example);
        if (example.Targets == 0)
        {
            Skip(length == 0 ? "empty" : targets == 0 ? "no token to train" : "no token to train before the cutoff length");
            return;
        }
        if (cut > 0)
        {
            Truncated++;
            TokensDropped += cut;
        }
        Examples++;
        examples.Add((Rows, example));
    }

    private TrainingExample Cut(TrainingExample example)
    {
        int left = options.CutoffLength;
        List<int> segments = [];
        foreach (int segment in example.SegmentLengths)
        {
            if (left > 0)
                segments.Add(Math.Min(left, segment));
            left -= segment;
        }
        return new(example.InputIds[..options.CutoffLength], example.Labels[..options.CutoffLength], [.. segments]);
    }

    private static TrainingExample Example(int[] ids, int[] labels)
    {
        if (labels.Length > 0)
            labels[0] = TrainingExample.Ignored;
        return new(ids, labels, [ids.Length]);
    }

    private Tokenizer TokenizerFor(string what) => tokenizer ?? throw new ArgumentException($"{what} needs a tokenizer, and the model has none: give tokenised rows");

    private void Skip(string reason) => Skipped[reason] = Skipped.GetValueOrDefault(reason) + 1;

    private void Ignore(IEnumerable<string> fields) => _ignored.AddRange(fields.Where(f => !_ignored.Contains(f)));
}
