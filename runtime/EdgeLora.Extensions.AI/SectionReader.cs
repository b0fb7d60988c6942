using System.Globalization;
using System.Numerics;
using Microsoft.Extensions.Configuration;

namespace EdgeLora.Extensions.AI;

/// <summary>Values of a configuration section, by name. What is not there stays as it is; what cannot be read is a fault.</summary>
/// <param name="section">The section.</param>
/// <param name="faults">Where faults go, each with its key, what was expected and what was found.</param>
internal sealed class SectionReader(IConfigurationSection section, List<string> faults)
{
    private readonly List<string> _asked = [];

    public string Text(string name, string value) => Take(name) ?? value;

    public T Number<T>(string name, T value) where T : INumber<T> =>
        Take(name) is not { } text ? value
        : T.TryParse(text, typeof(T) == typeof(double) ? NumberStyles.Float : NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out T? read) ? read
        : Fault(name, typeof(T) == typeof(double) ? "a number" : "a whole number", text, value);

    public bool Flag(string name, bool value) => Take(name) is not { } text ? value : bool.TryParse(text, out bool read) ? read : Fault(name, "true or false", text, value);

    public TimeSpan Time(string name, TimeSpan value) =>
        Take(name) is not { } text ? value : TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out TimeSpan read) && read > TimeSpan.Zero ? read : Fault(name, "a time above 0 like 00:00:00.010", text, value);

    public IReadOnlyList<string> Texts(string name, IReadOnlyList<string> value)
    {
        if (Take(name) is { Length: > 0 } text)
            return Fault(name, "a list", text, value);
        string[] items = [.. section.GetSection(name).GetChildren().Select(c => c.Value ?? "")];
        return items.Length > 0 ? items : value;
    }

    /// <summary>Names that were not asked for, and are not among <paramref name="others"/>, are faults.</summary>
    public void Expect(params ReadOnlySpan<string> others)
    {
        _asked.AddRange(others);
        foreach (IConfigurationSection child in section.GetChildren())
            if (!_asked.Contains(child.Key, StringComparer.OrdinalIgnoreCase))
                faults.Add($"{child.Path}: expected one of {string.Join(", ", _asked)}");
    }

    private string? Take(string name)
    {
        _asked.Add(name);
        return section[name];
    }

    private T Fault<T>(string name, string expected, string found, T value)
    {
        faults.Add($"{section.Path}:{name}: expected {expected}, found {found}");
        return value;
    }
}
