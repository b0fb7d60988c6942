using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using Microsoft.Build.Framework;

/// <summary>
/// The build task of Shaders.targets: compares the shaders with spirv/manifest.txt and compiles those that changed.
/// The manifest names the compiler and its flags, then has a line a shader, sorted by name:
/// SHA-256 of the source with all that it includes, of the module, of the SSBO module, and the name.
/// </summary>
public sealed class CompileShaders : Microsoft.Build.Utilities.Task
{
    private static readonly Regex s_include = new Regex("^[ \\t]*#[ \\t]*include[ \\t]+\"([^\"]+)\"", RegexOptions.Multiline);
    private static readonly Regex s_error = new Regex("^(.+?):([0-9]+): (?:error|warning): ([^\r\n]*)", RegexOptions.Multiline);

    /// <summary>Where the *.comp are; includes are looked up beside the file and here.</summary>
    [Required]
    public string Folder { get; set; } = "";

    /// <summary>Where the modules and manifest.txt are.</summary>
    [Required]
    public string Output { get; set; } = "";

    /// <summary>A folder of this build's own, for what glslc writes.</summary>
    [Required]
    public string Scratch { get; set; } = "";

    [Required]
    public string Glslc { get; set; } = "";

    [Required]
    public string Flags { get; set; } = "";

    /// <summary>Compile all, whatever the manifest says.</summary>
    public bool All { get; set; }

    public override bool Execute()
    {
        string manifest = Path.Combine(Output, "manifest.txt");
        string[] lines = File.Exists(manifest) ? File.ReadAllLines(manifest) : new string[0];
        string header = lines.FirstOrDefault(l => l.StartsWith("glslc ", StringComparison.Ordinal)) ?? "";
        // A merge may have left two lines of one shader: then neither counts.
        Dictionary<string, string> known = lines.Where(l => l.Length > 0 && l[0] != '#' && l != header).GroupBy(NameOf, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count() == 1 ? g.First() : "");
        string[] names = Directory.GetFiles(Folder, "*.comp").Select(Path.GetFileNameWithoutExtension).OrderBy(n => n, StringComparer.Ordinal).ToArray();
        bool flagsChanged = !header.EndsWith(" " + Flags, StringComparison.Ordinal);
        List<string> stale = names.Where(n => All || flagsChanged || !known.TryGetValue(n, out string line) || line != Line(n)).ToList();
        List<string> orphans = known.Keys.Except(names).ToList();
        if (Log.HasLoggedErrors)
            return false;
        if (stale.Count == 0 && orphans.Count == 0 && lines.SequenceEqual(Text(header, names)))
            return true;

        string version = Version();
        if (version.Length == 0)
        {
            string what = string.Join(", ", stale.Select(n => n + ".comp").Concat(orphans.Select(n => n + ".spv (its shader is gone)")).DefaultIfEmpty("manifest.txt"));
            Log.LogError("shaders/spirv is older than its sources and '" + Glslc + "' does not run here. Install glslc and build again (it rewrites shaders/spirv). Stale: " + what);
            return false;
        }
        string now = "glslc " + version + " " + Flags;
        // One compiler for all modules: then any of them can be checked against a fresh one.
        if (stale.Count > 0 && header != now)
            stale = names.ToList();
        Compile(stale);
        if (Log.HasLoggedErrors)
            return false;
        foreach (string path in Directory.GetFiles(Output, "*.spv").Where(p => !names.Contains(Path.GetFileName(p).Split('.')[0])))
            File.Delete(path);
        File.WriteAllText(manifest, string.Join("\n", Text(stale.Count > 0 ? now : header, names)) + "\n");
        Log.LogMessage(MessageImportance.High, "shaders: " + stale.Count + " compiled, " + (names.Length - stale.Count) + " as they were");
        return true;
    }

    private IEnumerable<string> Text(string header, string[] names) =>
        new[] { "# Written by Shaders.targets: SHA-256 of a shader with all that it includes, of its module, of its SSBO module.", header }.Concat(names.Select(Line));

    private string Line(string name) => string.Join(" ", SourceHash(name), Hash(ModulePath(name, "")), Hash(ModulePath(name, ".ssbo")), name);

    private static string NameOf(string line) => line.Substring(line.LastIndexOf(' ') + 1);

    private string ModulePath(string name, string suffix) => Path.Combine(Output, name + suffix + ".spv");

    private string SourceHash(string name)
    {
        List<string> files = new List<string>();
        Collect(Path.Combine(Folder, name + ".comp"), files);
        // Line endings do not count: a checkout may have changed them.
        return Hex(Encoding.UTF8.GetBytes(string.Concat(files.Select(f => File.ReadAllText(f).Replace("\r\n", "\n") + "\0"))));
    }

    private void Collect(string file, List<string> files)
    {
        if (files.Contains(file))
            return;
        files.Add(file);
        foreach (Match match in s_include.Matches(File.ReadAllText(file)))
        {
            string[] candidates = new[] { Path.GetDirectoryName(file), Folder }.Select(d => Path.GetFullPath(Path.Combine(d, match.Groups[1].Value))).ToArray();
            string found = candidates.FirstOrDefault(File.Exists);
            if (found == null)
                Log.LogError(null, null, null, file, 0, 0, 0, 0, "#include \"" + match.Groups[1].Value + "\": no such file beside it or in " + Folder);
            else
                Collect(found, files);
        }
    }

    private void Compile(List<string> names)
    {
        Directory.CreateDirectory(Scratch);
        Directory.CreateDirectory(Output);
        Parallel.ForEach(names.SelectMany(n => new[] { (n, ""), (n, ".ssbo") }), m =>
        {
            (string name, string suffix) = m;
            string module = Path.Combine(Scratch, name + suffix + ".spv");
            int code = Run(Flags + (suffix.Length > 0 ? " -DSSBO" : "") + " -I \"" + Folder.TrimEnd('/', '\\') + "\" \"" + Path.Combine(Folder, name + ".comp") + "\" -o \"" + module + "\"", out string said);
            if (code != 0)
                Complain(Path.Combine(Folder, name + ".comp"), suffix.Length > 0 ? "with SSBO: " : "", said);
            else
                File.Copy(module, ModulePath(name, suffix), overwrite: true);
        });
    }

    private void Complain(string shader, string how, string said)
    {
        MatchCollection errors = s_error.Matches(said);
        foreach (Match error in errors)
            Log.LogError(null, null, null, error.Groups[1].Value, int.Parse(error.Groups[2].Value), 0, 0, 0, how + error.Groups[3].Value);
        if (errors.Count == 0)
            Log.LogError(null, null, null, shader, 0, 0, 0, 0, how + said.Trim());
    }

    private string Version()
    {
        try
        {
            return Run("--version", out string said) == 0 ? string.Join(", ", said.Split('\n').Select(l => l.Trim()).TakeWhile(l => l.Length > 0)) : "";
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "";
        }
    }

    private int Run(string arguments, out string said)
    {
        using (Process process = Process.Start(new ProcessStartInfo(Glslc, arguments) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true }))
        {
            Task<string> error = process.StandardError.ReadToEndAsync();
            said = process.StandardOutput.ReadToEnd() + error.Result;
            process.WaitForExit();
            return process.ExitCode;
        }
    }

    private static string Hash(string path) => File.Exists(path) ? Hex(File.ReadAllBytes(path)) : "none";

    private static string Hex(byte[] bytes)
    {
        using (SHA256 sha = SHA256.Create())
            return BitConverter.ToString(sha.ComputeHash(bytes)).Replace("-", "").ToLowerInvariant();
    }
}
