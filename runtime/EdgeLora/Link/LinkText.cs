using System.Globalization;

namespace EdgeLora;

/// <summary>Names and lists of faults as the link spells them.</summary>
internal static class LinkText
{
    // What a person reads of a file that fits nowhere; all of it could be larger than a frame.
    private const int MostFaults = 50, MostLetters = 1000;

    /// <summary>An enum's name with a small first letter.</summary>
    public static string Of<T>(T value)
        where T : struct, System.Enum
    {
        string name = value.ToString();
        return char.ToLowerInvariant(name[0]) + name[1..];
    }

    /// <summary>The enum's value that a field names. Throws <see cref="LinkException"/> for a name that is none.</summary>
    public static T Value<T>(LinkMessage message, string field)
        where T : struct, System.Enum
    {
        string name = message.Text(field);
        return Array.Find(System.Enum.GetValues<T>(), v => Of(v) == name) is { } found && Of(found) == name
            ? found
            : throw new LinkException(LinkErrorKind.Usage, $"{field}: expected {string.Join(", ", System.Enum.GetValues<T>().Select(Of))}, found '{Short(name)}'");
    }

    /// <summary>The first faults, and how many more there are.</summary>
    public static IReadOnlyList<string> Short(IReadOnlyList<string> faults) => faults.Count <= MostFaults
        ? [.. faults.Select(Short)]
        : [.. faults.Take(MostFaults).Select(Short), string.Create(CultureInfo.InvariantCulture, $"and {faults.Count - MostFaults} more")];

    /// <summary>The beginning of a long text.</summary>
    public static string Short(string text) => text.Length <= MostLetters ? text : text[..MostLetters] + "…";
}
