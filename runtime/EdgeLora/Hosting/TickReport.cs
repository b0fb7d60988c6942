namespace EdgeLora;

/// <summary>What one tick did.</summary>
/// <param name="Index">Ticks before it.</param>
/// <param name="Budget">Time it was given.</param>
/// <param name="Elapsed">Time it took.</param>
/// <param name="Commit">Of that: requests, staged plugins, reloads.</param>
/// <param name="Run">Of that: forward passes and choosing tokens.</param>
/// <param name="Events">Of that: handlers of events.</param>
/// <param name="LongestStep">The longest of its forward passes: what a budget can be overrun by.</param>
/// <param name="Steps">Forward passes.</param>
/// <param name="PromptTokens">Tokens of prompts that were run.</param>
/// <param name="NewTokens">Tokens that were generated.</param>
/// <param name="BytesMoved">Bytes of adapters brought to the device.</param>
/// <param name="Running">Sessions with text to generate.</param>
/// <param name="Waiting">Sessions that wait for room.</param>
public readonly record struct TickReport(
    long Index, TimeSpan Budget, TimeSpan Elapsed, TimeSpan Commit, TimeSpan Run, TimeSpan Events, TimeSpan LongestStep, int Steps, int PromptTokens, int NewTokens, long BytesMoved, int Running, int Waiting)
{
    /// <summary>Whether it took no longer than it was given.</summary>
    public bool Kept => Elapsed <= Budget;

    /// <summary>Whether it took no longer than it was given and one forward pass.</summary>
    public bool KeptWithinOneStep => Elapsed <= Budget + LongestStep;
}
