namespace EdgeLora;

/// <summary>What happened to an adapter.</summary>
public enum AdapterEventKind
{
    /// <summary>Its folder was seen, or it was mounted.</summary>
    Discovered,
    /// <summary>It was validated and waits in RAM.</summary>
    Staged,
    /// <summary>It is on the device.</summary>
    Resident,
    /// <summary>A session stands on it.</summary>
    Activated,
    /// <summary>It left the device and RAM for others' room; its file is still there.</summary>
    Evicted,
    /// <summary>Another generation took its place.</summary>
    Reloaded,
    /// <summary>A file of it was refused; the last good generation, if there is one, goes on.</summary>
    Faulted,
    /// <summary>It left the tree.</summary>
    Unmounted,
}

/// <summary>Something that happened to an adapter.</summary>
/// <param name="Kind">What.</param>
/// <param name="Node">Path in the tree.</param>
/// <param name="Generation">The node's generation afterwards.</param>
/// <param name="Faults">Why it was refused, all of it; empty otherwise.</param>
/// <param name="Time">When the tick told it.</param>
public sealed record AdapterEvent(AdapterEventKind Kind, string Node, int Generation, IReadOnlyList<string> Faults, DateTimeOffset Time)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Kind} {(Node.Length == 0 ? "(root)" : Node)} #{Generation}{(Faults.Count == 0 ? "" : ": " + string.Join("; ", Faults))}";
}

/// <summary>A node at one generation: stays comparable after reloads and unmounts.</summary>
/// <param name="Node">Path in the tree.</param>
/// <param name="Generation">Raised by each reload.</param>
public readonly record struct AdapterHandle(string Node, int Generation);

/// <summary>What becomes of sessions that stand on an adapter that was reloaded.</summary>
public enum ReloadPolicy
{
    /// <summary>They stay on the generation that they have until they switch, or their next generation of text begins.</summary>
    KeepUntilNext,
    /// <summary>They move between two tokens; keys and values are computed anew.</summary>
    MoveAtOnce,
}
