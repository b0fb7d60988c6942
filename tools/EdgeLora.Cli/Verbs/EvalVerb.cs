using System.CommandLine;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>eval</c>: perplexity on a text.</summary>
internal static class EvalVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("eval", "Measure perplexity on a text: the mean negative log-likelihood of each token in nats, and its exponential.");
        HostArguments model = new(command, withBlend: true);
        Option<string> text = new("--text") { Description = "Text file, UTF-8.", Required = true, HelpName = "file" };
        Option<int> window = new("--window") { Description = "Tokens of one forward; 0: the model's context. Default: 0.", HelpName = "tokens" };
        Option<int> stride = new("--stride") { Description = "Tokens from one window to the next; each token counts once, in the first window that holds it. 0: the window. Default: 0.", HelpName = "tokens" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(text);
        command.Add(window);
        command.Add(stride);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string file = result.GetRequiredValue(text);
            using EdgeHost host = model.Open(result);
            AdapterPath path = model.Enter(host, result);
            int context = host.Model.Config.ContextLength, length = result.GetValue(window), step = result.GetValue(stride);
            if (length is 0)
                length = context;
            if (step is 0)
                step = length;
            if (length < 2 || length > context || step < 1 || step > length)
                throw new UsageException($"--window: expected 2..{context}; --stride: expected 1..window");
            int[] ids = Prompts.Tokenizer(host).EncodeIds(File.ReadAllText(file));
            if (ids.Length < 2)
                throw new InvalidOperationException($"{file}: has {ids.Length} tokens; at least 2 are needed");
            (double sum, long count) = Score(io, host.Model, path, ids, length, step, cancellation);
            double mean = sum / count;
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("path", path.Name);
                    w.WriteString("text", file);
                    w.WriteNumber("tokens", count);
                    w.WriteNumber("meanNll", mean);
                    w.WriteNumber("perplexity", Math.Min(Math.Exp(mean), double.MaxValue));
                    w.WriteNumber("window", length);
                    w.WriteNumber("stride", step);
                });
            else
                io.Output.Write(FormattableString.Invariant($"{path}: mean NLL {mean:F4} nats, perplexity {Math.Exp(mean):F3} over {count} tokens (window {length}, stride {step})\n"));
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    // A token's prediction needs the row before it: a window that starts at s scores s+1 .. s+length-1 that no earlier one scored.
    private static (double Sum, long Count) Score(CommandIo io, DecoderModel model, AdapterPath path, int[] ids, int length, int stride, CancellationToken cancellation)
    {
        double sum = 0;
        long count = 0;
        int scored = 1;
        for (int start = 0; scored < ids.Length; start += stride)
        {
            int from = start == 0 ? 0 : Math.Min(start, scored - 1), end = Math.Min(from + length, ids.Length);
            int[] part = ids[from..end];
            int first = scored - 1 - from;
            TokenLogits.Run(model, path, part, first, cancellation, (row, logits) =>
            {
                if (row + 1 >= part.Length)
                    return;
                sum += NegativeLogLikelihood(logits, part[row + 1]);
                count++;
            });
            scored = Math.Max(scored, end);
            io.Progress("tokens", scored, ids.Length);
        }
        return (sum, count);
    }

    private static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int token)
    {
        float largest = logits[0];
        foreach (float x in logits)
            largest = Math.Max(largest, x);
        double total = 0;
        foreach (float x in logits)
            total += Math.Exp((double)x - largest);
        return Math.Log(total) + largest - logits[token];
    }
}
