namespace EdgeLora.Models;

/// <summary>What went wrong in a chat template, by the names Jinja and Python give it.</summary>
public enum ChatTemplateErrorKind
{
    /// <summary>The template itself refused the dialogue with raise_exception.</summary>
    TemplateError,
    /// <summary>The template is not valid Jinja.</summary>
    TemplateSyntaxError,
    /// <summary>The template names a filter or test that does not exist.</summary>
    TemplateAssertionError,
    /// <summary>A filter or test named at run time does not exist.</summary>
    TemplateRuntimeError,
    /// <summary>A variable or attribute that is not there was used.</summary>
    UndefinedError,
    /// <summary>The template reached for something a template may not touch.</summary>
    SecurityError,
    /// <summary>A filter was called with arguments it cannot use.</summary>
    FilterArgumentError,
    /// <summary>A value has the wrong type for an operation.</summary>
    TypeError,
    /// <summary>A value has the right type but cannot be used.</summary>
    ValueError,
    /// <summary>An attribute does not exist on a value.</summary>
    AttributeError,
    /// <summary>A position is outside a sequence.</summary>
    IndexError,
    /// <summary>A key is not in a dictionary.</summary>
    KeyError,
    /// <summary>An argument outside what a filter asserts.</summary>
    AssertionError,
    /// <summary>A division by zero.</summary>
    ZeroDivisionError,
    /// <summary>A number or range is too large.</summary>
    OverflowError,
    /// <summary>The template nests or recurses too deeply.</summary>
    RecursionError,
    /// <summary>The template makes too much text or runs too long.</summary>
    MemoryError,
}

/// <summary>A chat template could not be read or rendered.</summary>
/// <param name="kind">What went wrong.</param>
/// <param name="message">The message, as Jinja words it where it is Jinja's own.</param>
public sealed class ChatTemplateException(ChatTemplateErrorKind kind, string message) : Exception(message)
{
    /// <summary>What went wrong.</summary>
    public ChatTemplateErrorKind Kind { get; } = kind;

    /// <summary>The template's line, from 1; null where it is not known.</summary>
    public int? Line { get; internal set; }

    internal static ChatTemplateException Type(string message) => new(ChatTemplateErrorKind.TypeError, message);

    internal static ChatTemplateException Value(string message) => new(ChatTemplateErrorKind.ValueError, message);

    internal static ChatTemplateException Syntax(string message, int line) => new(ChatTemplateErrorKind.TemplateSyntaxError, message) { Line = line };
}
