using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>What a field is about: the headings of its help.</summary>
public enum RecipeSection
{
    /// <summary>Base, parent, output.</summary>
    Model,
    /// <summary>LoRA and its variants.</summary>
    Lora,
    /// <summary>Partial fine-tuning.</summary>
    Freeze,
    /// <summary>Bottleneck adapters.</summary>
    Bottleneck,
    /// <summary>Data.</summary>
    Data,
    /// <summary>Batches and length.</summary>
    Length,
    /// <summary>Optimizer and learning rate.</summary>
    Optimizer,
    /// <summary>Progress, checkpoints, evaluation.</summary>
    Run,
}

/// <summary>One field of a recipe: its name in a file, its flag, its type, its meaning. <see cref="RecipeFields"/> lists them all.</summary>
public sealed class RecipeField
{
    internal delegate bool Parse<T>(RecipeValue value, out T result);

    private readonly Func<TrainingRecipe, RecipeValue, TrainingRecipe?> _apply;
    private readonly Func<TrainingRecipe, string> _show;

    private RecipeField(string[] names, string expects, string help, Func<TrainingRecipe, RecipeValue, TrainingRecipe?> apply, Func<TrainingRecipe, string> show)
    {
        Name = names[0];
        Aliases = names[1..];
        Expects = expects;
        Help = help;
        _apply = apply;
        _show = show;
    }

    /// <summary>The name in a file: <c>lora_rank</c>. The flag is <c>--lora-rank</c>, or <c>--lora_rank</c>.</summary>
    public string Name { get; }

    // A flag that has the field's name says it already.
    internal string At(RecipeValue value) => value.Where.TrimStart('-').Replace('-', '_') == Name ? value.Where : $"{value.Where}: {Name}";

    /// <summary>Other names that mean the same.</summary>
    public IReadOnlyList<string> Aliases { get; }

    /// <summary>What a value must be: <c>a whole number from 1 to 65536</c>.</summary>
    public string Expects { get; }

    /// <summary>What the field does, one sentence.</summary>
    public string Help { get; }

    /// <summary>The heading that it stands under.</summary>
    public RecipeSection Section { get; private set; }

    /// <summary>Methods that know it; empty: all.</summary>
    public IReadOnlyList<TrainingMethod> Methods { get; private set; } = [];

    /// <summary>True for yes or no: its flag may stand without a value.</summary>
    public bool IsSwitch { get; private init; }

    /// <summary>The value that holds where nothing is given, as a file would spell it; <c>null</c>: off, or what <see cref="Help"/> says.</summary>
    public string Default => Show(new TrainingRecipe());

    /// <summary>The value of <paramref name="recipe"/> as a file would spell it.</summary>
    public string Show(TrainingRecipe recipe) => _show(recipe);

    /// <summary>The recipe with this value; null where it is no value of this field.</summary>
    internal TrainingRecipe? Apply(TrainingRecipe recipe, RecipeValue value) => _apply(recipe, value);

    /// <summary>Places it in the table.</summary>
    internal RecipeField In(RecipeSection section, params TrainingMethod[] methods)
    {
        (Section, Methods) = (section, methods);
        return this;
    }

    internal static RecipeField Of<T>(string[] names, string expects, Parse<T> parse, Func<TrainingRecipe, T, TrainingRecipe> set, Func<TrainingRecipe, string> show, string help) =>
        new(names, expects, help, (r, v) => parse(v, out T result) ? set(r, result) : null, show);

    internal static RecipeField Text(string[] names, Func<TrainingRecipe, string?> get, Func<TrainingRecipe, string, TrainingRecipe> set, string help) => Of(names, "a text",
        (RecipeValue v, out string text) => (text = v.Scalar ?? "").Length > 0, set, r => Quote(get(r)), help);

    internal static RecipeField FilePath(string[] names, Func<TrainingRecipe, string?> get, Func<TrainingRecipe, string, TrainingRecipe> set, string help) => Of(names, "a path",
        (RecipeValue v, out string path) => (path = v.Scalar is { Length: > 0 } given ? v.Resolve(given) : "").Length > 0, set, r => Quote(get(r)), help);

    internal static RecipeField Texts(string[] names, Func<TrainingRecipe, IReadOnlyList<string>> get, Func<TrainingRecipe, string[], TrainingRecipe> set, string help) => Of(names, "a list of names",
        (RecipeValue v, out string[] list) => (list = [.. v.List ?? []]).Length > 0 && Array.TrueForAll(list, s => s.Length > 0), set, r => List(get(r)), help);

