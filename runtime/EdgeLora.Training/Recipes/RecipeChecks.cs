using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>What a recipe must have, and which of its fields contradict each other.</summary>
internal sealed class RecipeChecks(TrainingRecipe recipe, Dictionary<RecipeField, RecipeValue> values, FaultList faults)
{
    public void Run()
    {
        Require("model_name_or_path", recipe.ModelPath.Length > 0);
        Require("output_dir", recipe.OutputFolder.Length > 0);
        Require("dataset", recipe.Dataset.Count > 0);
        CheckMethod();
        CheckLora();
        CheckSchedule();
        CheckFreeze();
        CheckEvaluation();
    }

    // What has no effect and says nothing new may stay: a file that spells its defaults out is no contradiction.
    private void CheckMethod()
    {
        foreach ((RecipeField field, RecipeValue value) in values.OrderBy(v => v.Key.Name, StringComparer.Ordinal))
            if (field.Methods.Count > 0 && !field.Methods.Contains(recipe.Method) && field.Apply(new(), value) is { } alone && field.Show(alone) != field.Default)
                faults.Add($"{field.At(value)}: has no meaning with finetuning_type {RecipeFields.Find("finetuning_type")!.Show(recipe)}");
    }

    private void CheckLora()
    {
        if (recipe.LayersToTransform is not null && recipe.LoraTarget.Pattern is not null)
            Refuse("layers_to_transform", "cannot stand beside a lora_target that is a pattern: name the layers in it");
        RecipeField pissa = RecipeFields.Find("pissa_init")!;
        if (values.TryGetValue(pissa, out RecipeValue? value) && RecipeValue.TrySwitch(value.Scalar, out bool on) && Given("init_lora_weights") && on != (recipe.LoraStart == LoraStart.Pissa))
            Refuse("pissa_init", $"contradicts init_lora_weights {RecipeFields.Find("init_lora_weights")!.Show(recipe)}");
        if (Given("loraplus_lr_embedding") && recipe.LoraPlusRatio is null && recipe.LoraPlusEmbeddingRate != new TrainingRecipe().LoraPlusEmbeddingRate)
            Refuse("loraplus_lr_embedding", "has no meaning without loraplus_lr_ratio");
    }

    private void CheckSchedule()
    {
        if (recipe is { WarmupRatio: > 0, WarmupSteps: > 0 })
            Refuse("warmup_ratio", "stands beside warmup_steps: give one of them");
        if (recipe.Schedule == ScheduleKind.Constant && (recipe.WarmupRatio > 0 || recipe.WarmupSteps > 0))
            Refuse(recipe.WarmupSteps > 0 ? "warmup_steps" : "warmup_ratio", "lr_scheduler_type constant has no warm-up; constant_with_warmup has");
        if ((recipe.Schedule == ScheduleKind.CosineWithMinLr) != (recipe.MinLrRate > 0))
            Refuse("min_lr_rate", recipe.MinLrRate > 0 ? "needs lr_scheduler_type cosine_with_min_lr" : "is missing: lr_scheduler_type cosine_with_min_lr needs it");
        if (recipe.Schedule == ScheduleKind.Polynomial)
        {
            if (recipe.LrEnd >= recipe.LearningRate)
                Refuse("lr_end", FormattableString.Invariant($"expected less than the learning_rate {recipe.LearningRate}, found {recipe.LrEnd}"));
        }
        else if (recipe.LrPower != 1 || recipe.LrEnd != new TrainingRecipe().LrEnd)
        {
            Refuse(recipe.LrPower != 1 ? "lr_power" : "lr_end", "needs lr_scheduler_type polynomial");
        }
    }

    private void CheckFreeze()
    {
        string[] layers = ["freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules"];
        foreach (string name in layers)
            if (Given(name) && recipe.FreezeLowerLayers is not null)
                Refuse(name, "stands beside freeze_lower_layers: give one of them");
        foreach (string name in layers.Append("freeze_lower_layers"))
            if (Given(name) && recipe.TrainableNames.Count > 0)
                Refuse(name, "stands beside trainable_names: give one of them");
    }

    private void CheckEvaluation()
    {
        if (recipe.ValidationSize > 1 && recipe.ValidationSize != Math.Floor(recipe.ValidationSize))
            Refuse("val_size", FormattableString.Invariant($"expected a part below 1 or a whole number, found {recipe.ValidationSize}"));
        bool data = recipe.ValidationSize > 0 || recipe.EvalDataset.Count > 0;
        if (recipe.ValidationSize > 0 && recipe.EvalDataset.Count > 0)
            Refuse("val_size", "stands beside eval_dataset: give one of them");
        if (recipe.EvalSteps is not null && !data)
            Refuse("eval_steps", "needs val_size or eval_dataset");
        if (recipe.EarlyStoppingPatience is not null && recipe.EvalSteps is null)
            Refuse("early_stopping_patience", "needs eval_steps");
    }

    private bool Given(string name) => recipe.Given.Contains(name);

    private void Require(string name, bool there)
    {
        // A value that could not be read has its fault already.
        if (!there && !Given(name))
            faults.Add($"{name}: is missing");
    }

    private void Refuse(string name, string why) => faults.Add($"{(RecipeFields.Find(name) is { } field && values.TryGetValue(field, out RecipeValue? value) ? field.At(value) : name)}: {why}");
}
