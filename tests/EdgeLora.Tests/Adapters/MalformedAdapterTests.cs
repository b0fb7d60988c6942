using System.Diagnostics;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Broken adapters: ../shared/fixtures/malformed, made by scripts/malformed.py there.</summary>
public sealed class MalformedAdapterTests
{
    [Fact]
    public void Every_broken_adapter_is_refused_with_its_fault_named_and_every_good_one_loads()
    {
        string folder = SharedFolder.Require("fixtures/malformed");
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(Path.Combine(folder, "base")), new ReferenceBackend());
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "cases.json")));
        List<string> wrong = [];
        int seen = 0;
        foreach (JsonElement c in cases.RootElement.EnumerateArray().Where(c => c.GetProperty("format").GetString() is "peft" or "gguf-lora" && !c.TryGetProperty("generated", out _)))
        {
            string path = Path.Combine(folder, c.GetProperty("file").GetString()!), must = c.GetProperty("must").GetString()!, keyword = c.GetProperty("keyword").GetString()!;
            if (!Directory.Exists(path) && !File.Exists(path))
                path = Path.Combine(folder, "peft", c.GetProperty("file").GetString()!);
            if (Verdict(path, must, keyword, model) is { } fault)
                wrong.Add($"{c.GetProperty("file").GetString()}: {fault}");
            seen++;
        }
        Assert.True(seen >= 80, $"only {seen} cases");
        Assert.Empty(wrong);
    }

    [Fact]
    public void A_config_of_ten_megabytes_of_spaces_is_read_in_time()
    {
        string good = Path.Combine(SharedFolder.Require("fixtures/malformed"), "adapter_config", "ok");
        string folder = Directory.CreateTempSubdirectory("edgelora").FullName;
        try
        {
            string text = File.ReadAllText(Path.Combine(good, "adapter_config.json")).TrimEnd();
            File.WriteAllText(Path.Combine(folder, "adapter_config.json"), text[..^1] + new string(' ', 10_000_000) + "}");
            File.Copy(Path.Combine(good, "adapter_model.safetensors"), Path.Combine(folder, "adapter_model.safetensors"));
            PeftAdapter.Open(folder).Dispose();
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static string? Verdict(string path, string must, string keyword, DecoderModel model)
    {
        Stopwatch watch = Stopwatch.StartNew();
        long before = GC.GetAllocatedBytesForCurrentThread();
        string? message = null;
        try
        {
            LoraAdapter.Load(path, "adapter", model.Sites).Dispose();
        }
        catch (ModelFileException e)
        {
            message = e.Message;
        }
        if (watch.Elapsed.TotalSeconds > 2)
            return $"took {watch.Elapsed.TotalSeconds:0.0} s";
        if (GC.GetAllocatedBytesForCurrentThread() - before > 64 << 20)
            return "allocated more than 64 MiB";
        if (must == "accept" && message is not null)
            return "refused: " + message;
        if (must == "refuse" && message is null)
            return "accepted";
        return message is not null && keyword.Length > 0 && !message.Contains(keyword, StringComparison.OrdinalIgnoreCase) ? $"'{keyword}' is not in: {message}" : null;
    }
}
