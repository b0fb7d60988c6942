using System.CommandLine;
using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>convert</c>: one format into another. It parses; <see cref="AdapterConversion"/> and <see cref="ModelConversion"/> convert.</summary>
internal static class ConvertVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("convert",
            "Convert an adapter between PEFT, .elora, .onnx_adapter and others, a model between a Hugging Face folder and GGUF (of any type, split or whole), a torch .bin to .safetensors, or a llama2.c .bin to a Hugging Face folder. A node of a tree becomes a model by 'edgelora merge'. What the target cannot hold is refused by name. Memory stays constant, and a file that is not finished never has the target's name.");
        Argument<string> from = new("in") { Description = "What to read: a file or folder of any format, or hf:owner/name that 'pull' brought; edgelora inspect says which and what it converts to." };
        Argument<string> to = new("out") { Description = "What to write: a file whose extension names the format, or a new folder." };
        Option<string?> format = new("--to") { Description = $"Format to write, where the extension does not tell it. Adapters: {AdapterConversion.Targets}.", HelpName = "format" };
        Option<string?> type = new("--type") { Description = $"How tensors are stored: f32, f16 or bf16; a model's matrices in GGUF also {ModelTypes.Gguf.Replace("f32, f16, bf16, ", "")}. Default: as they are; quantised tensors are f32 in a folder.", HelpName = "type" };
        Option<bool> fold = new("--fold") { Description = "Let a scale that has no place in the format be multiplied into the weights (an adapter's B, Gemma's q), which rounds every number once. Without it that is refused." };
        Option<int?> rank = new("--rank") { Description = "Truncate pairs of a larger rank to this one by their singular values; how much of the change is lost is said.", HelpName = "rank" };
        Option<double?> alpha = new("--alpha") { Description = "alpha of an adapter whose file does not hold it.", HelpName = "number" };
        Option<string?> enable = new("--enable-lora") { Description = "Which parts of loralib's merged layers have pairs, as true,false,true, where the file leaves it open.", HelpName = "parts" };
        Option<string?> model = new("--base")
        {
            Description = "Base model, where a format's names or row order depend on it: a folder or .gguf; for kohya files a diffusers UNet or transformer (folder or .safetensors) or a .txt of module names.",
            HelpName = "model",
        };
        Option<bool> bare = new("--without-embeddings") { Description = "Leave out textual-inversion embeddings that lie beside a diffusion adapter. Without it they are refused by name." };
        Option<bool> experts = new("--split-experts") { Description = "Write LoRA on fused expert parameters (target_parameters) as a pair for each expert's layer, under the names of --base. Without it PEFT and .elora hold it as it is; other formats refuse it." };
        Option<bool> silent = new("--without-texts") { Description = "Leave out an adapter's task name and prompt prefix (GGUF), which PEFT, .elora and GGUF keep. Without it other formats refuse them by name." };
        Option<string?> tokenizer = new("--tokenizer") { Description = "llama2.c tokenizer file. Default: tok512.bin or tokenizer.bin beside the checkpoint.", HelpName = "file" };
        Option<string?> pre = new("--pre") { Description = "tokenizer.ggml.pre of a GGUF: the name of a byte-level BPE's rules. Default: the one that splits as the tokenizer does.", HelpName = "name" };
        Option<string?> split = new("--split-size") { Description = "Split a GGUF into pieces of this size: 500M, 2G. Default: one file.", HelpName = "size" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(from);
        command.Add(to);
        foreach (Option option in new Option[] { format, type, fold, rank, alpha, enable, model, bare, experts, silent, tokenizer, pre, split, json })
            command.Add(option);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            ConvertRequest request = new(HubCache.Resolve(result.GetRequiredValue(from)), result.GetRequiredValue(to))
            {
                To = result.GetValue(format),
                Type = result.GetValue(type),
                Fold = result.GetValue(fold),
                Rank = result.GetValue(rank),
                Alpha = result.GetValue(alpha),
                EnableLora = result.GetValue(enable),
                Base = result.GetValue(model) is { } on ? HubCache.Resolve(on) : null,
                WithoutEmbeddings = result.GetValue(bare),
                SplitExperts = result.GetValue(experts),
                WithoutTexts = result.GetValue(silent),
                Tokenizer = result.GetValue(tokenizer),
                PreTokenizer = result.GetValue(pre),
                SplitBytes = result.GetValue(split) is { } size ? Numbers.Bytes("--split-size", size) : null,
                Progress = io.Progress,
            };
            ConvertResult done = Convert(request, cancellation);
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("input", request.Source);
                    w.WriteString("output", request.Target);
                    w.WriteString("conversion", done.Conversion);
                    foreach ((string name, object value) in done.Facts)
                        w.WriteFact(name, value);
                });
            else
                io.Error.WriteLine($"{request.Target}: {done.Conversion}");
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static ConvertResult Convert(ConvertRequest request, CancellationToken cancellation)
    {
        if (request.Tokenizer is { } file && !File.Exists(file))
            throw new FileNotFoundException($"{file}: no such tokenizer file");
        if (!File.Exists(request.Source) && !Directory.Exists(request.Source))
            throw new FileNotFoundException($"{request.Source}: no such file or folder");
        if (new[] { "base", "base.gguf", "base.json" }.Any(n => Path.Exists(Path.Combine(request.Source, n))) && !File.Exists(Path.Combine(request.Source, "config.json")))
            throw new UsageException($"{request.Source}: is a tree; convert takes one adapter or model of it, and 'edgelora merge {request.Source} --at <node> -o {request.Target}' writes a node as a model");
        if (AdapterConversion.FolderOf(request.Source) is { } folder && !request.TargetHas(".safetensors"))
            throw new UsageException($"{request.Source}: holds the tensors of an adapter's folder; convert the folder: {folder}");
        if ((AdapterConversion.Run(request, cancellation) ?? ModelConversion.Run(request, cancellation)) is { } done)
            return done;
        if (ForeignFactors.ReasonOf(request.Source) is { } foreign)
            throw new ModelFileException(request.Source, foreign);
        throw new UsageException($"{request.Source} -> {request.Target}: expected an adapter ({AdapterConversion.Targets}), a model folder, a .gguf or a .bin");
    }
}
