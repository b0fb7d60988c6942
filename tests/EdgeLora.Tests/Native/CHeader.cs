using System.Text.RegularExpressions;

namespace EdgeLora.Tests.Native;

/// <summary>edgelora.h, read: its functions, structs and constants.</summary>
internal static partial class CHeader
{
    public static string Text { get; } = File.ReadAllText(Path.Combine(SharedFolder.Repository, "runtime", "EdgeLora.Native", "include", "edgelora.h"));

    private static readonly string s_code = Remark().Replace(Text, "");

    /// <summary>Functions by name, with the types of result and parameters as C writes them.</summary>
    public static IReadOnlyDictionary<string, string[]> Functions { get; } = Function().Matches(s_code).ToDictionary(
        m => m.Groups["name"].Value,
        m => (string[])[m.Groups["result"].Value.Trim(), .. m.Groups["parameters"].Value is "void" ? [] : m.Groups["parameters"].Value.Split(',').Select(TypeOf)]);

    /// <summary>Structs by name, each a list of fields with their types.</summary>
    public static IReadOnlyDictionary<string, (string Type, string Name)[]> Structs { get; } = Struct().Matches(s_code).ToDictionary(
        m => m.Groups["name"].Value,
        m => m.Groups["fields"].Value.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(f => (TypeOf(f), Name().Match(f).Value)).ToArray());

    /// <summary>Constants of the enumerations.</summary>
    public static IReadOnlyDictionary<string, int> Constants { get; } = Constant().Matches(s_code).ToDictionary(m => m.Groups["name"].Value, m => int.Parse(m.Groups["value"].Value));

    /// <summary>Bytes of a type on a 64-bit machine; its alignment is the same.</summary>
    public static int SizeOf(string type) => type switch
    {
        "int32_t" or "uint32_t" => 4,
        "int64_t" or "uint64_t" or "double" or "size_t" => 8,
        _ when type.EndsWith('*') => 8,
        _ => throw new NotSupportedException($"edgelora.h: '{type}' is no type of its structs"),
    };

    private static string TypeOf(string declaration) => Name().Replace(declaration.Trim(), "").Trim();

    [GeneratedRegex(@"/\*.*?\*/|^\s*#.*?$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Remark();

    [GeneratedRegex(@"EDGELORA_API (?<result>[\w \*]+?)\s*EDGELORA_CALL (?<name>\w+)\((?<parameters>[^)]*)\)")]
    private static partial Regex Function();

    [GeneratedRegex(@"typedef struct (?<name>\w+) \{(?<fields>[^}]*)\}")]
    private static partial Regex Struct();

    [GeneratedRegex(@"\b(?<name>EDGELORA_\w+) = (?<value>\d+)")]
    private static partial Regex Constant();

    [GeneratedRegex(@"\w+$")]
    private static partial Regex Name();
}
