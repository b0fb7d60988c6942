using System.Xml.Linq;
using Xunit;

namespace EdgeLora.Tests.House;

/// <summary>The rules of the house, read from its files.</summary>
public sealed class HouseTests
{
    // Direction is strictly down; what a project may reference, and nothing else.
    private static readonly Dictionary<string, string[]> s_edges = new()
    {
        ["EdgeLora.Core"] = [],
        ["EdgeLora.Cpu"] = ["EdgeLora.Core"],
        ["EdgeLora.Models"] = ["EdgeLora.Core"],
        ["EdgeLora.Vulkan"] = ["EdgeLora.Core"],
        ["EdgeLora.Onnx"] = ["EdgeLora.Core", "EdgeLora.Models"],
        ["EdgeLora"] = ["EdgeLora.Models", "EdgeLora.Cpu", "EdgeLora.Vulkan"],
        ["EdgeLora.Extensions.AI"] = ["EdgeLora"],
        ["EdgeLora.Native"] = ["EdgeLora"],
        ["EdgeLora.Training"] = ["EdgeLora.Models"],
        ["EdgeLora.Cli"] = ["EdgeLora", "EdgeLora.Onnx", "EdgeLora.Training"],
        ["EdgeLora.Benchmarks"] = ["EdgeLora", "EdgeLora.Onnx", "EdgeLora.Training"],
        ["EdgeLora.Fuzz"] = ["EdgeLora", "EdgeLora.Training"],
        ["EdgeLora.Tests"] = ["EdgeLora.Fuzz", "EdgeLora", "EdgeLora.Extensions.AI", "EdgeLora.Native", "EdgeLora.Onnx", "EdgeLora.Training", "EdgeLora.Cli"],
    };

    private static readonly string[] s_unsafe = ["EdgeLora.Cpu", "EdgeLora.Vulkan", "EdgeLora.Native", "EdgeLora.Fuzz", "EdgeLora.Tests"];

    private static IEnumerable<string> Projects() => Directory.EnumerateFiles(SharedFolder.Repository, "*.csproj", SearchOption.AllDirectories);

    private static IEnumerable<string> Sources() => new[] { "runtime", "tools", "tests" }
        .SelectMany(d => Directory.EnumerateFiles(Path.Combine(SharedFolder.Repository, d), "*.cs", SearchOption.AllDirectories))
        .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}") && !f.Contains($"{Path.DirectorySeparatorChar}bin{Path.DirectorySeparatorChar}"));

    [Fact]
    public void Projects_reference_only_downwards()
    {
        List<string> wrong = [];
        foreach (string project in Projects())
        {
            string name = Path.GetFileNameWithoutExtension(project);
            if (!s_edges.TryGetValue(name, out string[]? allowed))
                wrong.Add($"{name}: is not a project of the house");
            else
                wrong.AddRange(XDocument.Load(project).Descendants("ProjectReference")
                    .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value.Replace('\\', '/')))
                    .Where(r => !allowed.Contains(r)).Select(r => $"{name} -> {r}"));
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Unsafe_code_is_allowed_only_where_the_house_says()
    {
        Assert.All(Projects().Where(p => XDocument.Load(p).Descendants("AllowUnsafeBlocks").Any(e => e.Value == "true")),
            p => Assert.Contains(Path.GetFileNameWithoutExtension(p), s_unsafe));
    }

    [Fact]
    public void No_source_file_is_longer_than_600_lines() =>
        Assert.Empty(Sources().Where(f => File.ReadLines(f).Count() > 600).Select(f => Path.GetRelativePath(SharedFolder.Repository, f)));

    [Fact]
    public void Package_versions_are_central_and_locked()
    {
        Assert.All(Projects(), p =>
        {
            Assert.DoesNotContain(XDocument.Load(p).Descendants("PackageReference"), r => r.Attribute("Version") is not null);
            Assert.True(File.Exists(Path.Combine(Path.GetDirectoryName(p)!, "packages.lock.json")), $"{p}: no packages.lock.json");
        });
    }

    [Fact]
    public void Only_its_own_project_uses_ONNX_Runtime()
    {
        string own = Path.Combine("runtime", "EdgeLora.Onnx");
        Assert.DoesNotContain(Sources(), f => !f.Contains(own, StringComparison.Ordinal) && !f.Contains("EdgeLora.Tests", StringComparison.Ordinal) && File.ReadAllText(f).Contains("using Microsoft.ML.OnnxRuntime", StringComparison.Ordinal));
    }

    [Fact]
    public void Only_PEFT_s_own_files_know_its_tensor_names()
    {
        string runtime = Path.Combine(SharedFolder.Repository, "runtime");
        Assert.Empty(Sources().Where(f => f.StartsWith(runtime, StringComparison.Ordinal) && File.ReadAllText(f).Contains("\"lora_A") && !Path.GetFileName(f).StartsWith("Peft", StringComparison.Ordinal))
            .Select(f => Path.GetFileName(f)));
    }
}
