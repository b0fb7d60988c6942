using System.ComponentModel;
using System.Diagnostics;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.House;

/// <summary>Shaders.targets: what is embedded is what the sources compile to.</summary>
public sealed class ShaderTests : IDisposable
{
    private static readonly string s_shaders = Path.Combine(SharedFolder.Repository, "shaders");

    // A copy of shaders/ beside a project that does nothing but check it.
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-shaders").FullName;

    public ShaderTests()
    {
        foreach (string file in Directory.EnumerateFiles(s_shaders, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(_folder, "shaders", Path.GetRelativePath(s_shaders, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        File.WriteAllText(Path.Combine(_folder, "check.proj"),
            """<Project><PropertyGroup><IntermediateOutputPath>obj/</IntermediateOutputPath></PropertyGroup><Import Project="shaders/Shaders.targets" /></Project>""");
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Every_shader_is_embedded_for_addresses_and_for_storage_buffers()
    {
        IEnumerable<string> expected = Directory.EnumerateFiles(s_shaders, "*.comp").Select(f => Path.GetFileNameWithoutExtension(f)).SelectMany(stem => (string[])[$"spirv/{stem}.spv", $"spirv/{stem}.ssbo.spv"]);
        Assert.Equal(expected.Order(StringComparer.Ordinal), typeof(VulkanBackend).Assembly.GetManifestResourceNames().Where(n => n.StartsWith("spirv/", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_shader_that_changed_is_named_where_there_is_no_compiler()
    {
        const string nowhere = "-p:GlslcExe=/nowhere/glslc";
        Assert.Equal((0, ""), Build(nowhere));
        File.AppendAllText(Path.Combine(_folder, "shaders", "add.comp"), "// changed\n");
        (int code, string said) = Build(nowhere);
        Assert.NotEqual(0, code);
        Assert.Contains("Stale: add.comp ", said + " ");
        // A module that is not its shader's, as a merge may leave it, is as stale.
        File.Copy(Path.Combine(s_shaders, "add.comp"), Path.Combine(_folder, "shaders", "add.comp"), overwrite: true);
        File.Copy(Path.Combine(s_shaders, "spirv", "add.spv"), Path.Combine(_folder, "shaders", "spirv", "copy.spv"), overwrite: true);
        Assert.Contains("Stale: copy.comp ", Build(nowhere).Said + " ");
    }

    [Fact]
    public void A_shader_that_changed_is_compiled_and_the_others_are_left()
    {
        if (!HasCompiler())
            Assert.Skip("glslc is not installed");
        string shader = Path.Combine(_folder, "shaders", "add.comp"), manifest = Path.Combine(_folder, "shaders", "spirv", "manifest.txt");
        string[] before = File.ReadAllLines(manifest);
        File.AppendAllText(shader, "// changed\n");
        (int code, string said) = Build();
        Assert.True(code == 0, said);
        string[] after = File.ReadAllLines(manifest);
        if (before[1] == after[1])
            Assert.Equal(before.Where(line => !line.EndsWith(" add", StringComparison.Ordinal)), after.Where(line => !line.EndsWith(" add", StringComparison.Ordinal)));
        // A remark changes the source's hash and no module.
        Assert.NotEqual(Line(before)[0], Line(after)[0]);
        Assert.Equal((0, ""), Build("-p:GlslcExe=/nowhere/glslc"));
        File.AppendAllText(shader, "no GLSL\n");
        Assert.Contains("add.comp(", Build().Said);
        File.Delete(shader);
        Assert.Equal(0, Build().Code);
        Assert.DoesNotContain("add.spv", Directory.EnumerateFiles(Path.GetDirectoryName(manifest)!).Select(Path.GetFileName));

        static string[] Line(string[] lines) => lines.Single(line => line.EndsWith(" add", StringComparison.Ordinal)).Split(' ');
    }

    private (int Code, string Said) Build(params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", ["msbuild", "check.proj", "-t:CheckSpirv", "-nologo", "-v:q", "-nodeReuse:false", .. arguments]) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string said = process.StandardOutput.ReadToEnd() + error.Result;
        process.WaitForExit();
        return (process.ExitCode, said.Trim());
    }

    private static bool HasCompiler()
    {
        try
        {
            using Process? process = Process.Start(new ProcessStartInfo("glslc", "--version") { RedirectStandardOutput = true, RedirectStandardError = true });
            process?.WaitForExit();
            return process?.ExitCode == 0;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }
}
