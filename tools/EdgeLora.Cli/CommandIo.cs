using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace EdgeLora.Cli;

/// <summary>Where a command reads and writes.</summary>
/// <param name="Output">Results: the text or one line of JSON.</param>
/// <param name="Error">Messages and progress.</param>
/// <param name="Input">What is piped or typed in.</param>
/// <param name="OutputRedirected">False on a terminal.</param>
/// <param name="ErrorRedirected">False on a terminal.</param>
public sealed record CommandIo(TextWriter Output, TextWriter Error, TextReader Input, bool OutputRedirected = true, bool ErrorRedirected = true)
{
    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes one JSON object on one line of the output, and flushes it.</summary>
    public void WriteJson(Action<Utf8JsonWriter> fields)
    {
        ArrayBufferWriter<byte> bytes = new();
        using (Utf8JsonWriter writer = new(bytes, s_json))
        {
            writer.WriteStartObject();
            fields(writer);
            writer.WriteEndObject();
        }
        Output.Write(Encoding.UTF8.GetString(bytes.WrittenSpan));
        Output.Write('\n');
        Output.Flush();
    }

    /// <summary>A console of tables and trees on the output; plain text where it is no terminal.</summary>
    public IAnsiConsole Console()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = OutputRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = OutputRedirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(Output),
        });
        if (OutputRedirected)
            console.Profile.Width = 200;
        return console;
    }

    /// <summary>Shows how far long work is, on a terminal only.</summary>
    public void Progress(string what, long done, long total)
    {
        if (ErrorRedirected)
            return;
        Error.Write(FormattableString.Invariant($"\r{what} {done}/{total}"));
        if (done >= total)
            Error.Write('\n');
        Error.Flush();
    }
}
