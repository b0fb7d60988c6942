using System.CommandLine;
using System.CommandLine.Help;
using System.Text.Json;
using EdgeLora.Cli.Verbs;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;

namespace EdgeLora.Cli;

/// <summary>The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.</summary>
public static class EdgeLoraCommand
{
    /// <summary>Done.</summary>
    public const int Ok = 0;
    /// <summary>It failed; the error output says why.</summary>
    public const int Failed = 1;
    /// <summary>The arguments make no sense.</summary>
    public const int Usage = 2;

    private static readonly ParserConfiguration s_parser = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };

    static EdgeLoraCommand() => ComputeDevices.Add(OnnxDevices.Family);

    /// <summary>Runs one command in process.</summary>
    public static int Invoke(string[] args, TextWriter output, TextWriter error, TextReader? input = null) =>
        InvokeAsync(args, new CommandIo(output, error, input ?? TextReader.Null), inProcess: true).GetAwaiter().GetResult();

    /// <summary>Runs one command; Ctrl-C cancels it.</summary>
    public static async Task<int> InvokeAsync(string[] args, CommandIo io, bool inProcess = false)
    {
        ParseResult result = Create(io, args).Parse(TrainVerb.Spell(args), s_parser);
        if (result.Errors.Count > 0 && result.Action is not HelpAction)
        {
            foreach (string message in result.Errors.Select(e => e.Message).Distinct())
                io.Error.WriteLine(message);
            io.Error.WriteLine($"see: {Name(result)} --help");
            return Usage;
        }
        InvocationConfiguration configuration = new() { Output = io.Output, Error = io.Error, EnableDefaultExceptionHandler = false };
        // Room to finish or remove what is being written; in process the caller owns the signals.
        configuration.ProcessTerminationTimeout = inProcess ? null : TimeSpan.FromSeconds(10);
        try
        {
            return await result.InvokeAsync(configuration).ConfigureAwait(false);
        }
        catch (UsageException e)
        {
            io.Error.WriteLine(e.Message);
            io.Error.WriteLine($"see: {Name(result)} --help");
            return Usage;
        }
        catch (OperationCanceledException)
        {
            io.Error.WriteLine("cancelled");
            return Failed;
        }
        catch (Exception e)
        {
            io.Error.WriteLine(Describe(e));
            return Failed;
        }
    }

    private static Command Create(CommandIo io, string[] args)
    {
        Command root = new("edgelora", "One frozen base under many LoRA adapters that form a tree: run, inspect, convert and check them.")
        {
            new HelpOption(),
            new VersionOption(),
            DemoVerb.Create(io),
            RunVerb.Create(io),
            ChatVerb.Create(io),
            TreeVerb.Create(io),
            InspectVerb.Create(io),
            ConvertVerb.Create(io),
            AdapterVerb.Create(io),
            InitVerb.Create(io),
            PullVerb.Create(io),
            TrainVerb.Create(io, TrainVerb.IsNamed(args)),
            MergeVerb.Create(io),
            ExportVerb.Create(io),
            EvalVerb.Create(io),
            LogitsVerb.Create(io),
            TokenizeVerb.Create(io),
            DevicesVerb.Create(io),
            VerifyVerb.Create(io),
            ServeVerb.Create(io, ServeVerb.IsNamed(args)),
            AttachVerb.Create(io, AttachVerb.IsNamed(args)),
            PushVerb.Create(io, PushVerb.IsNamed(args)),
            BenchVerb.Create(io, BenchVerb.IsNamed(args)),
        };
        return root;
    }

    private static string Name(ParseResult result)
    {
        List<string> names = [];
        for (SymbolNameWalk walk = new(result); walk.Next(out string name);)
            names.Insert(0, name);
        return string.Join(' ', names);
    }

    private static string Describe(Exception e) => e is IOException or UnauthorizedAccessException or KeyNotFoundException or ArgumentException or InvalidOperationException
        or NotSupportedException or InvalidDataException or JsonException or ChatTemplateException or OverflowException or DeviceException
        ? e.Message
        : $"{e.GetType().Name}: {e.Message}";

    // From the command that was named up to the root.
    private struct SymbolNameWalk(ParseResult result)
    {
        private System.CommandLine.Parsing.SymbolResult? _at = result.CommandResult;

        public bool Next(out string name)
        {
            name = (_at as System.CommandLine.Parsing.CommandResult)?.Command.Name ?? "";
            _at = _at?.Parent;
            return name.Length > 0;
        }
    }
}
