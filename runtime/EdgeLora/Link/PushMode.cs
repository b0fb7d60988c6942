namespace EdgeLora;

/// <summary>Whether a pushed adapter may take another's place.</summary>
public enum PushMode
{
    /// <summary>It is mounted where nothing is, and else replaces what is there.</summary>
    Any,
    /// <summary>The place must be free.</summary>
    New,
    /// <summary>The place must be taken.</summary>
    Replace,
}
