using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>Where a hub is, where its cache lies, and how patient a pull is.</summary>
public sealed record HubOptions
{
    /// <summary>The hub that is asked without another word.</summary>
    public const string DefaultEndpoint = "https://huggingface.co";

    /// <summary>The cache's folder, the one that huggingface_hub uses.</summary>
    public required string CacheFolder { get; init; }

    /// <summary>The hub, without a slash at its end.</summary>
    public string Endpoint { get; init; } = DefaultEndpoint;

    /// <summary>Token of an account; null: none. It is sent to <see cref="Endpoint"/> only.</summary>
    public string? Token { get; init; }

    /// <summary>Nothing is asked of the network.</summary>
    public bool Offline { get; init; }

    /// <summary>A snapshot's files are links to the blobs where the system lets us make links; false: copies.</summary>
    public bool Symlinks { get; init; } = true;

    /// <summary>How long to wait for a connection, an answer and each next piece of a file.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often a cut download goes on before it fails; each piece that comes starts the count anew.</summary>
    public int Retries { get; init; } = 5;

    /// <summary>Pause before going on.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Files that are downloaded side by side.</summary>
    public int Parallel { get; init; } = 4;

    /// <summary>Bytes that a folder's disk has free; null where it cannot be told.</summary>
    internal Func<string, long?> FreeBytes { get; init; } = Free;

    /// <summary>
    /// As huggingface_hub reads the environment: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME; HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH or the file <c>token</c> in HF_HOME
    /// (unless HF_HUB_DISABLE_IMPLICIT_TOKEN); HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE; HF_HUB_DISABLE_SYMLINKS; HF_HUB_DOWNLOAD_TIMEOUT in seconds.
    /// </summary>
    /// <param name="variable">Reads a variable; null: the process's environment.</param>
    public static HubOptions FromEnvironment(Func<string, string?>? variable = null)
    {
        Func<string, string?> read = variable ?? Environment.GetEnvironmentVariable;
        string? Get(string name) => read(name) is { Length: > 0 } value ? value : null;
        string Expand(string path) => ExpandPath(path, Get);
        string home = Expand(Get("HF_HOME") ?? Path.Combine(Get("XDG_CACHE_HOME") ?? Path.Combine("~", ".cache"), "huggingface"));
        string? token = IsTrue(Get("HF_HUB_DISABLE_IMPLICIT_TOKEN")) ? null
            : Clean(Get("HF_TOKEN")) ?? Clean(Get("HUGGING_FACE_HUB_TOKEN")) ?? TokenOf(Expand(Get("HF_TOKEN_PATH") ?? Path.Combine(home, "token")));
        HubOptions options = new()
        {
            CacheFolder = Path.GetFullPath(Expand(Get("HF_HUB_CACHE") ?? Get("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(home, "hub"))),
            Endpoint = (Get("HF_ENDPOINT") ?? DefaultEndpoint).TrimEnd('/'),
            Token = token,
            Offline = IsTrue(Get("HF_HUB_OFFLINE") ?? Get("TRANSFORMERS_OFFLINE")),
            Symlinks = !IsTrue(Get("HF_HUB_DISABLE_SYMLINKS")),
        };
        return int.TryParse(Get("HF_HUB_DOWNLOAD_TIMEOUT"), NumberStyles.None, CultureInfo.InvariantCulture, out int seconds) && seconds > 0
            ? options with { Timeout = TimeSpan.FromSeconds(Math.Min(seconds, 86400)) } : options;
    }

    /// <summary>A token without the blanks and line ends around it; null where nothing is left.</summary>
    public static string? Clean(string? token) => token?.Replace("\r", "").Replace("\n", "").Trim() is { Length: > 0 } text ? text : null;

    private static bool IsTrue(string? value) => value?.ToUpperInvariant() is "1" or "ON" or "YES" or "TRUE";

    private static string? TokenOf(string file)
    {
        try
        {
            return File.Exists(file) ? Clean(File.ReadAllText(file)) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new HubException(HubErrorKind.Failed, $"{file}: the token cannot be read: {e.Message}", e);
        }
    }

    // ~ at the start, $NAME and ${NAME}; a name that is not set stays as it is, as Python's expandvars leaves it.
    private static string ExpandPath(string path, Func<string, string?> get)
    {
        StringBuilder text = new();
        for (int i = 0; i < path.Length;)
        {
            bool braced = path[i] == '$' && i + 1 < path.Length && path[i + 1] == '{';
            int start = i + (braced ? 2 : 1), end = start;
            while (path[i] == '$' && end < path.Length && (braced ? path[end] != '}' : char.IsAsciiLetterOrDigit(path[end]) || path[end] == '_'))
                end++;
            if (path[i] == '$' && end > start && (!braced || end < path.Length) && get(path[start..end]) is { } value)
            {
                text.Append(value);
                i = braced ? end + 1 : end;
            }
            else
                text.Append(path[i++]);
        }
        string expanded = text.ToString();
        return expanded == "~" || expanded.StartsWith("~/", StringComparison.Ordinal) || expanded.StartsWith(@"~\", StringComparison.Ordinal)
            ? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + expanded[1..] : expanded;
    }

    private static long? Free(string folder)
    {
        try
        {
            return new DriveInfo(folder).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }
}
