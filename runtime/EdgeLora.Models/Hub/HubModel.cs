using System.Text.RegularExpressions;

namespace EdgeLora.Models;

/// <summary>A model on a hub: <c>hf:owner/name[@revision][:file]</c>.</summary>
/// <param name="Id"><c>owner/name</c>, or a name alone for the hub's oldest models.</param>
/// <param name="Revision">A branch, a tag, a commit or <c>refs/pr/1</c>.</param>
/// <param name="File">One file of it, its path with slashes; null: the whole.</param>
public sealed partial record HubModel(string Id, string Revision, string? File = null)
{
    /// <summary>What stands before a model of a hub.</summary>
    public const string Prefix = "hf:";

    /// <summary>The revision of a model that names none.</summary>
    public const string DefaultRevision = "main";

    /// <summary>Whether a text names a model of a hub, not a path.</summary>
    public static bool IsHub(string text) => text.StartsWith(Prefix, StringComparison.Ordinal);

    /// <summary>Whether the revision is a commit, which never changes.</summary>
    public bool IsCommit => IsCommitHash(Revision);

    /// <summary>Takes <c>hf:owner/name[@revision][:file]</c> apart. Throws <see cref="ArgumentException"/> naming what is wrong.</summary>
    public static HubModel Parse(string text)
    {
        string rest = IsHub(text) ? text[Prefix.Length..] : throw new ArgumentException($"{text}: expected {Prefix}owner/name[@revision][:file]");
        rest = rest.StartsWith("//", StringComparison.Ordinal) ? rest[2..] : rest;
        int colon = rest.IndexOf(':');
        string? file = colon < 0 ? null : rest[(colon + 1)..];
        rest = colon < 0 ? rest : rest[..colon];
        int at = rest.IndexOf('@');
        string id = at < 0 ? rest : rest[..at], revision = at < 0 ? DefaultRevision : rest[(at + 1)..];
        if (!IdPattern().IsMatch(id) || id.Contains("--", StringComparison.Ordinal) || id.Contains("..", StringComparison.Ordinal) || id.EndsWith(".git", StringComparison.Ordinal))
            throw new ArgumentException($"{text}: '{id}' is no model's name: expected owner/name of letters, digits, '-', '_' and '.', neither '--' nor '..' in it, at most 96 characters");
        if (!IsSafePath(revision))
            throw new ArgumentException($"{text}: '{revision}' is no revision: expected a branch, a tag or a commit");
        if (file is not null && !IsSafePath(file))
            throw new ArgumentException($"{text}: '{file}' is no file of a model: expected its path below the model, with slashes");
        return new(id, revision, file);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Prefix}{Id}{(Revision == DefaultRevision ? "" : "@" + Revision)}{(File is null ? "" : ":" + File)}";

    /// <summary>Forty hexadecimal digits in lower case.</summary>
    internal static bool IsCommitHash(string text) => text.Length == 40 && text.All(char.IsAsciiHexDigitLower);

    /// <summary>
    /// Whether a path with slashes stays below the folder it is put in, on every system: no empty, <c>.</c> or <c>..</c> part, no backslash, colon or control character,
    /// no part that Windows shortens (a trailing dot or blank) or takes for a device.
    /// </summary>
    internal static bool IsSafePath(string path) => path.Length is > 0 and <= 1024 && path.Split('/').All(IsSafePart);

    private static bool IsSafePart(string part) => part.Length is > 0 and <= 255 && part is not ("." or "..") && part[^1] is not ('.' or ' ')
        && part.All(c => c >= ' ' && c != '\u007f' && !"\\:*?\"<>|".Contains(c)) && !DevicePattern().IsMatch(part);

    // huggingface_hub's REPO_ID_REGEX.
    [GeneratedRegex(@"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?\z", RegexOptions.CultureInvariant)]
    private static partial Regex IdPattern();

    [GeneratedRegex(@"^(con|prn|aux|nul|com\d|lpt\d)(\.|\z)", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase)]
    private static partial Regex DevicePattern();
}