    internal static RecipeField FilePaths(string[] names, Func<TrainingRecipe, IReadOnlyList<string>> get, Func<TrainingRecipe, string[], TrainingRecipe> set, string help) => Of(names, "a list of files",
        (RecipeValue v, out string[] list) => (list = [.. (v.List ?? []).Select(v.Resolve)]).Length > 0 && Array.TrueForAll(list, p => p.Length > 0), set, r => List(get(r)), help);

    internal static RecipeField Whole(string[] names, long low, long high, Func<TrainingRecipe, long?> get, Func<TrainingRecipe, long, TrainingRecipe> set, string help) =>
        Of(names, high == long.MaxValue || high == int.MaxValue ? $"a whole number of at least {low}" : $"a whole number from {low} to {high}",
            (RecipeValue v, out long number) => RecipeValue.TryWhole(v.Scalar, low, high, out number), set, r => get(r)?.ToString(CultureInfo.InvariantCulture) ?? "null", help);

    internal static RecipeField Number(string[] names, double low, double high, Func<TrainingRecipe, double?> get, Func<TrainingRecipe, double, TrainingRecipe> set, string help) =>
        Of(names, low == double.Epsilon ? "a number above 0" : high == double.MaxValue ? $"a number of at least {Spell(low)}" : $"a number from {Spell(low)} to {Spell(high)}",
            (RecipeValue v, out double number) => RecipeValue.TryNumber(v.Scalar, low, high, out number), set, r => Spell(get(r)), help);

    internal static RecipeField Switch(string[] names, Func<TrainingRecipe, bool> get, Func<TrainingRecipe, bool, TrainingRecipe> set, string help) =>
        new(names, "true or false", help, (r, v) => RecipeValue.TrySwitch(v.Scalar, out bool on) ? set(r, on) : null, r => get(r) ? "true" : "false") { IsSwitch = true };

    /// <summary>One of several words; where two words have one value, the first is written.</summary>
    internal static RecipeField Choice<T>(string[] names, (string Word, T Value)[] words, Func<TrainingRecipe, T> get, Func<TrainingRecipe, T, TrainingRecipe> set, string help) where T : struct => Of(names,
        string.Join(", ", words[..^1].Select(w => w.Word)) + " or " + words[^1].Word,
        (RecipeValue v, out T value) =>
        {
            int at = Array.FindIndex(words, w => string.Equals(w.Word, v.Scalar, StringComparison.OrdinalIgnoreCase));
            value = at < 0 ? default : words[at].Value;
            return at >= 0;
        }, set, r => words.First(w => w.Value.Equals(get(r))).Word, help);

    /// <summary>Numbers for patterns over module names, in ordinal order of the patterns.</summary>
    internal static RecipeField Patterns(string[] names, bool whole, Func<TrainingRecipe, IReadOnlyList<PeftPatternValue>> get, Func<TrainingRecipe, List<PeftPatternValue>, TrainingRecipe> set, string help) =>
        Of(names, $"a map from ends of module names to {(whole ? "ranks" : "numbers above 0")}", (RecipeValue v, out List<PeftPatternValue> patterns) =>
        {
            patterns = [];
            foreach ((string key, string text) in (v.Map ?? []).OrderBy(e => e.Key, StringComparer.Ordinal))
            {
                if (!RecipeValue.TryNumber(text, double.Epsilon, whole ? RecipeFields.MaxRank : double.MaxValue, out double number) || whole && number != Math.Floor(number) || TryPattern(key, PythonPattern.DottedEnd) is not { } pattern)
                    return false;
                patterns.Add(new(pattern, number));
            }
            return v.Map is not null;
        }, set, r => "{" + string.Join(", ", get(r).Select(p => $"{Quote(p.Key.Source)}: {Spell(p.Value)}")) + "}", help);

    /// <summary>The pattern, or null where it is none.</summary>
    internal static PythonPattern? TryPattern(string source, Func<string, PythonPattern> create)
    {
        try
        {
            return create(source);
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    // JSON's strings are YAML's double-quoted ones.
    internal static string Quote(string? text) => text is null or "" ? "null" : $"\"{JsonEncodedText.Encode(text, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    internal static string List(IEnumerable<string> texts) => "[" + string.Join(", ", texts.Select(Quote)) + "]";

    private static string Spell(double? number) => number?.ToString("R", CultureInfo.InvariantCulture) ?? "null";
}
