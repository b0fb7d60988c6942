using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Cli;

/// <summary>Lists of token ids and of strengths, and sizes, as the command line spells them.</summary>
internal static class Numbers
{
    /// <summary><c>1,2,3</c>.</summary>
    public static int[] Tokens(string text) => [.. text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries).Select(part =>
        int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id : throw new UsageException($"--tokens: expected ids like 1,2,3, found '{part}'"))];

    /// <summary>A JSON array of ids, or of such arrays. <c>Nested</c> says which.</summary>
    public static (int[][] Rows, bool Nested) TokenFile(string path)
    {
        using JsonDocument document = SafeJson.ReadFile(path);
        JsonElement root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Array)
            throw new ModelFileException(path, $"expected an array of token ids, found {SafeJson.Kind(root.ValueKind)}");
        bool nested = root.GetArrayLength() > 0 && root[0].ValueKind == JsonValueKind.Array;
        return (nested ? [.. root.EnumerateArray().Select((row, i) => Ids(path, row, $"[{i}]"))] : [Ids(path, root, "")], nested);
    }

    /// <summary><c>a=0.3,b/c=0.7</c>.</summary>
    public static IReadOnlyList<(string Node, float Strength)> Blend(string text) => [.. text.Split(',').Select(part =>
    {
        int equals = part.LastIndexOf('=');
        return equals > 0 && float.TryParse(part.AsSpan(equals + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out float strength) && float.IsFinite(strength)
            ? (part[..equals].Trim(), strength)
            : throw new UsageException($"--blend: expected node=strength,…, found '{part}'");
    })];

    /// <summary><c>500M</c>, <c>2G</c>, <c>4096</c>: bytes, with K, M and G of 1024.</summary>
    /// <param name="option">The option, for the message.</param>
    /// <param name="text">What was typed.</param>
    public static long Bytes(string option, string text)
    {
        int power = text.Length == 0 ? 0 : "KMG".IndexOf(char.ToUpperInvariant(text[^1])) + 1;
        return long.TryParse(power > 0 ? text.AsSpan(0, text.Length - 1) : text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number is > 0 and < 1L << 33
            ? number << 10 * power
            : throw new UsageException($"{option}: expected a size like 500M or 2G, found '{text}'");
    }

    private static int[] Ids(string path, JsonElement array, string where)
    {
        if (array.ValueKind != JsonValueKind.Array)
            throw new ModelFileException(path, $"{where}: expected an array of token ids, found {SafeJson.Kind(array.ValueKind)}");
        return [.. array.EnumerateArray().Select((e, i) => e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int id) ? id
            : throw new ModelFileException(path, $"{where}[{i}]: expected a token id, found {SafeJson.Excerpt(e)}"))];
    }
}
