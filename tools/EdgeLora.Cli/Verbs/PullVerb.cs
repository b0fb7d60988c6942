using System.CommandLine;
using System.Diagnostics;
using EdgeLora.Models;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>pull</c>: a model or an adapter from a hub.</summary>
internal static class PullVerb
{
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(100);

    public static Command Create(CommandIo io)
    {
        Command command = new("pull", "Bring a model or an adapter from the Hugging Face hub into its cache, the one that huggingface_hub uses, and print its path. "
            + "What is there is not downloaded again, what was cut goes on where it stopped, every file is checked. The verbs that open models then take hf:owner/name. "
            + "The cache is where HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE or HF_HOME say (else ~/.cache/huggingface/hub), the hub where HF_ENDPOINT says, the token is HF_TOKEN or the one of 'hf auth login'; HF_HUB_OFFLINE=1 looks into the cache only.");
        Argument<string> model = new("model") { Description = "hf:owner/name, with @revision (a branch, a tag, a commit) and with :file for one file of it." };
        Option<string[]> include = new("--include")
        {
            Description = "Only files that fit, such as '*.safetensors' or '*Q4_K_M*'; repeated: any of them; * takes slashes too. "
            + "Default: configs, tokenizers, chat templates, adapters, and weights of one kind: .safetensors, else .gguf, else torch's .bin.",
            HelpName = "glob"
        };
        Option<string[]> exclude = new("--exclude") { Description = "Not files that fit; repeated: any of them. Default: none.", HelpName = "glob" };
        Option<string?> token = new("--token") { Description = "Token of an account that may read the model. Others on this machine can read a command line: HF_TOKEN is better. Default: as the environment says.", HelpName = "token" };
        Option<string?> cache = new("--cache") { Description = "The cache's folder. Default: as the environment says.", HelpName = "folder" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(model);
        foreach (Option option in (Option[])[include, exclude, token, cache, json])
            command.Add(option);
        model.Validators.Add(r =>
        {
            try
            {
                if (r.Tokens is [{ } given])
                    HubModel.Parse(given.Value);
            }
            catch (ArgumentException e)
            {
                r.AddError(e.Message);
            }
        });
        command.SetAction(async (result, cancellation) =>
        {
            HubOptions options = HubOptions.FromEnvironment();
            options = options with
            {
                CacheFolder = result.GetValue(cache) is { } folder ? Path.GetFullPath(folder) : options.CacheFolder,
                Token = HubOptions.Clean(result.GetValue(token)) ?? options.Token,
            };
            HubModel wanted = HubModel.Parse(result.GetRequiredValue(model));
            HubSelection selection = new() { Include = result.GetValue(include) ?? [], Exclude = result.GetValue(exclude) ?? [] };
            long last = 0;
            void Show(long done, long total)
            {
                if (done < total && Stopwatch.GetElapsedTime(last) < s_between)
                    return;
                last = Stopwatch.GetTimestamp();
                io.Progress("bytes", done, total);
            }
            PulledModel pulled = await HubPull.PullAsync(wanted, options, selection, Show, cancellation).ConfigureAwait(false);
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteString("model", wanted.Id);
                    w.WriteString("revision", wanted.Revision);
                    w.WriteString("commit", pulled.Commit);
                    w.WriteString("folder", pulled.Folder);
                    w.WriteString("path", pulled.Path);
                    w.WriteTexts("files", pulled.Files);
                    w.WriteNumber("downloadedBytes", pulled.DownloadedBytes);
                });
            else
            {
                io.Error.WriteLine(FormattableString.Invariant($"{wanted}: {pulled.Files.Count} files at commit {pulled.Commit}, {pulled.DownloadedBytes:N0} bytes downloaded"));
                io.Output.WriteLine(wanted.File is null ? pulled.Folder : pulled.Path);
            }
            return EdgeLoraCommand.Ok;
        });
        return command;
    }
}
