using EdgeLora.Cli.Verbs;
using Spectre.Console;

return args is ["demo"] ? DemoVerb.Run(DemoVerb.ShippedTree(), AnsiConsole.Console) : 2;
