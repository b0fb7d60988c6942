using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>
/// All settings of one training run. Each property is one field of a recipe file and one flag; the table in <see cref="RecipeFields"/> names and explains them. Names and
/// defaults are those of transformers' TrainingArguments, peft.LoraConfig and LLaMA-Factory. A recipe that was read is complete and free of contradictions.
/// </summary>
public sealed record TrainingRecipe
{
    /// <summary>The recipe's file; empty where it was made of flags or in code.</summary>
    public string Source { get; init; } = "";

    /// <summary>Names of the fields that the file or a flag set.</summary>
    public IReadOnlySet<string> Given { get; init; } = new HashSet<string>();

    /// <summary>model_name_or_path.</summary>
    public string ModelPath { get; init; } = "";
    /// <summary>parent: a path in the tree, <c>support</c>; null: the bare base.</summary>
    public string? Parent { get; init; }
    /// <summary>adapter_init.</summary>
    public string? AdapterInit { get; init; }
    /// <summary>output_dir.</summary>
    public string OutputFolder { get; init; } = "";
    /// <summary>overwrite_output_dir: a fresh start may remove an earlier run's checkpoints.</summary>
    public bool OverwriteOutput { get; init; }
    /// <summary>output_format.</summary>
    public AdapterFormat OutputFormat { get; init; }
    /// <summary>finetuning_type.</summary>
    public TrainingMethod Method { get; init; }

    /// <summary>lora_rank.</summary>
    public int LoraRank { get; init; } = 8;
    /// <summary>lora_alpha as given; null: <see cref="Alpha"/> is twice the rank.</summary>
    public double? LoraAlpha { get; init; }
    /// <summary>lora_dropout.</summary>
    public double LoraDropout { get; init; }
    /// <summary>lora_target.</summary>
    public LoraTargets LoraTarget { get; init; } = LoraTargets.AllLinear;
    /// <summary>rank_pattern in ordinal order of its keys, which is the order in which a saved configuration is read.</summary>
    public IReadOnlyList<PeftPatternValue> RankPattern { get; init; } = [];
    /// <summary>alpha_pattern, ordered alike.</summary>
    public IReadOnlyList<PeftPatternValue> AlphaPattern { get; init; } = [];
    /// <summary>use_rslora.</summary>
    public bool UseRslora { get; init; }
    /// <summary>use_dora.</summary>
    public bool UseDora { get; init; }
    /// <summary>init_lora_weights; pissa_init sets it too.</summary>
    public LoraStart LoraStart { get; init; }
    /// <summary>loraplus_lr_ratio; null: no LoRA+.</summary>
    public double? LoraPlusRatio { get; init; }
    /// <summary>loraplus_lr_embedding.</summary>
    public double LoraPlusEmbeddingRate { get; init; } = 1e-6;
    /// <summary>bias.</summary>
    public PeftBias Bias { get; init; }
    /// <summary>additional_target.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];
    /// <summary>layers_to_transform; null: all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }

    /// <summary>freeze_trainable_layers.</summary>
    public int FreezeTrainableLayers { get; init; } = 2;
    /// <summary>freeze_trainable_modules; empty: all of a layer.</summary>
    public IReadOnlyList<string> FreezeTrainableModules { get; init; } = [];
    /// <summary>freeze_extra_modules.</summary>
    public IReadOnlyList<string> FreezeExtraModules { get; init; } = [];
    /// <summary>freeze_lower_layers; null: freeze_trainable_layers decides.</summary>
    public int? FreezeLowerLayers { get; init; }
    /// <summary>trainable_names.</summary>
    public IReadOnlyList<string> TrainableNames { get; init; } = [];
    /// <summary>freeze_embeddings.</summary>
    public bool FreezeEmbeddings { get; init; }

    /// <summary>bottleneck_placement.</summary>
    public BottleneckPlacement BottleneckPlacement { get; init; }
    /// <summary>bottleneck_size.</summary>
    public int BottleneckSize { get; init; } = 64;
    /// <summary>bottleneck_activation.</summary>
    public Activation BottleneckActivation { get; init; } = Activation.Relu;

    /// <summary>dataset: files.</summary>
    public IReadOnlyList<string> Dataset { get; init; } = [];
    /// <summary>eval_dataset: files.</summary>
    public IReadOnlyList<string> EvalDataset { get; init; } = [];
    /// <summary>dataset_format; null: told from each file's first row.</summary>
    public string? DatasetFormat { get; init; }
    /// <summary>columns.</summary>
    public DataColumns Columns { get; init; } = new();
    /// <summary>document_separator; null: a text file is one document.</summary>
    public string? DocumentSeparator { get; init; }
    /// <summary>document_start.</summary>
    public bool DocumentStart { get; init; }
    /// <summary>template: a built-in one's name or a file; null: the model's own.</summary>
    public string? Template { get; init; }
    /// <summary>cutoff_len, tokens.</summary>
    public int CutoffLength { get; init; } = 2048;
    /// <summary>packing.</summary>
    public bool Packing { get; init; }
    /// <summary>train_on_prompt.</summary>
    public bool TrainOnPrompt { get; init; }
    /// <summary>val_size: below 1 a part, else a number of samples.</summary>
    public double ValidationSize { get; init; }
    /// <summary>max_samples; null: all.</summary>
    public int? MaxSamples { get; init; }
    /// <summary>shuffle.</summary>
    public bool Shuffle { get; init; } = true;
    /// <summary>seed.</summary>
    public int Seed { get; init; } = 42;

