using EdgeLora.Core;
using static EdgeLora.Training.RecipeField;

namespace EdgeLora.Training;

/// <summary>The fields of a recipe: this table alone makes the file's fields, the flags, their help, and the answer to a name that is none of them.</summary>
public static class RecipeFields
{
    internal const int MaxRank = 1 << 16;

    private const int Any = int.MaxValue;

    private const double AnyNumber = double.MaxValue;

    private static readonly RecipeField[] s_model =
    [
        FilePath(["model_name_or_path", "base"], r => r.ModelPath, (r, v) => r with { ModelPath = v }, "The base: a model folder, a .gguf file, a tree folder, or hf:owner/name that 'edgelora pull' brought. It is never written."),
        Text(["parent"], r => r.Parent, (r, v) => r with { Parent = v.Trim('/') }, "The node that a new adapter stands on, a path in the tree such as support/alice; its path's adapters are active and frozen. null: the bare base."),
        FilePath(["adapter_init", "adapter_name_or_path"], r => r.AdapterInit, (r, v) => r with { AdapterInit = v }, "An adapter folder, .elora or .onnx_adapter file to start from in place of a fresh one; what it says of rank, alpha and targets holds."),
        FilePath(["output_dir"], r => r.OutputFolder, (r, v) => r with { OutputFolder = v }, "Where the result, its metrics and its checkpoints go."),
        Switch(["overwrite_output_dir"], r => r.OverwriteOutput, (r, v) => r with { OverwriteOutput = v }, "A fresh start into an output_dir with checkpoints of an earlier run removes them. Else it is refused."),
        Choice(["output_format"], [("peft", AdapterFormat.Peft), ("elora", AdapterFormat.Elora)], r => r.OutputFormat, (r, v) => r with { OutputFormat = v },
            "peft: a folder that PEFT loads; elora: one adapter.elora file with the fingerprints of parent and base."),
        Choice(["finetuning_type", "method"], [("lora", TrainingMethod.Lora), ("full", TrainingMethod.Full), ("freeze", TrainingMethod.Freeze), ("bottleneck", TrainingMethod.Bottleneck), ("partial", TrainingMethod.Freeze)],
            r => r.Method, (r, v) => r with { Method = v }, "What trains: low-rank adapters, every weight, some weights (freeze and partial are the same), or bottleneck adapters."),
    ];

    private static readonly RecipeField[] s_lora =
    [
        Whole(["lora_rank", "r"], 1, MaxRank, r => r.LoraRank, (r, v) => r with { LoraRank = (int)v }, "Rank of every pair of A and B."),
        Number(["lora_alpha"], double.Epsilon, AnyNumber, r => r.LoraAlpha, (r, v) => r with { LoraAlpha = v }, "A pair counts alpha/rank. null: twice lora_rank."),
        Number(["lora_dropout"], 0, 0.999, r => r.LoraDropout, (r, v) => r with { LoraDropout = v }, "Part of A's inputs that is dropped while training."),
        Of(["lora_target", "target_modules"], "all, module names or a regular expression", (RecipeValue v, out LoraTargets targets) => RecipeTargets.TryRead(v, out targets), (r, v) => r with { LoraTarget = v },
            r => RecipeTargets.Show(r.LoraTarget), "Which modules get a pair: all (every linear layer but the head), names, or a Python regular expression over whole module names."),
        Patterns(["rank_pattern"], true, r => r.RankPattern, (r, v) => r with { RankPattern = v }, "Other ranks for modules whose name ends so; the first key in alphabetical order that matches counts."),
        Patterns(["alpha_pattern"], false, r => r.AlphaPattern, (r, v) => r with { AlphaPattern = v }, "Other alphas, alike."),
        Switch(["use_rslora"], r => r.UseRslora, (r, v) => r with { UseRslora = v }, "A pair counts alpha/√rank (arXiv:2312.03732)."),
        Switch(["use_dora"], r => r.UseDora, (r, v) => r with { UseDora = v }, "A magnitude for every output trains too (arXiv:2402.09353)."),
        Switch(["pissa_init"], r => r.LoraStart == LoraStart.Pissa, (r, v) => v ? r with { LoraStart = LoraStart.Pissa } : r, "The same as init_lora_weights: pissa."),
        Choice(["init_lora_weights"], [("kaiming", LoraStart.Kaiming), ("gaussian", LoraStart.Gaussian), ("pissa", LoraStart.Pissa), ("true", LoraStart.Kaiming)], r => r.LoraStart, (r, v) => r with { LoraStart = v },
            "How A starts: uniform in ±1/√in (true is the same), normal with deviation 1/rank, or with B as the weight's leading singular part, which the frozen base loses (arXiv:2404.02948)."),
        Number(["loraplus_lr_ratio"], double.Epsilon, AnyNumber, r => r.LoraPlusRatio, (r, v) => r with { LoraPlusRatio = v }, "B, magnitudes and biases learn this much faster than A (arXiv:2402.12354). null: no LoRA+."),
        Number(["loraplus_lr_embedding"], 0, AnyNumber, r => r.LoraPlusEmbeddingRate, (r, v) => r with { LoraPlusEmbeddingRate = v }, "With LoRA+: learning rate of pairs on embeddings."),
        Choice(["bias"], [("none", PeftBias.None), ("lora_only", PeftBias.LoraOnly), ("all", PeftBias.All)], r => r.Bias, (r, v) => r with { Bias = v }, "Which of the base's biases train and are saved: none, those of targeted layers, all."),
        Texts(["additional_target", "modules_to_save"], r => r.ModulesToSave, (r, v) => r with { ModulesToSave = v }, "Modules of which a whole copy trains and is saved, such as lm_head."),
        Of(["layers_to_transform"], "a list of layers, from 0", (RecipeValue v, out int[] layers) => RecipeTargets.TryLayers(v, out layers), (r, v) => r with { LayersToTransform = v },
            r => r.LayersToTransform is { } layers ? $"[{string.Join(", ", layers)}]" : "null", "Layers in which lora_target holds. null: all."),
    ];

