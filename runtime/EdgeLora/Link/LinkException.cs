namespace EdgeLora;

/// <summary>What a link's error is about; on the wire its name in lower case.</summary>
public enum LinkErrorKind
{
    /// <summary>Anything else: the text says it.</summary>
    Failed,
    /// <summary>Bytes that are no message, or too many: the connection is closed.</summary>
    Frame,
    /// <summary>The two sides speak different versions: the connection is closed.</summary>
    Version,
    /// <summary>The token is missing or another: the connection is closed.</summary>
    Token,
    /// <summary>A request that makes no sense.</summary>
    Usage,
    /// <summary>No such node or session.</summary>
    NotFound,
    /// <summary>An adapter that does not fit; the faults name why.</summary>
    Refused,
    /// <summary>Too many connections.</summary>
    Busy,
    /// <summary>The other side left, or nobody is there.</summary>
    Gone,
}

/// <summary>A request over a link that failed, or a link that ended.</summary>
/// <param name="kind">What it is about.</param>
/// <param name="message">For people.</param>
/// <param name="faults">Why an adapter was refused, all of it; empty otherwise.</param>
/// <param name="inner">What it came from.</param>
public sealed class LinkException(LinkErrorKind kind, string message, IReadOnlyList<string>? faults = null, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>What it is about.</summary>
    public LinkErrorKind Kind { get; } = kind;

    /// <summary>Why an adapter was refused, all of it; empty otherwise.</summary>
    public IReadOnlyList<string> Faults { get; } = faults ?? [];
}
