using System.Diagnostics;
using System.Globalization;

namespace EdgeLora.Fuzz;

/// <summary>Runs workers for one format, and goes on after those that die.</summary>
internal static class Supervisor
{
    // A reader that believes a length fails here, not the machine.
    private const string HeapLimit = "0x40000000";

    // Workers that die before their first word, one after the other, will do so for ever.
    private const int MostEarlyDeaths = 8;

    /// <summary>Fuzzes one format, prints a line, and returns how much was found.</summary>
    public static int Run(FuzzFormat format, FuzzOptions options)
    {
        string program = Instrumented.Prepare();
        long done = 0, start = Stopwatch.GetTimestamp();
        int found = 0, early = 0;
        string report = "";
        for (int round = 0; done < options.Inputs && Stopwatch.GetElapsedTime(start).TotalSeconds is var spent && spent < options.Seconds; round++)
        {
            using WorkFolder place = new();
            ProcessStartInfo command = new(program, options.Arguments(format, place.Path, options.Inputs - done, options.Seed + round, options.Seconds - spent)) { RedirectStandardOutput = true };
            command.Environment["DOTNET_GCHeapHardLimit"] = HeapLimit;
            command.Environment["DOTNET_TieredPGO"] = "0";
            using Process worker = Process.Start(command)!;
            long at = 0;
            while (worker.StandardOutput.ReadLine() is { } line)
            {
                if (line.StartsWith("at ", StringComparison.Ordinal))
                    at = long.Parse(line.AsSpan(3), CultureInfo.InvariantCulture);
                else if (line.StartsWith("done ", StringComparison.Ordinal))
                    report = line[5..];
                else
                {
                    found += line.StartsWith("found ", StringComparison.Ordinal) ? 1 : 0;
                    Console.Out.WriteLine(line);
                }
            }
            worker.WaitForExit();
            if (worker.ExitCode == 0)
                break;
            done += at;
            early = at == 0 ? early + 1 : 0;
            string input = Path.Combine(place.Path, format.FileName);
            Finding finding = worker.ExitCode == Worker.Hung ? new("hang", "", $"over {Judge.Longest.TotalSeconds} s of processor time, or a minute by the clock") : new("crash", "", $"the process died with exit code {worker.ExitCode}");
            Worker.Write(options.Findings, format, finding, File.Exists(input) ? File.ReadAllBytes(input) : []);
            found++;
            if (early == MostEarlyDeaths)
                break;
        }
        Console.Out.WriteLine(FormattableString.Invariant($"{format.Name} seed {options.Seed} earlier {done} found {found} {report}"));
        return found;
    }
}
