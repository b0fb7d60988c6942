using System.Text;
using EdgeLora.Core;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Recipes: fields, flags, defaults and what is refused.</summary>
public sealed class TrainingRecipeTests : IDisposable
{
    private const string Complete = "model_name_or_path: base\noutput_dir: out\ndataset: [a.jsonl]\n";

    private readonly string _folder = Directory.CreateTempSubdirectory("recipe").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Defaults_are_those_of_transformers_and_LLaMA_Factory()
    {
        TrainingRecipe recipe = Read(Complete);
        Assert.Equal((TrainingMethod.Lora, 8, 16.0, 0.0, true, LoraStart.Kaiming), (recipe.Method, recipe.LoraRank, recipe.Alpha, recipe.LoraDropout, recipe.LoraTarget.IsAll, recipe.LoraStart));
        Assert.Equal((8, 1, 3.0, null, 5e-5, 0.0), (recipe.BatchSize, recipe.AccumulationSteps, recipe.Epochs, recipe.MaxSteps, recipe.LearningRate, recipe.WeightDecay));
        Assert.Equal((0.9, 0.999, 1e-8, 1.0, ScheduleKind.Linear, 0.0), (recipe.AdamBeta1, recipe.AdamBeta2, recipe.AdamEpsilon, recipe.MaxGradNorm, recipe.Schedule, recipe.WarmupRatio));
        Assert.Equal((2048, false, false, 42, true, 500), (recipe.CutoffLength, recipe.Packing, recipe.TrainOnPrompt, recipe.Seed, recipe.Shuffle, recipe.SaveSteps));
    }

    [Fact]
    public void The_recipes_of_the_methods_table_are_read_and_each_is_a_method_of_its_own()
    {
        string[] files = Directory.GetFiles(Path.Combine(SharedFolder.Repository, "adapters", "recipes", "methods"), "*.yaml");
        Assert.True(files.Length > 1);
        string[] read = [.. files.Select(f => TrainingRecipe.Read(f, [("base", "base"), ("output-dir", "out"), ("dataset", "a.txt")]).ToYaml())];
        Assert.Equal(read.Length, read.Distinct().Count());
        string script = File.ReadAllText(Path.Combine(SharedFolder.Repository, "adapters", "methods-table.sh"));
        Assert.All(files, f => Assert.Contains($" {Path.GetFileNameWithoutExtension(f)} ", script.Replace('"', ' ')));
    }

    [Fact]
    public void A_recipe_in_the_words_of_other_tools_is_read()
    {
        TrainingRecipe recipe = Read("""
            # comments and quotes are YAML's
            model_name_or_path: "bases/llama"
            output_dir: ../out
            dataset: a.jsonl, b.csv
            finetuning_type: lora
            r: 4
            lora_alpha: 32
            lora_target: q_proj,v_proj
            rank_pattern: {down_proj: 2, "layers.1.self_attn.q_proj": 6}
            alpha_pattern:
              o_proj: 3
            modules_to_save: [lm_head]
            layers_to_transform: [0, 1]
            learning_rate: 1e-4
            lr_scheduler_type: cosine
            warmup_ratio: 0.1
            optim: adamw_torch
            packing: yes
            max_steps: -1
            val_size: 0.1
            eval_steps: 50
            memory_budget: 1.5 GiB
            parent: support/
            formatting: ShareGPT
            columns: {messages: turns, system: who}
            template: null
            """);
        Assert.Equal((Path.Combine(_folder, "bases", "llama"), Path.GetFullPath(Path.Combine(_folder, "..", "out")), "support"), (recipe.ModelPath, recipe.OutputFolder, recipe.Parent));
        Assert.Equal([Path.Combine(_folder, "a.jsonl"), Path.Combine(_folder, "b.csv")], recipe.Dataset);
        Assert.Equal((4, 32.0, true, 1e-4, ScheduleKind.Cosine, 0.1), (recipe.LoraRank, recipe.Alpha, recipe.Packing, recipe.LearningRate, recipe.Schedule, recipe.WarmupRatio));
        Assert.Equal(["q_proj", "v_proj"], recipe.LoraTarget.Names);
        Assert.Equal([("down_proj", 2.0), ("layers.1.self_attn.q_proj", 6.0)], recipe.RankPattern.Select(p => (p.Key.Source, p.Value)));
        Assert.Equal([("o_proj", 3.0)], recipe.AlphaPattern.Select(p => (p.Key.Source, p.Value)));
        DataOptions data = recipe.ToDataOptions(256);
        Assert.Equal(("sharegpt", "turns", "who", "input", 0.1, 256), (data.Format, data.Columns.Messages, data.Columns.System, data.Columns.Query, data.ValidationSize, data.VocabularySize));
        Assert.Equal((1, 2, 1610612736L, null), (recipe.ModulesToSave.Count, recipe.LayersToTransform!.Count, recipe.MemoryBudgetBytes, recipe.Template));
    }

