using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Cli.Bench;

/// <summary>A user's own build of llama.cpp's llama-bench, run on the GGUF file that is measured: its cases take turns with ours and stand in the same tables.</summary>
internal sealed class LlamaBench
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);
    private readonly string _program;
    private readonly int _threads;

    /// <summary>Asks <paramref name="program"/> for its version. Throws <see cref="UsageException"/> where it is no llama-bench that runs here.</summary>
    /// <param name="program">Path of the executable.</param>
    /// <param name="threads">Threads that it may use; 0: one a core, as our CPU device.</param>
    public LlamaBench(string program, int threads)
    {
        _program = program;
        _threads = threads == 0 ? Environment.ProcessorCount : threads;
        try
        {
            (string output, string error) = Start(["--version"]);
            const string commit = "commit ";
            string text = output + error;
            int at = text.IndexOf(commit, StringComparison.Ordinal);
            Name = at < 0 ? "llama.cpp" : $"llama.cpp {text[(at + commit.Length)..].Split([')', ' ', '\n'])[0]}";
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException or InvalidOperationException)
        {
            throw new UsageException($"--peer-llama-bench {program}: cannot be run: {e.Message}");
        }
    }

    /// <summary>llama.cpp and its commit.</summary>
    public string Name { get; }

    /// <summary>Decoding after the same context as ours, and the prompts, each against our case of the bare base. It keeps keys and values in F16 and quantises activations; samplers run in neither.</summary>
    /// <param name="gguf">The file that is measured.</param>
    /// <param name="context">Tokens that stand before those which are decoded.</param>
    /// <param name="decoded">Tokens that are decoded.</param>
    /// <param name="prompts">Lengths of the prompts.</param>
    public IEnumerable<BenchCase> Cases(string gguf, int context, int decoded, IEnumerable<int> prompts)
    {
        yield return new(new("peer/decode/s1", TokenCases.Decode, Name, "1 session", BenchUnit.TokensPerSecond, "decode/s1/base"), decoded, n => Run(gguf, n, "-p", "0", "-n", Text(decoded), "-d", Text(context)));
        foreach (int tokens in prompts)
            yield return new(new($"peer/prefill/{Text(tokens)}", TokenCases.Prefill, Name, $"{Text(tokens)} tokens", BenchUnit.TokensPerSecond, $"prefill/{Text(tokens)}/base"), tokens, n => Run(gguf, n, "-p", Text(tokens), "-n", "0"));
    }

    // Opening the file and warming up are not in what it reports.
    private double Run(string gguf, int repetitions, params string[] test)
    {
        (string output, string error) = Start(["-m", gguf, "-t", Text(_threads), "-ngl", "0", "-r", Text(repetitions), "-o", "jsonl", .. test]);
        string? line = output.Split('\n').FirstOrDefault(l => l.StartsWith('{'));
        if (line is null)
            throw new InvalidOperationException($"{_program} gave no result: {LastLine(error)}");
        using JsonDocument result = SafeJson.Parse(_program, System.Text.Encoding.UTF8.GetBytes(line));
        return result.RootElement.GetProperty("samples_ns").EnumerateArray().Sum(s => s.GetDouble()) * 1e-9;
    }

    private (string Output, string Error) Start(IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(_program) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(s_patience))
        {
            process.Kill(entireProcessTree: true);
            throw new InvalidOperationException($"{_program} was not done after {s_patience.TotalMinutes} minutes");
        }
        process.WaitForExit();
        return process.ExitCode == 0 ? (output.Result, error.Result) : throw new InvalidOperationException($"{_program} exited with {process.ExitCode}: {LastLine(error.Result)}");
    }

    private static string LastLine(string text) => text.TrimEnd().Split('\n')[^1];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
