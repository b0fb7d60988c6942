using System.Diagnostics;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Text;

/// <summary>Files that must be refused, and texts that must not hang (scripts/malformed.py).</summary>
public sealed class TokenizerMalformedTests
{
    [Fact]
    public void Every_malformed_tokenizer_file_is_refused_by_name_and_fault()
    {
        string folder = SharedFolder.Require("fixtures/malformed");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        JsonElement cases = document.RootElement.ValueKind == JsonValueKind.Array ? document.RootElement : document.RootElement.GetProperty("cases");
        int checkedFiles = 0;
        foreach (JsonElement c in cases.EnumerateArray().Where(c => c.GetProperty("format").GetString() == "tokenizer"))
        {
            string file = c.GetProperty("file").GetString()!, must = c.GetProperty("must").GetString()!;
            Stopwatch watch = Stopwatch.StartNew();
            string? fault = Refusal(Path.Combine(folder, file));
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(2), $"{file}: {watch.Elapsed}");
            if (must == "accept")
                Assert.True(fault is null, $"{file}: {fault}");
            if (must == "refuse")
                Assert.True(fault is not null, $"{file}: {c.GetProperty("what").GetString()} was accepted");
            if (fault is not null)
            {
                Assert.Contains(Path.GetFileName(file), fault);
                Assert.Contains(c.GetProperty("keyword").GetString()!, fault, StringComparison.OrdinalIgnoreCase);
            }
            checkedFiles++;
        }
        Assert.Equal(22, checkedFiles);
    }

    [Fact]
    public void Every_cut_of_a_model_file_is_refused_or_loads_but_never_crashes()
    {
        byte[] whole = File.ReadAllBytes(SharedFolder.Require("fixtures/tokenizers/llama2_bpe_legacy/tokenizer.model"));
        string folder = Directory.CreateTempSubdirectory("tokenizer").FullName;
        string path = Path.Combine(folder, "tokenizer.model");
        Random random = new(7);
        for (int i = 0; i < 120; i++)
        {
            byte[] bytes = i < 60 ? whole[..random.Next(whole.Length)] : [.. whole];
            for (int flips = 0; i >= 60 && flips < 1 + i % 4; flips++)
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(path, bytes);
            if (Refusal(path) is null)
                Tokenizer.Load(path).Decode(Tokenizer.Load(path).EncodeIds("Hello world \u4F60 \U0001D49C\n"));
        }
        Directory.Delete(folder, true);
    }

    [Fact]
    public void A_slow_pattern_does_not_hang()
    {
        string path = SharedFolder.Require("fixtures/malformed/tokenizer/pre_tokenizer_slow_regex.json");
        if (Refusal(path) is not null)
            return;
        Tokenizer tokenizer = Tokenizer.Load(path);
        Stopwatch watch = Stopwatch.StartNew();
        tokenizer.EncodeIds(new string('a', 40) + "b");
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(1), watch.Elapsed.ToString());
    }

    private static string? Refusal(string path)
    {
        try
        {
            Tokenizer.Load(path);
            return null;
        }
        catch (ModelFileException e)
        {
            return e.Message;
        }
    }
}
