using System.CommandLine;
using EdgeLora.Fuzz;

Option<string[]> formats = new("--format") { Description = $"Format to fuzz; repeated: one after the other. Default: all of {string.Join(", ", FuzzFormat.All.Select(f => f.Name))}.", HelpName = "name" };
Option<long> inputs = new("--inputs") { Description = "Most inputs of a format. Default: 1000000.", DefaultValueFactory = _ => 1_000_000, HelpName = "count" };
Option<int> seed = new("--seed") { Description = "Seed of the mutations; without --seconds the same seed tries the same inputs. Default: 1.", DefaultValueFactory = _ => 1, HelpName = "number" };
Option<double> seconds = new("--seconds") { Description = "Longest time of a format. Default: 3600.", DefaultValueFactory = _ => 3600, HelpName = "seconds" };
Option<string?> corpus = new("--corpus") { Description = "Folder that keeps, a folder for each format, the inputs that reached new code: a later run starts from them. Default: none.", HelpName = "folder" };
Option<string?> shared = new("--shared") { Description = "Folder of reference data whose small files are seeds too. Default: ../shared/fixtures beside the repository, where it is.", HelpName = "folder" };
Option<string> findings = new("--findings") { Description = "Folder for what is found: an input and a text each. Default: findings.", DefaultValueFactory = _ => "findings", HelpName = "folder" };
Option<string?> replay = new("--replay") { Description = "A file to judge once with --format, or a folder of them; nothing is mutated.", HelpName = "path" };
Option<bool> work = new("--work") { Hidden = true };
Option<string?> place = new("--place") { Hidden = true };
formats.Validators.Add(r =>
{
    foreach (string name in r.GetValueOrDefault<string[]>() ?? [])
        if (FuzzFormat.All.All(f => f.Name != name))
            r.AddError($"--format {name}: expected one of {string.Join(", ", FuzzFormat.All.Select(f => f.Name))}");
});
RootCommand root = new("Fuzz EdgeLora's readers: mutated files, guided by the code that they reach, in a child process that may die. Exit code 1: something was found.") { formats, inputs, seed, seconds, corpus, shared, findings, replay, work, place };
root.SetAction(result =>
{
    FuzzFormat[] chosen = result.GetValue(formats) is { Length: > 0 } names ? [.. names.Select(n => FuzzFormat.All.Single(f => f.Name == n))] : [.. FuzzFormat.All];
    FuzzOptions options = new(result.GetValue(inputs), result.GetValue(seed), result.GetValue(seconds), result.GetValue(corpus), result.GetValue(shared) ?? FuzzOptions.FindShared(), result.GetRequiredValue(findings));
    if (result.GetValue(work))
        return Worker.Run(chosen.Single(), options, result.GetValue(place)!);
    if (result.GetValue(replay) is { } path)
        return Replay.Run(chosen, path);
    int found = 0;
    foreach (FuzzFormat format in chosen)
        found += Supervisor.Run(format, options);
    return found > 0 ? 1 : 0;
});
return root.Parse(args).Invoke();
