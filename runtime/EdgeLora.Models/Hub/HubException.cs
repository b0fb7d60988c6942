namespace EdgeLora.Models;

/// <summary>What a hub's error is about.</summary>
public enum HubErrorKind
{
    /// <summary>Anything else: the text says it.</summary>
    Failed,
    /// <summary>Offline by choice, or not in the cache.</summary>
    Offline,
    /// <summary>The hub cannot be reached, or stopped answering.</summary>
    Unreachable,
    /// <summary>Private or gated, and the token is missing or may not read it.</summary>
    Denied,
    /// <summary>No such model, revision or file.</summary>
    NotFound,
    /// <summary>What came is not what the hub names: another checksum or size.</summary>
    Corrupt,
    /// <summary>The disk has no room.</summary>
    DiskFull,
    /// <summary>A name from the hub that would leave the cache's folder.</summary>
    Unsafe,
}

/// <summary>A pull that failed, or a model that is not in the cache. The message names the model and what to do; it never holds a token.</summary>
/// <param name="kind">What it is about.</param>
/// <param name="message">For people.</param>
/// <param name="inner">What it came from.</param>
public sealed class HubException(HubErrorKind kind, string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>What it is about.</summary>
    public HubErrorKind Kind { get; } = kind;
}
