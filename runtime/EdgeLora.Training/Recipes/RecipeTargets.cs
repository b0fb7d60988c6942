using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Reads lora_target and layers_to_transform.</summary>
internal static class RecipeTargets
{
    // A text of these characters is a list of names, as LLaMA-Factory writes it; any other is a pattern, as PEFT does.
    private const string NameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-, ";

    public static bool TryRead(RecipeValue value, out LoraTargets targets)
    {
        targets = LoraTargets.AllLinear;
        if (value.Scalar is { } text && text.AsSpan().ContainsAnyExcept(NameCharacters))
        {
            targets = new([], text);
            return RecipeField.TryPattern(text, PythonPattern.Whole) is not null;
        }
        IReadOnlyList<string> names = value.List ?? [];
        if (names is [string one] && one.ToLowerInvariant() is "all" or "all-linear")
            return true;
        targets = new(names);
        return names.Count > 0 && names.All(n => n.Length > 0);
    }

    public static string Show(LoraTargets targets) => targets.IsAll ? "all" : targets.Pattern is { } pattern ? RecipeField.Quote(pattern) : RecipeField.List(targets.Names);

    public static bool TryLayers(RecipeValue value, out int[] layers)
    {
        List<int> found = [];
        foreach (string text in value.List ?? [])
        {
            if (!RecipeValue.TryWhole(text, 0, 4095, out long layer))
                break;
            found.Add((int)layer);
        }
        layers = [.. found];
        return layers.Length > 0 && layers.Length == value.List!.Count;
    }
}
