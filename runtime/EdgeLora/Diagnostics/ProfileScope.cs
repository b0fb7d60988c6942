namespace EdgeLora;

/// <summary>A stretch of one thread's time.</summary>
/// <param name="Name">What was done.</param>
/// <param name="Start">When it began, of Stopwatch.GetTimestamp.</param>
/// <param name="End">When it ended.</param>
/// <param name="Thread">Managed id of the thread.</param>
/// <param name="Node">The adapter it was about, if it was about one.</param>
/// <param name="First">A number with its name.</param>
/// <param name="Second">Another.</param>
internal readonly record struct ProfileScope(string Name, long Start, long End, int Thread, string? Node, (string Name, long Value)? First, (string Name, long Value)? Second);
