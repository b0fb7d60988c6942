using System.Diagnostics;
using System.Text;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>A training process that is killed (SIGKILL) at any moment, and goes on.</summary>
public sealed class KilledRunTests : IDisposable
{
    // EDGELORA_KILLS=50 makes the long run of it.
    private static readonly int s_kills = int.TryParse(Environment.GetEnvironmentVariable("EDGELORA_KILLS"), out int kills) ? kills : 4;

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void A_run_that_is_killed_at_random_moments_ends_with_the_bits_of_one_that_was_not()
    {
        string rows = Path.Combine(_folder, "rows.jsonl");
        WriteRows(rows);
        string whole = Path.Combine(_folder, "whole"), killed = Path.Combine(_folder, "killed");
        Stopwatch watch = Stopwatch.StartNew();
        using (Process process = Start(rows, whole))
        {
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
        }
        double seconds = watch.Elapsed.TotalSeconds;
        Random random = new(5);
        int kills = 0;
        for (int run = 0; kills < s_kills && run < 4 * s_kills; run++)
        {
            using Process process = Start(rows, killed);
            if (process.WaitForExit(TimeSpan.FromSeconds(random.NextDouble() * seconds)))
            {
                // It was done before the moment came: begin again.
                Assert.Equal(0, process.ExitCode);
                AssertSame(whole, killed);
                Directory.Delete(killed, true);
                continue;
            }
            process.Kill();
            process.WaitForExit();
            kills++;
        }
        Assert.Equal(s_kills, kills);
        using (Process process = Start(rows, killed))
        {
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
        }
        AssertSame(whole, killed);
        Assert.Empty(Directory.EnumerateFileSystemEntries(killed, "*.tmp", SearchOption.AllDirectories));
    }

    private static void AssertSame(string whole, string killed)
    {
        Assert.Equal(File.ReadAllLines(Path.Combine(whole, "metrics.jsonl")), File.ReadAllLines(Path.Combine(killed, "metrics.jsonl")));
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, PeftAdapter.WeightsName)), File.ReadAllBytes(Path.Combine(killed, PeftAdapter.WeightsName)));
    }

    private static Process Start(string rows, string output)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[
            typeof(EdgeLora.Cli.EdgeLoraCommand).Assembly.Location, "train", "--base", Path.Combine(SharedFolder.Repository, "adapters/nano/base"), "--dataset", rows, "--output-dir", output,
            "--lora-rank", "4", "--lora-dropout", "0.1", "--max-steps", "60", "--per-device-train-batch-size", "2", "--learning-rate", "0.005", "--save-steps", "3", "--save-total-limit", "2", "--val-size", "2",
            "--eval-steps", "10", "--early-stopping-patience", "50", "--resume", "--threads", "1"])
            start.ArgumentList.Add(argument);
        Process process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static void WriteRows(string path)
    {
        Random random = new(1);
        StringBuilder text = new();
        for (int i = 0; i < 20; i++)
        {
            string ids = string.Join(",", Enumerable.Range(0, 6 + random.Next(10)).Select(_ => random.Next(2048)));
            text.Append($"{{\"input_ids\": [{ids}], \"labels\": [{ids}]}}\n");
        }
        File.WriteAllText(path, text.ToString());
    }
}
