namespace EdgeLora.Models;

/// <summary>What a switch does with keys and values made on another path.</summary>
public enum KvPolicy
{
    /// <summary>Replays the tokens on the new path: exact. Keys and values that the session still has of that path are taken up again.</summary>
    Recompute,
    /// <summary>Goes on over the old path's keys and values: at once, approximate. Nothing is replayed.</summary>
    Keep,
}
