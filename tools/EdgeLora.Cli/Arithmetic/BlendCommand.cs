using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary><c>adapter add, concat, svd, ties, dare, scale</c>: adapters into one.</summary>
internal static class BlendCommand
{
    // PEFT's combination_type.
    private static readonly (string Name, BlendMethod Method)[] s_methods =
    [
        ("cat", BlendMethod.Cat), ("svd", BlendMethod.Svd), ("linear", BlendMethod.Linear), ("ties", BlendMethod.Ties), ("ties_svd", BlendMethod.TiesSvd), ("dare_linear", BlendMethod.DareLinear),
        ("dare_ties", BlendMethod.DareTies), ("dare_linear_svd", BlendMethod.DareLinearSvd), ("dare_ties_svd", BlendMethod.DareTiesSvd), ("magnitude_prune", BlendMethod.MagnitudePrune),
        ("magnitude_prune_svd", BlendMethod.MagnitudePruneSvd),
    ];

    /// <summary><c>adapter add</c>.</summary>
    public static Command Add(CommandIo io)
    {
        Option<string> method = new("--method")
        {
            Description = $"How, by PEFT's names: {string.Join(", ", s_methods.Select(m => m.Name))}. cat is the exact weighted sum, the ranks add up; svd is that sum cut to a rank; linear adds A to A and B to B, "
                + "which is not the sum of the changes; ties, dare and magnitude_prune drop entries of A and B first, their _svd forms those of the changes themselves.",
            DefaultValueFactory = _ => "cat",
            HelpName = "name",
        };
        return Create(io, "add", "The weighted sum of adapters as one adapter.", many: true, r => Method(r.GetRequiredValue(method)), method);
    }

    /// <summary><c>adapter concat</c>.</summary>
    public static Command Concat(CommandIo io) => Create(io, "concat", "The exact weighted sum of adapters, by stacking their factors: the ranks add up, nothing is left out.", many: true, _ => BlendMethod.Cat);

    /// <summary><c>adapter svd</c>.</summary>
    public static Command Svd(CommandIo io) => Create(io, "svd", "One adapter at a smaller rank: the best of that rank, with what is left out reported for each site.", many: false, _ => BlendMethod.Svd);

    /// <summary><c>adapter ties</c>.</summary>
    public static Command Ties(CommandIo io)
    {
        Option<bool> svd = OnChanges();
        return Create(io, "ties", "TIES (arXiv:2306.01708): keep the largest entries of each, elect a sign for each entry, take the mean of those that agree.", many: true,
            r => r.GetValue(svd) ? BlendMethod.TiesSvd : BlendMethod.Ties, svd);
    }

    /// <summary><c>adapter dare</c>.</summary>
    public static Command Dare(CommandIo io)
    {
        Option<bool> svd = OnChanges(), ties = new("--ties") { Description = "Elect a sign for each entry, as ties does, in place of adding." };
        return Create(io, "dare", "DARE (arXiv:2311.03099): drop entries by chance, scale up the rest, add.", many: true,
            r => (r.GetValue(ties), r.GetValue(svd)) switch { (true, true) => BlendMethod.DareTiesSvd, (true, false) => BlendMethod.DareTies, (false, true) => BlendMethod.DareLinearSvd, _ => BlendMethod.DareLinear }, ties, svd);
    }

