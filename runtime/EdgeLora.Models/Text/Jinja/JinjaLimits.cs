using System.Runtime.CompilerServices;

namespace EdgeLora.Models;

/// <summary>What a template may use up. Templates come with downloaded models: an endless one must end in an exception, never in a dead process.</summary>
internal static class JinjaLimits
{
    /// <summary>Characters in any one text, the rendered one included.</summary>
    public const int MaxText = 1 << 26;

    /// <summary>Items in any one list.</summary>
    public const int MaxItems = 1 << 22;

    /// <summary>Loop rounds and calls in one rendering.</summary>
    public const long MaxSteps = 5_000_000;

    /// <summary>Calls inside calls.</summary>
    public const int MaxCalls = 250;

    /// <summary>Bits of an integer.</summary>
    public const long MaxBits = 1 << 20;

    /// <summary>Raises before the stack ends: .NET cannot recover from its overflow.</summary>
    public static void GuardStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new ChatTemplateException(ChatTemplateErrorKind.RecursionError, "maximum recursion depth exceeded");
    }

    /// <summary>Raises where a text would be too long.</summary>
    public static void GuardText(long length)
    {
        if (length > MaxText)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"a text of the template: expected at most {MaxText} characters, found {length}");
    }

    /// <summary>Raises where a list would be too long.</summary>
    public static void GuardItems(long count)
    {
        if (count > MaxItems)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"a list of the template: expected at most {MaxItems} items, found {count}");
    }
}
