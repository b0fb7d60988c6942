using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Training;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>init</c>: a base with random weights, to be trained from nothing.</summary>
internal static class InitVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("init", "Make a base with random weights as a Hugging Face folder, its byte-level BPE tokenizer trained on texts. Then train it: train --finetuning-type full.");
        Argument<string> output = new("out") { Description = "New folder to write." };
        Option<string> config = new("--config") { Description = "config.json of the model, or its folder; vocab_size and the ids of special tokens may be left out.", Required = true, HelpName = "file" };
        Option<int> seed = new("--seed") { Description = "Where the random numbers start. Default: 42.", DefaultValueFactory = _ => 42, HelpName = "number" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        TokenizerArguments tokenizer = new();
        seed.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() < 0)
                r.AddError("--seed: expected 0 or more");
        });
        command.Add(output);
        command.Add(config);
        tokenizer.AddTo(command);
        WeightTypeOption type = new(command, "the weights are");
        command.Add(seed);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string folder = result.GetRequiredValue(output), path = result.GetRequiredValue(config);
            DType stored = type.Read(result);
            BaseConfig model = BaseConfig.Read(Directory.Exists(path) ? Path.Combine(path, "config.json") : path);
            RandomBaseSummary made = null!;
            OutputFolder.Write(folder, target =>
                made = RandomBase.Write(target, model, tokenizer.Write(io, result, target, model.Vocabulary, cancellation), stored, result.GetValue(seed), cancellation));
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("output", folder);
                    w.WriteString("modelType", made.ModelType);
                    w.WriteNumber("vocabulary", made.Vocabulary);
                    w.WriteNumber("parameters", made.Parameters);
                    w.WriteNumber("tensors", made.Tensors);
                    w.WriteNumber("bytes", made.ByteLength);
                    w.WriteString("type", stored.ToString());
                    w.WriteNumber("seed", result.GetValue(seed));
                });
            else
                io.Error.WriteLine(FormattableString.Invariant($"{folder}: {made.ModelType}, {made.Parameters:N0} parameters in {made.Tensors} tensors, {made.ByteLength:N0} bytes of {stored}; vocabulary {made.Vocabulary}"));
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