    /// <summary><c>adapter scale</c>.</summary>
    public static Command Scale(CommandIo io)
    {
        Command command = new("scale", "One adapter times a number: alpha changes, no number of A or B does.");
        Argument<string> input = new("adapter") { Description = "An adapter of any format." };
        Option<double> by = new("--by") { Description = "The factor; negative takes the change away.", Required = true, HelpName = "number" };
        command.Add(input);
        command.Add(by);
        OperandOptions told = new(command);
        ArithmeticOutput output = new(command);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            double factor = result.GetRequiredValue(by);
            if (!double.IsFinite(factor))
                throw new UsageException($"--by {factor}: expected a finite number");
            string[] paths = [result.GetRequiredValue(input)];
            AdapterOptions facts = told.Of(result, paths);
            using Operands operands = Operands.Open(paths, facts, anyBase: true, wholeTensors: false);
            (string target, IReadOnlyList<string> notes) = output.Write(result, AdapterBlend.Scaled(operands.All[0], factor), facts, cancellation);
            if (output.IsJson(result))
                io.WriteJson(w =>
                {
                    w.WriteString("output", target);
                    w.WriteString("method", "scale");
                    w.WriteNumber("factor", factor);
                    w.WriteNumber("sites", operands.All[0].Sites.Count);
                    w.WriteTexts("notes", notes);
                });
            else
                io.Error.WriteLine(FormattableString.Invariant($"{target}: {operands.All[0].Sites.Count} sites times {factor}{ArithmeticOutput.Noted(notes)}"));
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static Option<bool> OnChanges() => new("--svd") { Description = "Work on the changes B·A themselves (one dense matrix at a time) and cut the result to a rank, rather than on A and B." };

    private static BlendMethod Method(string name)
    {
        int at = Array.FindIndex(s_methods, m => m.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        return at >= 0 ? s_methods[at].Method : throw new UsageException($"--method {name}: expected one of {string.Join(", ", s_methods.Select(m => m.Name))}");
    }

    private static Command Create(CommandIo io, string name, string description, bool many, Func<ParseResult, BlendMethod> methodOf, params Option[] own)
    {
        Command command = new(name, description + " What cannot be added (DoRA, PiSSA, whole tensors that differ, other shapes, another base) is refused by name.");
        Argument<string[]> inputs = new(many ? "adapters" : "adapter") { Description = many ? "Adapters of any format." : "An adapter of any format.", Arity = ArgumentArity.OneOrMore };
        command.Add(inputs);
        foreach (Option special in own)
            command.Add(special);
        Option<string?> weights = Operands.WeightsOption();
        Option<int?> rank = new("--rank") { Description = "Rank of the result where it is cut. Default: the largest rank at the site.", HelpName = "r" };
        Option<double?> error = new("--error") { Description = "In place of --rank, for svd: the smallest rank at each site that leaves out no more than this part of its change.", HelpName = "part" };
        Option<double> density = new("--density") { Description = "Part of the entries that is kept, above 0 and at most 1.", DefaultValueFactory = _ => name is "ties" or "dare" ? 0.5 : 1, HelpName = "part" };
        Option<string> sign = new("--sign") { Description = "How ties elects a sign: total (by the sum of the values) or frequency (by their number).", DefaultValueFactory = _ => "total", HelpName = "name" };
        Option<int> seed = new("--seed") { Description = "Seed of dare's draws.", DefaultValueFactory = _ => 0, HelpName = "n" };
        Option<bool> anyBase = new("--any-base") { Description = "Take adapters together whose bases go by different names." };
        bool cuts = name is not "concat", prunes = name is "add" or "ties" or "dare";
        foreach (Option option in new Option?[] { many ? weights : null, cuts ? rank : null, name is "add" or "svd" ? error : null, prunes ? density : null, name is "add" or "ties" or "dare" ? sign : null,
            name is "add" or "dare" ? seed : null, many ? anyBase : null }.OfType<Option>())
            command.Add(option);
        OperandOptions told = new(command);
        ArithmeticOutput output = new(command);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string[] paths = result.GetRequiredValue(inputs);
            BlendMethod method = methodOf(result);
            if (!many && paths.Length > 1)
                throw new UsageException($"{name}: takes one adapter, found {paths.Length}");
            int? cut = cuts ? result.GetValue(rank) : null;
            double? most = name is "add" or "svd" ? result.GetValue(error) : null;
            if (cut is < 1)
                throw new UsageException($"--rank {cut}: expected at least 1");
            if (most is < 0 or >= 1)
                throw new UsageException($"--error {most}: expected a part from 0 to below 1");
            if (name == "svd" && cut is null && most is null)
                throw new UsageException("svd: expected --rank or --error");
            if (cut is not null && most is not null)
                throw new UsageException("--rank and --error exclude each other");
            if ((cut is not null || most is not null) && method is BlendMethod.Cat or BlendMethod.Linear or BlendMethod.Ties or BlendMethod.DareLinear or BlendMethod.DareTies or BlendMethod.MagnitudePrune)
                throw new UsageException($"--rank: {s_methods.First(m => m.Method == method).Name} cuts nothing; a method that ends in svd does");
            if (most is not null && method != BlendMethod.Svd)
                throw new UsageException("--error: is for svd");
            double kept = prunes ? result.GetValue(density) : 1;
            if (!(kept is > 0 and <= 1))
                throw new UsageException(FormattableString.Invariant($"--density {kept}: expected a number above 0 and at most 1"));
            SignElection election = !prunes || result.GetRequiredValue(sign) is "total" ? SignElection.Total
                : result.GetRequiredValue(sign) is "frequency" ? SignElection.Frequency : throw new UsageException($"--sign {result.GetValue(sign)}: expected total or frequency");
            AdapterOptions facts = told.Of(result, paths);
            using Operands operands = Operands.Open(paths, facts, many && result.GetValue(anyBase));
            BlendOptions options = new(method, Operands.Weights(many ? result.GetValue(weights) : null, paths.Length))
            {
                Density = kept,
                Election = election,
                Rank = cut,
                Error = most,
                Seed = name is "add" or "dare" ? result.GetValue(seed) : 0,
            };
            using AdapterResult made = AdapterBlend.Run(operands.All, options, (done, total) => io.Progress("sites", done, total), cancellation);
            output.Report(io, result, s_methods.First(m => m.Method == method).Name, output.Write(result, made.Adapter, facts, cancellation), made);
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }
}