    [Theory]
    [InlineData("lora_target: all-linear", true, null), InlineData("lora_target: all", true, null), InlineData("lora_target: [q_proj]", false, null)]
    [InlineData("lora_target: '.*\\.(q|v)_proj'", false, @".*\.(q|v)_proj"), InlineData("target_modules: model.layers.0.self_attn.q_proj", false, null)]
    public void Targets_are_all_names_or_a_pattern(string field, bool all, string? pattern)
    {
        LoraTargets targets = Read(Complete + field).LoraTarget;
        Assert.Equal((all, pattern, all || pattern is not null ? 0 : 1), (targets.IsAll, targets.Pattern, targets.Names.Count));
    }

    [Fact]
    public void Every_fault_is_named_with_its_line()
    {
        ModelFileException refusal = Refuse("""
            output_dir: out
            lora_rnak: 8
            lora_alpha: eight
            per_device_train_batch_size: 0
            use_dora: perhaps
            warmup_ratio: 0.1
            warmup_steps: 10
            lr_scheduler_type: cosin
            dataset: {a: [1]}
            lora_target: "(q_proj"
            columns: {promt: a}
            template: chatmI
            """);
        Assert.EndsWith("recipe.yaml", refusal.FilePath, StringComparison.Ordinal);
        Assert.Equal(
        [
            "line 9: dataset: holds lists, maps or aliases inside of a list or map",
            "line 2: lora_rnak: is no field of a recipe; did you mean lora_rank?",
            "line 3: lora_alpha: expected a number above 0, found 'eight'",
            "line 10: lora_target: expected all, module names or a regular expression, found '(q_proj'",
            "line 5: use_dora: expected true or false, found 'perhaps'",
            "line 11: columns: expected a map from prompt, query, response, history, system, messages, tools, text to names of fields, found a map of 1",
            "line 12: template: expected alpaca, chatml, llama3, plain or a Jinja file, found 'chatmI'",
            "line 4: per_device_train_batch_size: expected a whole number from 1 to 65536, found '0'",
            "line 8: lr_scheduler_type: expected linear, cosine, constant, constant_with_warmup, cosine_with_min_lr or polynomial, found 'cosin'",
            "model_name_or_path: is missing",
            "dataset: is missing",
            "line 6: warmup_ratio: stands beside warmup_steps: give one of them",
        ], refusal.Faults);
    }

    [Theory]
    [InlineData("finetuning_type: full\nlora_rank: 16", "line 5: lora_rank: has no meaning with finetuning_type full")]
    [InlineData("method: partial\nparent: support", "line 5: parent: has no meaning with finetuning_type freeze")]
    [InlineData("bottleneck_size: 8", "line 4: bottleneck_size: has no meaning with finetuning_type lora")]
    [InlineData("pissa_init: true\ninit_lora_weights: gaussian", "line 4: pissa_init: contradicts init_lora_weights gaussian")]
    [InlineData("layers_to_transform: [0]\nlora_target: '.*q_proj'", "line 4: layers_to_transform: cannot stand beside")]
    [InlineData("lr_scheduler_type: constant\nwarmup_steps: 3", "line 5: warmup_steps: lr_scheduler_type constant has no warm-up")]
    [InlineData("lr_scheduler_type: cosine_with_min_lr", "min_lr_rate: is missing")]
    [InlineData("lr_power: 2", "line 4: lr_power: needs lr_scheduler_type polynomial")]
    [InlineData("lr_scheduler_type: polynomial\nlr_end: 1", "line 5: lr_end: expected less than the learning_rate 5E-05, found 1")]
    [InlineData("val_size: 0.1\neval_dataset: b.jsonl", "line 4: val_size: stands beside eval_dataset")]
    [InlineData("val_size: 1.5", "line 4: val_size: expected a part below 1 or a whole number, found 1.5")]
    [InlineData("eval_steps: 5", "line 4: eval_steps: needs val_size or eval_dataset")]
    [InlineData("early_stopping_patience: 5", "line 4: early_stopping_patience: needs eval_steps")]
    [InlineData("method: freeze\ntrainable_names: [bias]\nfreeze_lower_layers: 1", "line 6: freeze_lower_layers: stands beside trainable_names")]
    [InlineData("lora_rank: 4\nr: 8", "line 5: r: is given twice, first in line 4")]
    [InlineData("lora_rank: &a 4\nseed: *a", "line 5: seed: aliases are not read")]
    [InlineData("---\nseed: 1", "a second document begins")]
    [InlineData("seed: [1", "is no YAML")]
    [InlineData("max_steps: 0", "line 4: max_steps: expected a whole number of at least 1, or -1, found '0'")]
    [InlineData("memory_budget: lots", "line 4: memory_budget: expected a number of bytes")]
    public void A_contradiction_is_refused(string fields, string fault) =>
        Assert.Contains(Refuse(Complete + fields).Faults, f => f.StartsWith(fault, StringComparison.Ordinal) || f.Contains(fault, StringComparison.Ordinal) && !fault.StartsWith("line", StringComparison.Ordinal));

