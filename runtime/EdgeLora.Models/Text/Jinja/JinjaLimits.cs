using System.Runtime.CompilerServices;

namespace EdgeLora.Models;

/// <summary>What a template may use up. Templates come with downloaded models: an endless one must end in an exception, never in a dead process.</summary>
internal static class JinjaLimits
{
    /// <summary>Characters of a template: its tokens and expressions take some fifty bytes a character.</summary>
    public const int MaxSource = 1 << 20;

    /// <summary>Characters in any one text, the rendered one included.</summary>
    public const int MaxText = 1 << 24;

    /// <summary>Items in any one list.</summary>
    public const int MaxItems = 1 << 22;

    /// <summary>Loop rounds and calls in one rendering.</summary>
    public const long MaxSteps = 5_000_000;

    /// <summary>Calls inside calls.</summary>
    public const int MaxCalls = 250;

    /// <summary>Bits of an integer: a few more than the 4,300 digits that Python prints at most.</summary>
    public const long MaxBits = 1 << 14;

    /// <summary>Bytes that one rendering may allocate in all, beside <see cref="BytesPerCharacter"/> for each character that it was given.</summary>
    public const long MaxBytes = 64L << 20;

    /// <summary>Bytes for each character of the dialogue: templates copy it a few times, and some each message once for every message behind it.</summary>
    public const long BytesPerCharacter = 4096;

    // What this thread may have allocated when its rendering ends; 0: none goes on.
    [ThreadStatic]
    private static long t_end;

    /// <summary>Renders within the limits.</summary>
    /// <param name="characters">Characters of what the template is given.</param>
    /// <param name="render">The rendering.</param>
    public static void Within(long characters, Action render)
    {
        long outer = t_end;
        t_end = GC.GetAllocatedBytesForCurrentThread() + MaxBytes + BytesPerCharacter * characters;
        try
        {
            render();
        }
        finally
        {
            t_end = outer;
        }
    }

    /// <summary>Characters of all texts in values of a template.</summary>
    public static long Characters(object? value) => value switch
    {
        string text => text.Length,
        JinjaList list => list.Items.Sum(Characters),
        JinjaDict dict => dict.Entries.Sum(e => Characters(e.Key) + Characters(e.Value)),
        _ => 0,
    };

    /// <summary>Expressions inside expressions, and blocks inside blocks: about where Python's own stack ends when it parses.</summary>
    public const int MaxNesting = 300;

    /// <summary>Raises before the stack ends: .NET cannot recover from its overflow; and where a rendering has allocated too much.</summary>
    public static void GuardStack()
    {
        GuardBytes(0);
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new ChatTemplateException(ChatTemplateErrorKind.RecursionError, "maximum recursion depth exceeded");
    }

    /// <summary>Raises where a text would be too long.</summary>
    public static void GuardText(long length)
    {
        GuardBytes(2 * length);
        if (length > MaxText)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"a text of the template: expected at most {MaxText} characters, found {length}");
    }

    /// <summary>Raises where a list would be too long.</summary>
    public static void GuardItems(long count)
    {
        GuardBytes(8 * count);
        if (count > MaxItems)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"a list of the template: expected at most {MaxItems} items, found {count}");
    }

    /// <summary>Raises where a rendering has allocated too much, or would with so many bytes more.</summary>
    public static void GuardBytes(long more)
    {
        if (t_end != 0 && GC.GetAllocatedBytesForCurrentThread() > t_end - more)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"the template used too much memory: more than {MaxBytes >> 20} MiB beside {BytesPerCharacter} bytes for each character that it was given");
    }
}