    private static readonly RecipeField[] s_freeze =
    [
        Whole(["freeze_trainable_layers"], -4096, 4096, r => r.FreezeTrainableLayers, (r, v) => r with { FreezeTrainableLayers = (int)v }, "The last n layers train; below 0, the first n; 0, none."),
        Texts(["freeze_trainable_modules"], r => r.FreezeTrainableModules, (r, v) => r with { FreezeTrainableModules = v is ["all"] ? [] : v }, "Parts of those layers that train, such as mlp, self_attn. []: all."),
        Texts(["freeze_extra_modules"], r => r.FreezeExtraModules, (r, v) => r with { FreezeExtraModules = v }, "Modules outside of the layers that train too, such as norm, lm_head."),
        Whole(["freeze_lower_layers"], 0, 4096, r => r.FreezeLowerLayers, (r, v) => r with { FreezeLowerLayers = (int)v }, "The embeddings and the lower n layers are frozen, everything above trains. null: freeze_trainable_layers decides."),
        Texts(["trainable_names", "train"], r => r.TrainableNames, (r, v) => r with { TrainableNames = v }, "Weights whose name contains one of these train, and no others: [bias, norm]. []: the layers decide."),
        Switch(["freeze_embeddings"], r => r.FreezeEmbeddings, (r, v) => r with { FreezeEmbeddings = v }, "The embeddings stay frozen, and a head that shares their weight."),
    ];

    private static readonly RecipeField[] s_bottleneck =
    [
        Choice(["bottleneck_placement"], [("houlsby", BottleneckPlacement.Houlsby), ("pfeiffer", BottleneckPlacement.Pfeiffer)], r => r.BottleneckPlacement, (r, v) => r with { BottleneckPlacement = v },
            "Behind attention and feed-forward (arXiv:1902.00751), or behind feed-forward only (arXiv:2005.00247)."),
        Whole(["bottleneck_size"], 1, MaxRank, r => r.BottleneckSize, (r, v) => r with { BottleneckSize = (int)v }, "Width between down and up."),
        Choice(["bottleneck_activation"], [("relu", Activation.Relu), ("gelu", Activation.Gelu)], r => r.BottleneckActivation, (r, v) => r with { BottleneckActivation = v }, "The function between them; gelu is the exact one."),
    ];

