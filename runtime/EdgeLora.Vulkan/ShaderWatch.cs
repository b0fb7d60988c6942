using System.Collections.Concurrent;
using System.Diagnostics;

namespace EdgeLora.Vulkan;

/// <summary>For who develops shaders: compiles those that change in a folder, with glslc, while the application runs. A shader that does not compile is reported, and the old one goes on.</summary>
internal sealed class ShaderWatch : IDisposable
{
    // Editors write a file in several steps.
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(100);

    private readonly string _folder;
    private readonly bool _addresses;
    private readonly Action<string> _report;
    private readonly FileSystemWatcher _watcher;
    private readonly Timer _timer;
    private readonly ConcurrentDictionary<string, bool> _changed = new();
    private readonly Lock _compiling = new();

    /// <summary>Watches. Throws <see cref="DirectoryNotFoundException"/>.</summary>
    /// <param name="folder">The folder with the .comp files and common/.</param>
    /// <param name="addresses">Whether shaders use buffer device addresses.</param>
    /// <param name="report">Told what was reloaded and what did not compile, on any thread.</param>
    public ShaderWatch(string folder, bool addresses, Action<string> report)
    {
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"{folder}: there is no such folder of shaders");
        (_folder, _addresses, _report) = (folder, addresses, report);
        _timer = new(_ => Compile());
        _watcher = new(folder) { IncludeSubdirectories = true };
        _watcher.Changed += (_, e) => Note(e.FullPath);
        _watcher.Created += (_, e) => Note(e.FullPath);
        _watcher.Renamed += (_, e) => Note(e.FullPath);
        _watcher.EnableRaisingEvents = true;
    }

    /// <summary>Shaders that were compiled and wait to be taken, by stem.</summary>
    public ConcurrentDictionary<string, byte[]> Ready { get; } = new();

    /// <summary>Reports.</summary>
    public void Report(string what) => _report(what);

    /// <inheritdoc/>
    public void Dispose()
    {
        _watcher.Dispose();
        _timer.Dispose();
    }

    private void Note(string path)
    {
        if (Path.GetExtension(path) is not (".comp" or ".glsl"))
            return;
        _changed[path] = true;
        _timer.Change(s_quiet, Timeout.InfiniteTimeSpan);
    }

    private void Compile()
    {
        lock (_compiling)
        {
            string[] changed = [.. _changed.Keys];
            _changed.Clear();
            // What is included may concern every shader.
            string[] shaders = changed.Any(p => p.EndsWith(".glsl", StringComparison.Ordinal)) ? Directory.GetFiles(_folder, "*.comp") : [.. changed.Where(File.Exists)];
            foreach (string shader in shaders)
                Compile(shader);
        }
    }

    private void Compile(string shader)
    {
        string output = Path.GetTempFileName();
        try
        {
            ProcessStartInfo start = new("glslc") { RedirectStandardError = true };
            foreach (string argument in (string[])["--target-env=vulkan1.2", "-O", "-I", _folder, .. _addresses ? (string[])[] : ["-DSSBO"], shader, "-o", output])
                start.ArgumentList.Add(argument);
            using Process process = Process.Start(start)!;
            string errors = process.StandardError.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode == 0)
                Ready[Path.GetFileNameWithoutExtension(shader)] = File.ReadAllBytes(output);
            else
                _report($"{Path.GetFileName(shader)} does not compile, the old one goes on: {errors.Trim()}");
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException)
        {
            _report($"{Path.GetFileName(shader)}: glslc cannot be run: {e.Message}");
        }
        finally
        {
            File.Delete(output);
        }
    }
}
