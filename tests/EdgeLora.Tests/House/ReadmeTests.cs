using System.Text;
using EdgeLora.Models;
using EdgeLora.Training;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeLora.Tests.House;

/// <summary>The README's snippets, run as they stand there.</summary>
public sealed class ReadmeTests
{
    private static readonly string[] s_snippet =
    [
        "using EdgeHost host = EdgeHost.Open(\"adapters/nano\", new EdgeHostOptions { Watch = true });",
        "Task running = host.RunAsync(stop.Token);",
        "using HostSession session = await host.OpenSessionAsync(\"shakespeare/kings\");",
        "await foreach (GeneratedPiece piece in session.GenerateAsync(\"<|endoftext|>Once upon a time\", new GenerationOptions { MaxTokens = 32 }))",
        "await session.SwitchAsync(\"holmes\");",
        "HostApplicationBuilder builder = Host.CreateApplicationBuilder();",
        "builder.Services.AddEdgeLora(options => options.Path = \"adapters/nano\");",
        "IChatClient client = app.Services.GetRequiredService<IChatClient>();",
        "ChatResponse answer = await client.GetResponseAsync(\"Edit the following sentence for grammar.\\nHe go to the park every day.\", new ChatOptions { ModelId = \"assistant/polite\" });",
        "using Session session = host.CreateSession(host.Enter(\"shakespeare/kings\"));",
        "session.Append(host.Tokenizer!.EncodeIds(\"<|endoftext|>Once upon a time\", addSpecialTokens: false));",
        "Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = 32 });",
        "await foreach (GeneratedPiece piece in generator.StreamAsync(host.Tokenizer))",
        "session.Switch(host.Enter(\"holmes\"));",
        "using TrainingEngine engine = new(host.Model);",
        "using JobScheduler jobs = new(engine, host.Model.BaseFingerprint);",
        "jobs.StepTaken += (job, step) => Console.WriteLine($\"{job.Name} {step.Step}/{job.TotalSteps}: loss {step.Loss:F3}\");",
        "(JobSetup setup, TrainableSummary summary, DataReport data) = JobSetups.Of(TrainingRecipe.Read(\"polite.yaml\"), host.Model, host.Tokenizer, host.Enter(\"assistant\"), parentFingerprint: \"\");",
        "jobs.Add(new TrainingJob(engine, host.Model, setup), summary.Trainable);",
        "jobs.Run();",
    ];