    private static readonly RecipeField[] s_data =
    [
        FilePaths(["dataset"], r => r.Dataset, (r, v) => r with { Dataset = v }, "Files to train on: .jsonl, .json, .csv or .txt."),
        FilePaths(["eval_dataset"], r => r.EvalDataset, (r, v) => r with { EvalDataset = v }, "Files to evaluate on."),
        Of(["dataset_format", "formatting"], RowFormats.Names, (RecipeValue v, out string? format) => RowFormats.TryParse(format = v.Scalar?.ToLowerInvariant(), out _) && format is not null, (r, v) => r with { DatasetFormat = v },
            r => Quote(r.DatasetFormat), "What the fields of a row mean. null: told from each file's first row."),
        Of(["columns"], $"a map from {RecipeColumns.Names} to names of fields", (RecipeValue v, out DataColumns columns) => RecipeColumns.TryRead(v, out columns), (r, v) => r with { Columns = v },
            r => RecipeColumns.Show(r.Columns), "Other names of a row's fields, as in dataset_info.json: {prompt: question, response: answer}."),
        Text(["document_separator"], r => r.DocumentSeparator, (r, v) => r with { DocumentSeparator = v }, "Where a document of a text file ends: blank_line, or a text such as <|endoftext|>. null: at the file's end."),
        Switch(["document_start"], r => r.DocumentStart, (r, v) => r with { DocumentStart = v }, "Each document begins with the tokenizer's begin-of-sequence token, also where the tokenizer itself adds none."),
        Of(["template"], $"{string.Join(", ", BuiltInTemplate.Names)} or a Jinja file", (RecipeValue v, out string template) => RecipeColumns.TryTemplate(v, out template), (r, v) => r with { Template = v },
            r => Quote(r.Template), "The chat template: a built-in one's name or a file. null: the model's own."),
        Whole(["cutoff_len"], 2, Any, r => r.CutoffLength, (r, v) => r with { CutoffLength = (int)v }, "Tokens of a sample; what is longer is cut and counted."),
        Switch(["packing"], r => r.Packing, (r, v) => r with { Packing = v }, "Samples share rows of cutoff_len tokens, without attention from one to another."),
        Switch(["train_on_prompt"], r => r.TrainOnPrompt, (r, v) => r with { TrainOnPrompt = v }, "Prompts carry loss too, not only answers."),
        Number(["val_size"], 0, Any, r => r.ValidationSize, (r, v) => r with { ValidationSize = v }, "Samples held out of dataset for evaluation: below 1 a part of them, else a number."),
        Whole(["max_samples"], 1, Any, r => r.MaxSamples, (r, v) => r with { MaxSamples = (int)v }, "At most this many samples of each file. null: all."),
        Switch(["shuffle"], r => r.Shuffle, (r, v) => r with { Shuffle = v }, "Samples are shuffled anew every epoch; false: they come in file order."),
        Whole(["seed"], 0, Any, r => r.Seed, (r, v) => r with { Seed = (int)v }, "Where all random numbers start: shuffling, split, dropout, fresh adapters."),
    ];

    private static readonly RecipeField[] s_length =
    [
        Whole(["per_device_train_batch_size"], 1, MaxRank, r => r.BatchSize, (r, v) => r with { BatchSize = (int)v }, "Rows of one micro-batch."),
        Whole(["gradient_accumulation_steps"], 1, MaxRank, r => r.AccumulationSteps, (r, v) => r with { AccumulationSteps = (int)v }, "Micro-batches of one step; its loss is the mean over all their tokens together."),
        Number(["num_train_epochs"], double.Epsilon, Any, r => r.Epochs, (r, v) => r with { Epochs = v }, "Times that the data is gone through."),
        Of(["max_steps"], "a whole number of at least 1, or -1", (RecipeValue v, out long steps) => RecipeValue.TryWhole(v.Scalar, -1, Any, out steps) && steps != 0, (r, v) => r with { MaxSteps = v < 0 ? null : (int)v },
            r => r.MaxSteps is { } steps ? $"{steps}" : "-1", "Steps of the run, whatever num_train_epochs says. -1: num_train_epochs decides."),
    ];

    private static readonly RecipeField[] s_optimizer =
    [
        Choice(["optim"], [("adamw", OptimizerKind.AdamW), ("sgd", OptimizerKind.Sgd), ("adamw_torch", OptimizerKind.AdamW), ("adamw_torch_fused", OptimizerKind.AdamW)], r => r.Optimizer, (r, v) => r with { Optimizer = v },
            "AdamW with decoupled decay, or plain gradient descent."),
        Number(["learning_rate", "lr"], 0, AnyNumber, r => r.LearningRate, (r, v) => r with { LearningRate = v }, "The rate that the schedule scales."),
        Number(["weight_decay"], 0, AnyNumber, r => r.WeightDecay, (r, v) => r with { WeightDecay = v }, "Decay of everything but biases and norms."),
        Number(["adam_beta1"], 0, 0.9999999, r => r.AdamBeta1, (r, v) => r with { AdamBeta1 = v }, "Memory of the gradient's mean."),
        Number(["adam_beta2"], 0, 0.9999999, r => r.AdamBeta2, (r, v) => r with { AdamBeta2 = v }, "Memory of the gradient's square."),
        Number(["adam_epsilon"], 0, AnyNumber, r => r.AdamEpsilon, (r, v) => r with { AdamEpsilon = v }, "Added to the root of the square."),
        Number(["max_grad_norm"], 0, AnyNumber, r => r.MaxGradNorm, (r, v) => r with { MaxGradNorm = v }, "Gradients of a larger norm are scaled down to it. 0: never."),
        Choice(["lr_scheduler_type"],
            [("linear", ScheduleKind.Linear), ("cosine", ScheduleKind.Cosine), ("constant", ScheduleKind.Constant), ("constant_with_warmup", ScheduleKind.ConstantWithWarmup), ("cosine_with_min_lr", ScheduleKind.CosineWithMinLr), ("polynomial", ScheduleKind.Polynomial)],
            r => r.Schedule, (r, v) => r with { Schedule = v }, "Shape of the learning rate over the steps; the first step of a warm-up has rate 0."),
        Number(["warmup_ratio"], 0, 1, r => r.WarmupRatio, (r, v) => r with { WarmupRatio = v }, "Part of the steps in which the rate rises from 0."),
        Whole(["warmup_steps"], 0, Any, r => r.WarmupSteps, (r, v) => r with { WarmupSteps = (int)v }, "The same as a number of steps."),
        Number(["min_lr_rate"], 0, 1, r => r.MinLrRate, (r, v) => r with { MinLrRate = v }, "With cosine_with_min_lr: the part of the rate that is left at the end."),
        Number(["lr_power", "power"], double.Epsilon, AnyNumber, r => r.LrPower, (r, v) => r with { LrPower = v }, "With polynomial: the power."),
        Number(["lr_end"], 0, AnyNumber, r => r.LrEnd, (r, v) => r with { LrEnd = v }, "With polynomial: the rate at the end."),
    ];