    [Fact]
    public void A_default_that_is_spelled_out_contradicts_nothing() =>
        Assert.Equal(TrainingMethod.Full, Read(Complete + "finetuning_type: full\nlora_dropout: 0.0\nlora_rank: 8\nlora_target: all").Method);

    [Fact]
    public void A_flag_wins_over_the_file_and_null_takes_back()
    {
        string path = Write(Complete + "lora_rank: 4\nlora_alpha: 5\ntemplate: chatml");
        TrainingRecipe recipe = TrainingRecipe.Read(path, [("lora-rank", "16"), ("--template", "null"), ("lora_target", "q_proj"), ("lora_target", "v_proj"), ("use-dora", "true"), ("output-dir", "here")]);
        Assert.Equal((16, 5.0, null, true, "here"), (recipe.LoraRank, recipe.Alpha, recipe.Template, recipe.UseDora, recipe.OutputFolder));
        Assert.Equal(["q_proj", "v_proj"], recipe.LoraTarget.Names);
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => TrainingRecipe.Read(null, [("lora-rnak", "1"), ("seed", "x"), ("lr", "1"), ("lr", "2")]));
        Assert.Contains("--lora-rnak: is no field of a recipe; did you mean lora_rank?", refusal.Faults);
        Assert.Contains("--seed: expected a whole number of at least 0, found 'x'", refusal.Faults);
        Assert.Contains("--lr: learning_rate: expected a number of at least 0, found a list of 2", refusal.Faults);
    }

    [Fact]
    public void A_written_recipe_reads_as_the_same()
    {
        TrainingRecipe recipe = Read(Complete + """
            lora_rank: 4
            rank_pattern: {"q_proj": 2, 'v\.proj': 3}
            alpha_pattern: {o_proj: 1.5}
            lora_target: '.*\."q"_proj'
            use_rslora: true
            pissa_init: true
            loraplus_lr_ratio: 16
            bias: all
            additional_target: [lm_head, norm]
            val_size: 0.05
            columns: {prompt: "a: b", text: '<x>'}
            template: plain
            document_separator: "<|end|>\t"
            eval_steps: 3
            max_steps: 7
            memory_budget: 2GB
            learning_rate: 0.1e-3
            """);
        TrainingRecipe again = Read(recipe.ToYaml());
        Assert.All(RecipeFields.All, f => Assert.Equal(f.Show(recipe), f.Show(again)));
    }

    [Fact]
    public void Every_field_has_a_name_of_its_own_an_explanation_and_a_default_that_reads_back()
    {
        Assert.All(RecipeFields.All, f =>
        {
            Assert.True(f.Help.Length > 15 && f.Help.EndsWith('.') && f.Expects.Length > 3, f.Name);
            Assert.Same(f, RecipeFields.Find(f.Name.Replace('_', '-')));
            Assert.Equal(f.Name, RecipeFields.Suggest(f.Name));
            if (f.Default is not ("null" or "[]" or "{}"))
                Assert.Equal(f.Default, f.Show(Read(Complete + $"{f.Name}: {f.Default}")));
        });
        Assert.True(RecipeFields.All.Count >= 60);
    }

    [Fact]
    public void A_broken_file_is_refused_and_nothing_else_happens()
    {
        const string Nasty = "{}[]:-,#&*!|>'\"%@`\n\t \0?\u00ff";
        byte[] whole = Encoding.UTF8.GetBytes(Complete + "rank_pattern: {q_proj: 2, v_proj: 3}\nlora_target: |\n  q_proj\nlayers_to_transform:\n- 0\n- 1\ntemplate: \"a\\tb\"\n");
        string path = Path.Combine(_folder, "broken.yaml");
        Random random = new(5);
        for (int round = 0; round < 400; round++)
        {
            byte[] bytes = (byte[])whole.Clone();
            for (int i = random.Next(1, 6); i > 0; i--)
                bytes[random.Next(bytes.Length)] = (byte)Nasty[random.Next(Nasty.Length)];
            File.WriteAllBytes(path, bytes);
            try
            {
                TrainingRecipe.Read(path);
            }
            catch (ModelFileException)
            {
            }
        }
    }

    [Fact]
    public void A_file_that_is_not_there_or_no_text_is_refused()
    {
        Assert.Contains("no such file", Assert.Throws<ModelFileException>(() => TrainingRecipe.Read(Path.Combine(_folder, "none.yaml"))).Message, StringComparison.Ordinal);
        File.WriteAllBytes(Path.Combine(_folder, "latin.yaml"), [(byte)'a', 0xE4]);
        Assert.Throws<ModelFileException>(() => TrainingRecipe.Read(Path.Combine(_folder, "latin.yaml")));
        Assert.Contains("line 1: expected fields (name: value)", Refuse("- a\n- b").Faults);
    }

    private string Write(string yaml)
    {
        string path = Path.Combine(_folder, "recipe.yaml");
        File.WriteAllText(path, yaml);
        return path;
    }

    private TrainingRecipe Read(string yaml) => TrainingRecipe.Read(Write(yaml));

    private ModelFileException Refuse(string yaml) => Assert.Throws<ModelFileException>(() => Read(yaml));
}