    /// <summary>per_device_train_batch_size, rows.</summary>
    public int BatchSize { get; init; } = 8;
    /// <summary>gradient_accumulation_steps.</summary>
    public int AccumulationSteps { get; init; } = 1;
    /// <summary>num_train_epochs.</summary>
    public double Epochs { get; init; } = 3;
    /// <summary>max_steps; null: <see cref="Epochs"/> decides.</summary>
    public int? MaxSteps { get; init; }

    /// <summary>optim.</summary>
    public OptimizerKind Optimizer { get; init; }
    /// <summary>learning_rate.</summary>
    public double LearningRate { get; init; } = 5e-5;
    /// <summary>weight_decay.</summary>
    public double WeightDecay { get; init; }
    /// <summary>adam_beta1.</summary>
    public double AdamBeta1 { get; init; } = 0.9;
    /// <summary>adam_beta2.</summary>
    public double AdamBeta2 { get; init; } = 0.999;
    /// <summary>adam_epsilon.</summary>
    public double AdamEpsilon { get; init; } = 1e-8;
    /// <summary>max_grad_norm; 0: no clipping.</summary>
    public double MaxGradNorm { get; init; } = 1;
    /// <summary>lr_scheduler_type.</summary>
    public ScheduleKind Schedule { get; init; } = ScheduleKind.Linear;
    /// <summary>min_lr_rate.</summary>
    public double MinLrRate { get; init; }
    /// <summary>lr_power.</summary>
    public double LrPower { get; init; } = 1;
    /// <summary>lr_end.</summary>
    public double LrEnd { get; init; } = 1e-7;
    /// <summary>warmup_ratio.</summary>
    public double WarmupRatio { get; init; }
    /// <summary>warmup_steps.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>gradient_checkpointing.</summary>
    public bool GradientCheckpointing { get; init; }
    /// <summary>memory_budget, bytes; null: no limit.</summary>
    public long? MemoryBudgetBytes { get; init; }
    /// <summary>logging_steps.</summary>
    public int LoggingSteps { get; init; } = 10;
    /// <summary>save_steps; 0: only the end is saved.</summary>
    public int SaveSteps { get; init; } = 500;
    /// <summary>save_total_limit; null: all are kept.</summary>
    public int? SaveTotalLimit { get; init; }
    /// <summary>eval_steps; null: before and after only.</summary>
    public int? EvalSteps { get; init; }
    /// <summary>early_stopping_patience, evaluations; null: never.</summary>
    public int? EarlyStoppingPatience { get; init; }
    /// <summary>resume_from_checkpoint: a folder, <c>true</c> for the newest one of output_dir; null: a fresh start.</summary>
    public string? ResumeFromCheckpoint { get; init; }

    /// <summary>alpha: lora_alpha, or twice the rank where none was given.</summary>
    public double Alpha => LoraAlpha ?? 2.0 * LoraRank;

    /// <summary>What of it concerns the data.</summary>
    /// <param name="vocabularySize">V: tokenised rows beyond it are refused.</param>
    public DataOptions ToDataOptions(int vocabularySize) => new()
    {
        Files = Dataset,
        ValidationFiles = EvalDataset,
        Format = DatasetFormat,
        Template = Template,
        Columns = Columns,
        TrainOnPrompt = TrainOnPrompt,
        CutoffLength = CutoffLength,
        Packing = Packing,
        ValidationSize = ValidationSize,
        Seed = Seed,
        MaxSamples = MaxSamples,
        DocumentSeparator = DocumentSeparator,
        DocumentStart = DocumentStart,
        VocabularySize = vocabularySize,
    };

    /// <summary>S: optimizer steps of the run: max_steps, or as many as the epochs have. A last, shorter step of an epoch counts.</summary>
    /// <param name="batchesPerEpoch">Micro-batches of one epoch.</param>
    public long TotalSteps(long batchesPerEpoch) =>
        MaxSteps ?? (long)Math.Ceiling(Epochs * Math.Max(1, (batchesPerEpoch + AccumulationSteps - 1) / AccumulationSteps));

    /// <summary>w: warm-up steps of a run of <paramref name="totalSteps"/>.</summary>
    public long WarmupOf(long totalSteps) => WarmupSteps > 0 ? WarmupSteps : (long)Math.Ceiling(totalSteps * WarmupRatio);

    /// <summary>Reads a recipe file, flags over it, or flags alone. Throws <see cref="ModelFileException"/> with every fault, each with its line or flag.</summary>
    /// <param name="path">A YAML file; null: flags alone. Relative paths in it are relative to its folder, those in flags to the current one.</param>
    /// <param name="flags">Field or alias, and text; a list may come in several.</param>
    public static TrainingRecipe Read(string? path, IEnumerable<(string Name, string Text)>? flags = null) => RecipeReader.Read(path, flags ?? []);

    /// <summary>The recipe as a file: every field that differs from its default. Reading it gives the same settings.</summary>
    public string ToYaml() => RecipeReader.Write(this);
}
