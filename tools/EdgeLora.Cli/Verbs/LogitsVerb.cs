using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>logits</c>: how a model or a port is compared with a reference, and what an encoder says of a text or an image.</summary>
internal sealed class LogitsVerb
{
    private readonly CommandIo _io;
    private readonly HostArguments _model;
    private readonly Option<string?> _tokens = new("--tokens") { Description = "Token ids 1,2,3.", HelpName = "ids" };
    private readonly Option<string?> _file = new("--tokens-file") { Description = "JSON file: an array of ids, or an array of such arrays (of one length for a language model).", HelpName = "file" };
    private readonly Option<string?> _text = new("--text") { Description = "A text, through the model's tokenizer with its special tokens.", HelpName = "text" };
    private readonly Option<string?> _pair = new("--pair") { Description = "BERT and its kin: the second text of a pair, after --text.", HelpName = "text" };
    private readonly Option<string?> _inputs = new("--inputs") { Description = "Classifier: a .safetensors or .json file with input_ids [N, T] (attention_mask and token_type_ids beside it), or with pixel_values [N, C, H, W], normalised already. In JSON: one object of nested arrays.", HelpName = "file" };
    private readonly Option<string?> _output = new("--output", "-o") { Description = "The .safetensors file to write. A language model needs it; a classifier's logits are printed anyway.", HelpName = "file" };
    private readonly Option<bool> _json = new("--json") { Description = "Print one line of JSON: the file and the shape; for a classifier the labels, and each row's logits and best label." };

    private LogitsVerb(Command command, CommandIo io)
    {
        _io = io;
        _model = new(command, withBlend: true);
        foreach (Option option in (Option[])[_tokens, _file, _text, _pair, _inputs, _output, _json])
            command.Add(option);
        command.SetAction((result, cancellation) => Task.Run(() => ClassifierHost.Classifies(result.GetRequiredValue(_model.Source), result.GetValue(_model.Adapter) ?? []) ? Classify(result, cancellation) : Run(result, cancellation), CancellationToken.None));
    }

    public static Command Create(CommandIo io)
    {
        Command command = new("logits", "Language model: write the logits after every token as safetensors, tensor 'logits', F32, [T, V] or [N, T, V]. Classifier (BERT, RoBERTa, DistilBERT, ViT, or a decoder with a score head or an adapter of task SEQ_CLS): print each row's class logits with the labels of id2label, and with -o write them, [N, classes].");
        _ = new LogitsVerb(command, io);
        return command;
    }

    private int Run(ParseResult result, CancellationToken cancellation)
    {
        if (result.GetValue(_inputs) is not null || result.GetValue(_pair) is not null)
            throw new UsageException("--inputs and --pair are for classifiers; give --tokens, --tokens-file or --text");
        One(result, _tokens, _file, _text);
        string target = result.GetValue(_output) ?? throw new UsageException("--output: is needed, a language model has logits for every token");
        (int[][] rows, bool nested) = result.GetValue(_file) is { } from ? Numbers.TokenFile(from) : ([Numbers.Tokens(result.GetValue(_tokens) ?? "")], false);
        for (int i = 1; i < rows.Length; i++)
            if (rows[i].Length != rows[0].Length)
                throw new ModelFileException(result.GetValue(_file)!, $"[{i}]: expected {rows[0].Length} ids as in row 0, found {rows[i].Length}");
        using EdgeHost host = _model.Open(result);
        if (result.GetValue(_text) is { } text)
            rows = [Prompts.Encode(host, text, chat: false)];
        AdapterPath path = _model.Enter(host, result);
        int vocabulary = host.Model.Config.Vocabulary, length = rows.Length == 0 ? 0 : rows[0].Length;
        long elements = (long)rows.Length * length * vocabulary;
        if (elements > int.MaxValue / sizeof(float))
            throw new ArgumentException($"logits of {rows.Length} x {length} tokens take {elements * sizeof(float)} bytes: more than one tensor holds; give fewer tokens");
        float[] logits = new float[elements];
        for (int n = 0; n < rows.Length; n++)
        {
            int start = n * length;
            TokenLogits.Run(host.Model, path, rows[n], 0, cancellation, (row, values) => values.CopyTo(logits.AsSpan((start + row) * vocabulary)));
            _io.Progress("sequences", n + 1, rows.Length);
        }
        Shape shape = nested ? new(rows.Length, length, vocabulary) : new(length, vocabulary);
        Safetensors.Write(target, [Tensor.FromFloats("logits", shape, logits)]);
        if (result.GetValue(_json))
            _io.WriteJson(w =>
            {
                w.WriteString("output", target);
                w.WriteString("path", path.Name);
                w.WriteStartArray("shape");
                foreach (long dimension in shape.Dimensions)
                    w.WriteNumberValue(dimension);
                w.WriteEndArray();
            });
        else
            _io.Error.WriteLine($"{target}: logits {shape} F32");
        return EdgeLoraCommand.Ok;
    }

