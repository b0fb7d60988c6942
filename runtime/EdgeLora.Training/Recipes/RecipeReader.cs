using System.Text;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Puts a recipe together from its file and its flags, and writes one.</summary>
internal static class RecipeReader
{
    public static TrainingRecipe Read(string? path, IEnumerable<(string Name, string Text)> flags)
    {
        FaultList faults = new(path ?? "command line");
        Dictionary<RecipeField, RecipeValue> values = [];
        if (path is not null)
            foreach ((string name, RecipeValue value) in RecipeYaml.Read(path, faults))
                if (Find(name, value.Where, name, faults) is { } field && !values.TryAdd(field, value))
                    faults.Add($"{value.Where}: {name}: is given twice, first in {values[field].Where}");
        foreach (IGrouping<string, string> flag in flags.GroupBy(f => f.Name.TrimStart('-'), f => f.Text))
            if (Find(flag.Key, "--" + flag.Key, "", faults) is { } field)
                Override(values, field, flag.Key, [.. flag]);
        TrainingRecipe recipe = new() { Source = path ?? "", Given = values.Keys.Select(f => f.Name).ToHashSet() };
        // In the table's order, so that the order of a file means nothing.
        foreach (RecipeField field in RecipeFields.All)
        {
            if (!values.TryGetValue(field, out RecipeValue? value))
                continue;
            if (field.Apply(recipe, value) is { } applied)
                recipe = applied;
            else
                faults.Add($"{field.At(value)}: expected {field.Expects}, found {value.Shown}");
        }
        new RecipeChecks(recipe, values, faults).Run();
        faults.ThrowIfAny();
        return recipe;
    }

    public static string Write(TrainingRecipe recipe)
    {
        StringBuilder text = new();
        foreach (RecipeField field in RecipeFields.All)
            if (field.Show(recipe) is { } value && value != field.Default)
                text.Append(field.Name).Append(": ").Append(value).Append('\n');
        return text.ToString();
    }

    public static bool IsNull(string text) => text is "" or "~" or "null" or "Null" or "NULL";

    private static RecipeField? Find(string name, string where, string shown, FaultList faults)
    {
        RecipeField? field = RecipeFields.Find(name);
        if (field is null)
            faults.Add($"{where}: {(shown.Length > 0 ? shown + ": " : "")}is no field of a recipe" + (faults.Count < FaultList.Limit && RecipeFields.Suggest(name) is { } meant ? $"; did you mean {meant}?" : ""));
        return field;
    }

    // A flag that says null takes back what the file said.
    private static void Override(Dictionary<RecipeField, RecipeValue> values, RecipeField field, string flag, string[] texts)
    {
        if (texts is [string one])
        {
            values.Remove(field);
            if (!IsNull(one))
                values[field] = new("--" + flag, null, one);
            return;
        }
        values[field] = new("--" + flag, null, null, Items: [.. texts.SelectMany(t => new RecipeValue("", null, t).List!)]);
    }
}