    private static readonly RecipeField[] s_run =
    [
        Switch(["gradient_checkpointing"], r => r.GradientCheckpointing, (r, v) => r with { GradientCheckpointing = v }, "Keeps only each layer's input and computes the rest again on the way back: less memory, more time."),
        Of(["memory_budget"], "a number of bytes, such as 2GB or 512MiB", (RecipeValue v, out long bytes) => RecipeValue.TryBytes(v.Scalar, out bytes), (r, v) => r with { MemoryBudgetBytes = v },
            r => r.MemoryBudgetBytes?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "null", "Memory for training beside the base; jobs that do not fit wait. null: no limit."),
        Whole(["logging_steps"], 1, Any, r => r.LoggingSteps, (r, v) => r with { LoggingSteps = (int)v }, "Steps from one printed line to the next; metrics.jsonl has every step."),
        Whole(["save_steps"], 0, Any, r => r.SaveSteps, (r, v) => r with { SaveSteps = (int)v }, "Steps from one checkpoint to the next. 0: none before the end."),
        Whole(["save_total_limit"], 1, Any, r => r.SaveTotalLimit, (r, v) => r with { SaveTotalLimit = (int)v }, "Checkpoints that are kept, the newest ones. null: all."),
        Whole(["eval_steps"], 1, Any, r => r.EvalSteps, (r, v) => r with { EvalSteps = (int)v }, "Steps from one evaluation to the next. null: before and after only."),
        Whole(["early_stopping_patience"], 1, Any, r => r.EarlyStoppingPatience, (r, v) => r with { EarlyStoppingPatience = (int)v }, "Stops after this many evaluations without a better loss. null: never."),
        Text(["resume_from_checkpoint"], r => r.ResumeFromCheckpoint, (r, v) => r with { ResumeFromCheckpoint = v }, "Goes on from a checkpoint: its folder, or true for the newest in output_dir. null: a fresh start."),
    ];

    /// <summary>All of them, section by section.</summary>
    public static IReadOnlyList<RecipeField> All { get; } =
    [
        .. s_model.Select(f => f.In(RecipeSection.Model, f.Name is "parent" or "adapter_init" or "output_format" ? [TrainingMethod.Lora, TrainingMethod.Bottleneck] : [])),
        .. s_lora.Select(f => f.In(RecipeSection.Lora, TrainingMethod.Lora)),
        .. s_freeze.Select(f => f.In(RecipeSection.Freeze, f.Name == "freeze_embeddings" ? [TrainingMethod.Full, TrainingMethod.Freeze] : [TrainingMethod.Freeze])),
        .. s_bottleneck.Select(f => f.In(RecipeSection.Bottleneck, TrainingMethod.Bottleneck)),
        .. s_data.Select(f => f.In(RecipeSection.Data)),
        .. s_length.Select(f => f.In(RecipeSection.Length)),
        .. s_optimizer.Select(f => f.In(RecipeSection.Optimizer)),
        .. s_run.Select(f => f.In(RecipeSection.Run)),
    ];

    private static readonly Dictionary<string, RecipeField> s_byName =
        All.SelectMany(f => f.Aliases.Append(f.Name), (f, name) => (f, name)).ToDictionary(p => p.name, p => p.f, StringComparer.Ordinal);

    /// <summary>The field of this name or alias (<c>-</c> and <c>_</c> are the same); null where there is none.</summary>
    public static RecipeField? Find(string name) => s_byName.GetValueOrDefault(name.Replace('-', '_'));

    /// <summary>The name nearest to <paramref name="name"/> by edit distance; null where none is near.</summary>
    public static string? Suggest(string name) => NearestName.Of(name.Replace('-', '_').ToLowerInvariant(), s_byName.Keys);
}
