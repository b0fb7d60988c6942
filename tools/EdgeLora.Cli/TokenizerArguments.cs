using System.CommandLine;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Cli;

/// <summary>The tokenizer of a new base: trained on texts, or a given one.</summary>
internal sealed class TokenizerArguments
{
    private const string DefaultSpecial = "<|endoftext|>";

    private readonly Option<string?> _given = new("--tokenizer") { Description = "A folder whose tokenizer is taken in place of a trained one.", HelpName = "folder" };
    private readonly Option<string[]> _texts = Many("--text", "Texts to train the tokenizer on: .txt, .md, .jsonl, .json, .csv, .tsv.", "file");
    private readonly Option<string?> _separator = new("--document-separator") { Description = "Where a document of a plain text ends: blank_line, or a text such as <|endoftext|>. Default: at the file's end.", HelpName = "text" };
    private readonly Option<string> _column = new("--column") { Description = "The field of a row that holds the text. Default: text.", DefaultValueFactory = _ => "text", HelpName = "name" };
    private readonly Option<int?> _size = new("--vocab-size") { Description = "Tokens of the trained tokenizer; fewer where the texts have no more pairs. Default: the config's vocab_size.", HelpName = "tokens" };
    private readonly Option<int> _frequency = new("--min-frequency") { Description = "How often a pair must stand in the texts to be merged. Default: 0.", HelpName = "times" };
    private readonly Option<string[]> _special = Many("--special", $"Special tokens; they take the first ids. Default: {DefaultSpecial}.", "token");
    private readonly Option<string?> _bos = new("--bos") { Description = "The special token that begins a text. Default: the first one.", HelpName = "token" };
    private readonly Option<string?> _eos = new("--eos") { Description = "The special token that ends a text. Default: the first one.", HelpName = "token" };
    private readonly Option<string?> _pad = new("--pad") { Description = "The special token that pads. Default: none.", HelpName = "token" };
    private readonly Option<string?> _template = new("--chat-template") { Description = "Jinja file. Default: none.", HelpName = "file" };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        Option[] ofTraining = [_separator, _column, _size, _frequency, _special, _bos, _eos, _pad, _template];
        foreach (Option option in (Option[])[_texts, _given, .. ofTraining])
            command.Add(option);
        _frequency.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() < 0)
                r.AddError("--min-frequency: expected 0 or more");
        });
        command.Validators.Add(r =>
        {
            bool given = r.GetResult(_given) is not null;
            if (given == r.GetResult(_texts) is not null)
                r.AddError("expected either --text or --tokenizer");
            else if (given && ofTraining.FirstOrDefault(o => r.GetResult(o) is { Implicit: false }) is { } useless)
                r.AddError($"{useless.Name}: --tokenizer is taken as it is");
        });
    }

    /// <summary>Writes the tokenizer into a folder and returns it.</summary>
    /// <param name="io">For progress.</param>
    /// <param name="result">The arguments.</param>
    /// <param name="folder">An existing folder.</param>
    /// <param name="vocabulary">Tokens where --vocab-size is not given; null: it must be.</param>
    /// <param name="cancellation">Stops the training.</param>
    public Tokenizer Write(CommandIo io, ParseResult result, string folder, int? vocabulary, CancellationToken cancellation)
    {
        if (result.GetValue(_given) is { } given)
        {
            if (!Directory.Exists(given))
                throw new DirectoryNotFoundException($"{given}: no such folder");
            Tokenizer tokenizer = Tokenizer.Load(given);
            Tokenizer.CopyFiles(given, folder);
            return tokenizer;
        }
        string[] special = result.GetValue(_special) is { Length: > 0 } tokens ? tokens : [DefaultSpecial];
        Dictionary<string, string> roles = new() { ["bos_token"] = result.GetValue(_bos) ?? special[0], ["eos_token"] = result.GetValue(_eos) ?? special[0] };
        if (result.GetValue(_pad) is { } pad)
            roles["pad_token"] = pad;
        string? template = result.GetValue(_template) is { } file ? File.ReadAllText(file) : null;
        if (template is not null)
            ChatTemplate.Parse(template);
        BpeTrainer trainer = new(result.GetValue(_size) ?? vocabulary ?? throw new UsageException("--vocab-size: is missing, and the config names no vocab_size"), special, result.GetValue(_frequency));
        string[] texts = result.GetRequiredValue(_texts);
        foreach ((string path, int i) in texts.Select((p, i) => (p, i)))
        {
            cancellation.ThrowIfCancellationRequested();
            foreach (string document in TextDocuments.Read(path, result.GetValue(_separator), result.GetRequiredValue(_column)))
                trainer.Add(document);
            io.Progress("texts", i + 1, texts.Length);
        }
        trainer.Train(cancellation).Write(folder, roles, template);
        return Tokenizer.Load(folder);
    }

    private static Option<string[]> Many(string name, string description, string help) => new(name) { Description = description, AllowMultipleArgumentsPerToken = true, HelpName = help };
}
