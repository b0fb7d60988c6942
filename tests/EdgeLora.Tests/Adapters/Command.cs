using EdgeLora.Cli;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>The command line, run in this process.</summary>
internal static class Command
{
    /// <summary>What a command that must succeed puts out.</summary>
    public static string Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(arguments, output, error);
        Assert.True(code == EdgeLoraCommand.Ok, $"{string.Join(' ', arguments)}: {error}");
        return output.ToString();
    }

    /// <summary>What a command that must fail says.</summary>
    public static string Fail(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        Assert.NotEqual(EdgeLoraCommand.Ok, EdgeLoraCommand.Invoke(arguments, output, error));
        return error.ToString();
    }
}