    [Fact]
    public async Task The_embedding_snippet_streams_text_and_switches()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        using Session session = host.CreateSession(host.Enter("shakespeare/kings"));
        session.Append(host.Tokenizer!.EncodeIds("<|endoftext|>Once upon a time", addSpecialTokens: false));
        Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = 32 });
        StringBuilder text = new();
        await foreach (GeneratedPiece piece in generator.StreamAsync(host.Tokenizer))
            text.Append(piece.Text);
        Assert.NotEmpty(text.ToString().Trim());
        session.Switch(host.Enter("holmes"));
        Assert.Equal("holmes", session.Path.Name);
    }

    [Fact]
    public async Task The_host_snippet_streams_text_and_switches()
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new EdgeHostOptions { Watch = true, Threads = 1 });
        using CancellationTokenSource stop = new();
        Task running = host.RunAsync(stop.Token);
        using HostSession session = await host.OpenSessionAsync("shakespeare/kings");
        StringBuilder text = new();
        await foreach (GeneratedPiece piece in session.GenerateAsync("<|endoftext|>Once upon a time", new GenerationOptions { MaxTokens = 32 }))
            text.Append(piece.Text);
        Assert.NotEmpty(text.ToString().Trim());
        await session.SwitchAsync("holmes");
        Assert.Equal("holmes", session.Node.Node);
        stop.Cancel();
        await running;
    }

    [Fact]
    public async Task The_chat_client_snippet_answers()
    {
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.Configuration["EdgeLora:Host:Threads"] = "1";
        builder.Services.AddEdgeLora(options => options.Path = Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        using IHost app = builder.Build();
        await app.StartAsync(TestContext.Current.CancellationToken);
        IChatClient client = app.Services.GetRequiredService<IChatClient>();
        ChatResponse answer = await client.GetResponseAsync("Edit the following sentence for grammar.\nHe go to the park every day.", new ChatOptions { ModelId = "assistant/polite" }, TestContext.Current.CancellationToken);
        Assert.Contains("goes to the park", answer.Text);
        await app.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public void The_training_snippet_trains_the_recipe()
    {
        string folder = Directory.CreateTempSubdirectory("edgelora").FullName;
        string readme = File.ReadAllText(Path.Combine(SharedFolder.Repository, "README.md"));
        string recipe = readme[(readme.IndexOf("```yaml", StringComparison.Ordinal) + "```yaml".Length)..];
        string file = Path.Combine(folder, "polite.yaml");
        File.WriteAllText(file, recipe[..recipe.IndexOf("```", StringComparison.Ordinal)].Replace("adapters/nano/assistant/kind", "kind").Replace("adapters/nano", Path.Combine(SharedFolder.Repository, "adapters", "nano")));
        File.WriteAllText(Path.Combine(folder, "polite.jsonl"), """
            {"instruction": "Correct the sentence.", "input": "He go home.", "output": "Of course! He goes home."}
            {"instruction": "Name a color.", "output": "With pleasure: red."}
            """);
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        using TrainingEngine engine = new(host.Model);
        using JobScheduler jobs = new(engine, host.Model.BaseFingerprint);
        List<double> losses = [];
        jobs.StepTaken += (_, step) => losses.Add(step.Loss);
        (JobSetup setup, TrainableSummary summary, DataReport data) = JobSetups.Of(TrainingRecipe.Read(file), host.Model, host.Tokenizer, host.Enter("assistant"), parentFingerprint: "");
        jobs.Add(new TrainingJob(engine, host.Model, setup), summary.Trainable);
        jobs.Run(TestContext.Current.CancellationToken);
        Assert.Equal(JobStatus.Finished, Assert.Single(jobs.Jobs).Status);
        Assert.Equal(2, data.TrainRows);
        Assert.Equal(2, losses.Count);
        Assert.True(losses[1] < losses[0]);
        using LoraAdapter adapter = LoraAdapter.Load(Path.Combine(folder, "kind"), "kind", host.Model.Sites);
        Assert.Equal(8, adapter.MaxRank);
        Directory.Delete(folder, true);
    }

    [Fact]
    public async Task The_commands_for_a_running_host_work_as_they_stand_there()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "listens on a socket of its own");
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano"), folder = Directory.CreateTempSubdirectory("edgelora").FullName, socket = Path.Combine(folder, "nano.sock");
        string section = File.ReadAllText(Path.Combine(SharedFolder.Repository, "README.md")).Split("## A running host")[1];
        string[] commands = [.. section.Split("```")[1].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split('#')[0].Trim())];
        Assert.StartsWith("edgelora serve adapters/nano", commands[0]);
        using CancellationTokenSource end = new();
        using (EdgeHost host = EdgeHost.Open(tree, new EdgeHostOptions { Threads = 1 }))
        {
            using HostLink link = host.Listen(new() { LocalPath = socket });
            Task ticking = host.RunAsync(end.Token);
            using HostSession session = await host.OpenSessionAsync();
            // A tail has no end of its own.
            foreach (string command in commands.Skip(1).Where(c => !c.Contains(" tail ")))
            {
                StringWriter output = new(), error = new();
                int code = EdgeLora.Cli.EdgeLoraCommand.Invoke([.. command.Replace("adapters/nano", tree).Split(' ').Skip(1), "--to", socket], output, error);
                Assert.Equal((0, ""), (code, error.ToString()));
                Assert.NotEmpty(output.ToString().Trim());
            }
            Assert.Equal("math/holmes", session.Node.Node);
            await end.CancelAsync();
            await ticking;
        }
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void The_README_shows_the_lines_that_the_test_runs()
    {
        string readme = File.ReadAllText(Path.Combine(SharedFolder.Repository, "README.md"));
        Assert.All(s_snippet, line => Assert.Contains(line, readme));
    }
}