    private int Classify(ParseResult result, CancellationToken cancellation)
    {
        One(result, _tokens, _file, _text, _inputs);
        if (result.GetValue(_pair) is not null && result.GetValue(_text) is null)
            throw new UsageException("--pair: is the second text after --text");
        EncoderInput[]? given = result.GetValue(_inputs) is { } file ? EncoderInputFile.Read(file)
            : result.GetValue(_file) is { } rows ? [.. Numbers.TokenFile(rows).Rows.Select(r => EncoderInput.Tokens(r))]
            : result.GetValue(_tokens) is { } ids ? [EncoderInput.Tokens(Numbers.Tokens(ids))] : null;
        using ClassifierHost host = _model.OpenClassifier(result);
        EncoderInput[] inputs = given ?? [host.Read(result.GetValue(_text)!, result.GetValue(_pair))];
        AdapterPath path = _model.Enter(host, result);
        float[][] logits = new float[inputs.Length][];
        for (int n = 0; n < inputs.Length; n++)
        {
            cancellation.ThrowIfCancellationRequested();
            logits[n] = host.Model.Classify(inputs[n], path);
            _io.Progress("rows", n + 1, inputs.Length);
        }
        string? target = result.GetValue(_output);
        if (target is not null)
            Safetensors.Write(target, [Tensor.FromFloats("logits", new Shape(inputs.Length, host.Model.Classes), [.. logits.SelectMany(r => r)])]);
        if (result.GetValue(_json))
            WriteJson(host.Model, path, logits, target);
        else
            Print(host.Model, logits);
        return EdgeLoraCommand.Ok;
    }

    private void WriteJson(IClassifier model, AdapterPath path, float[][] logits, string? target) => _io.WriteJson(w =>
    {
        if (target is not null)
            w.WriteString("output", target);
        w.WriteString("path", path.Name);
        w.WriteTexts("labels", model.Labels);
        w.WriteStartArray("rows");
        foreach (float[] row in logits)
        {
            w.WriteStartObject();
            w.WriteString("label", model.Labels[ArgMax.Of<float>(row)]);
            w.WriteStartArray("logits");
            foreach (float logit in row)
                if (float.IsFinite(logit))
                    w.WriteNumberValue(logit);
                else
                    w.WriteNullValue();
            w.WriteEndArray();
            w.WriteEndObject();
        }
        w.WriteEndArray();
    });

    private void Print(IClassifier model, float[][] logits)
    {
        int width = model.Labels.Max(l => l.Length);
        for (int n = 0; n < logits.Length; n++)
        {
            _io.Output.WriteLine(FormattableString.Invariant($"row {n}: {model.Labels[ArgMax.Of<float>(logits[n])]}"));
            for (int i = 0; i < logits[n].Length; i++)
                _io.Output.WriteLine(FormattableString.Invariant($"  {model.Labels[i].PadRight(width)} {logits[n][i],10:F6}"));
        }
        _io.Output.Flush();
    }

    private static void One(ParseResult result, params Option<string?>[] options)
    {
        if (options.Count(o => result.GetValue(o) is not null) != 1)
            throw new UsageException($"give one of {string.Join(", ", options.Select(o => o.Name))}");
    }
}
