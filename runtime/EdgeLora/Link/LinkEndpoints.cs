using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace EdgeLora;

/// <summary>
/// Hosts of this user on this machine that listen. On Unix each has a socket <c>name-pid.sock</c> in a folder that only the user may enter: <c>$EDGELORA_LINK_FOLDER</c>, else
/// <c>$XDG_RUNTIME_DIR/edgelora</c>, else <c>edgelora/link</c> in the user's local data; on Windows a pipe <c>edgelora-name-pid</c>.
/// </summary>
public static class LinkEndpoints
{
    /// <summary>Names the folder of the sockets.</summary>
    public const string FolderVariable = "EDGELORA_LINK_FOLDER";

    internal const string PipePrefix = "edgelora-";
    private const string Pattern = "*.sock";
    private const UnixFileMode UserOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Those that are live, by name. Sockets that a host left behind when it was killed are deleted.</summary>
    public static IReadOnlyList<LinkEndpoint> All()
    {
        if (OperatingSystem.IsWindows())
            return [.. Directory.EnumerateFiles(@"\\.\pipe\").Select(p => Path.GetFileName(p)).Where(n => n.StartsWith(PipePrefix, StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(n => new LinkEndpoint(LinkTransport.NamedPipe, n))];
        return [.. Folders().Where(Directory.Exists).SelectMany(f => Directory.EnumerateFiles(f, Pattern)).Where(IsLive).OrderBy(f => Path.GetFileName(f), StringComparer.Ordinal).Select(f => new LinkEndpoint(LinkTransport.UnixSocket, f))];
    }

    /// <summary>The one host that there is. Throws <see cref="LinkException"/> where there is none, or several, naming them.</summary>
    public static LinkEndpoint Only()
    {
        IReadOnlyList<LinkEndpoint> all = All();
        return all.Count == 1 ? all[0] : throw new LinkException(all.Count == 0 ? LinkErrorKind.Gone : LinkErrorKind.Usage,
            all.Count == 0 ? "no host listens here; start one with 'edgelora serve <tree>' or EdgeHost.Listen" : $"{all.Count} hosts listen here: {string.Join(", ", all.Select(e => e.Name))}; name one");
    }

    /// <summary>The live ones for a message.</summary>
    internal static string Listed() => All() is { Count: > 0 } all ? $"one of {string.Join(", ", all.Select(e => e.Name))}" : "the name of a host; none listens here";

    /// <summary>A free path for a host's socket, or a pipe's name. Throws <see cref="LinkException"/> for a folder that others may enter.</summary>
    internal static string Free(string host)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"{Plain(host)}-{Environment.ProcessId}");
        if (OperatingSystem.IsWindows())
            return PipePrefix + name;
        string folder = Folders()[0];
        // Never changed where it is there already: it may be anything that a variable names.
        if (!Directory.Exists(folder))
            Directory.CreateDirectory(folder, UserOnly);
        UnixFileMode mode = File.GetUnixFileMode(folder);
        if ((mode & ~UserOnly) != 0)
            throw new LinkException(LinkErrorKind.Usage, $"{folder}: others may enter it: expected mode 700, found {Convert.ToString((int)mode, 8)}");
        string path = Path.Combine(folder, name + ".sock");
        for (int i = 2; File.Exists(path); i++)
            path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{name}-{i}.sock"));
        return path;
    }

    /// <summary>Whether a host listens on a socket.</summary>
    internal static bool Answers(string socket)
    {
        try
        {
            using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            probe.Connect(new UnixDomainSocketEndPoint(socket));
            return true;
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return false;
        }
    }

    private static string[] Folders()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } own)
            return [Path.GetFullPath(own)];
        string local = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "edgelora", "link");
        // A service and a shell of one user may see different variables: both places are looked at.
        return Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") is { Length: > 0 } runtime && Directory.Exists(runtime) ? [Path.Combine(runtime, "edgelora"), local] : [local];
    }

    private static bool IsLive(string socket)
    {
        if (Answers(socket))
            return true;
        // Between a bind and a listen nobody answers either: gone is whose process is gone.
        string[] parts = Path.GetFileNameWithoutExtension(socket).Split('-');
        if (!parts.TakeLast(2).Any(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && Runs(id)))
            File.Delete(socket);
        return false;
    }

    private static bool Runs(int processId)
    {
        try
        {
            using Process process = Process.GetProcessById(processId);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    // A host's name is what was opened: its last part, in letters that a file name, a shell and 108 bytes of a socket's path bear.
    private static string Plain(string host)
    {
        string last = Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(Path.GetFullPath(host)));
        string plain = new([.. last.ToLowerInvariant().Take(24).Select(c => char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '_')]);
        return plain.Length == 0 ? "host" : plain;
    }
}
