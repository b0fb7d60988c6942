using System.Collections.Concurrent;
using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>Shaders that change while the backend runs.</summary>
public sealed class ShaderWatchTests
{
    [Fact]
    public void A_changed_shader_is_used_from_the_next_submission_on_and_a_broken_one_is_not()
    {
        VulkanDriver.Require();
        if (!GlslcIsThere())
            Assert.Skip("glslc is not installed");
        string folder = Directory.CreateTempSubdirectory("edgelora-shaders").FullName, add = Path.Combine(folder, "add.comp");
        Directory.CreateDirectory(Path.Combine(folder, "common"));
        string shaders = Path.Combine(SharedFolder.Repository, "shaders");
        foreach (string file in Directory.GetFiles(shaders, "*.glsl", SearchOption.AllDirectories))
            File.Copy(file, Path.Combine(folder, Path.GetRelativePath(shaders, file)));
        string source = File.ReadAllText(Path.Combine(shaders, "add.comp"));
        File.WriteAllText(add, source);
        using BlockingCollection<string> reports = [];
        using (VulkanBackend backend = new(new VulkanOptions { WatchShaders = folder, ShaderReport = reports.Add }))
        {
            using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1, 8)), y = backend.Allocate("y", DType.F32, new Shape(1, 8));
            backend.Write([1, 2, 3, 4, 5, 6, 7, 8], x, 0);
            float First()
            {
                backend.Add(1, x, x, y);
                return y.ToFloats()[0];
            }
            Assert.Equal(2, First());
            File.WriteAllText(add, source.Replace("load_f32x4(push.x, i) + ", "10.0 * load_f32x4(push.x, i) + "));
            // It is taken at a submission, so there must be some.
            string? report;
            Stopwatch waited = Stopwatch.StartNew();
            while (!reports.TryTake(out report, 20) && waited.Elapsed < TimeSpan.FromSeconds(60))
                First();
            Assert.Equal("add was reloaded", report);
            Assert.Equal(11, First());
            File.WriteAllText(add, source.Replace("void main()", "void broken("));
            Assert.True(reports.TryTake(out report, TimeSpan.FromSeconds(60)));
            Assert.StartsWith("add.comp does not compile, the old one goes on:", report);
            Assert.Equal(11, First());
        }
        Directory.Delete(folder, recursive: true);
    }

    private static bool GlslcIsThere()
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("glslc", "--version") { RedirectStandardOutput = true })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return true;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
