using System.Text;
using EdgeLora.Cli;

UTF8Encoding utf8 = new(encoderShouldEmitUTF8Identifier: false);
using StreamWriter output = new(Console.OpenStandardOutput(), utf8) { NewLine = "\n" };
using StreamReader input = new(Console.OpenStandardInput(), utf8);
int code = await EdgeLoraCommand.InvokeAsync(args, new CommandIo(output, Console.Error, input, Console.IsOutputRedirected, Console.IsErrorRedirected)).ConfigureAwait(false);
try
{
    output.Flush();
}
catch (IOException)
{
    // The reader of a pipe left: nobody is there to be told.
}
return code;
