using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Reads the recipe.json of a training trace: the settings of a run whose every step another library has computed.</summary>
public static class TraceRecipe
{
    // Fields of recipe.json and of its groups that are fields of a recipe, under the recipe's names.
    private static readonly (string Group, string Field, string Name)[] s_fields =
    [
        ("", "method", "finetuning_type"), ("", "seed", "seed"), ("", "train", "trainable_names"), ("", "lr_scheduler_type", "lr_scheduler_type"), ("", "warmup_steps", "warmup_steps"), ("", "max_steps", "max_steps"),
        ("", "gradient_accumulation_steps", "gradient_accumulation_steps"), ("", "per_device_train_batch_size", "per_device_train_batch_size"), ("", "shuffle", "shuffle"), ("", "max_grad_norm", "max_grad_norm"),
        ("", "lora_dropout", "lora_dropout"), ("optimizer", "name", "optim"), ("optimizer", "learning_rate", "learning_rate"), ("optimizer", "weight_decay", "weight_decay"), ("optimizer", "adam_beta1", "adam_beta1"),
        ("optimizer", "adam_beta2", "adam_beta2"), ("optimizer", "adam_epsilon", "adam_epsilon"), ("optimizer", "loraplus_lr_ratio", "loraplus_lr_ratio"), ("optimizer", "loraplus_lr_embedding", "loraplus_lr_embedding"),
        ("bottleneck", "placement", "bottleneck_placement"), ("bottleneck", "size", "bottleneck_size"), ("bottleneck", "act", "bottleneck_activation"),
        ("", "base", "model_name_or_path"), ("", "adapter_init", "adapter_init"),
    ];

    /// <summary>The settings of <paramref name="folder"/>'s recipe.json; base and adapter_init as full paths. Throws <see cref="ModelFileException"/> with every fault.</summary>
    public static TrainingRecipe Read(string folder)
    {
        string path = Path.Combine(folder, "recipe.json");
        if (!File.Exists(path))
            throw new ModelFileException(folder, "recipe.json is missing");
        using JsonDocument document = SafeJson.Parse(path, SafeJson.ReadBytes(path), "recipe");
        FaultList faults = new(path);
        TrainingRecipe recipe = new() { Source = path };
        HashSet<string> given = [];
        foreach ((string group, string field, string name) in s_fields)
        {
            JsonElement holder = document.RootElement;
            if (holder.ValueKind != JsonValueKind.Object || group.Length > 0 && !holder.TryGetProperty(group, out holder) || holder.ValueKind != JsonValueKind.Object || !holder.TryGetProperty(field, out JsonElement json))
                continue;
            RecipeValue value = json.ValueKind == JsonValueKind.Array
                ? new(field, folder, null, Items: [.. json.EnumerateArray().Select(e => e.ToString())])
                : new(field, folder, json.ToString());
            given.Add(name);
            if (RecipeFields.Find(name)!.Apply(recipe, value) is { } applied)
                recipe = applied;
            else
                faults.Add($"{field}: expected {RecipeFields.Find(name)!.Expects}, found {value.Shown}");
        }
        faults.ThrowIfAny();
        return recipe with { Given = given };
    }
}
