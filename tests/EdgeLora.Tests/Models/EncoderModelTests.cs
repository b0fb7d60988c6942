using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Models;

public sealed class EncoderModelTests
{
    public static TheoryData<string, string[], string[]> Families => new()
    {
        { "bert-cls", ["query", "value", "output.dense"], ["classifier"] },
        { "roberta-cls", ["query", "value", "intermediate.dense"], ["classifier"] },
        { "distilbert-cls", ["q_lin", "v_lin", "lin2"], ["pre_classifier", "classifier"] },
        { "vit-cls", ["query", "value", "output.dense"], ["classifier"] },
    };

    [Theory, MemberData(nameof(Families))]
    public void A_PEFT_adapter_gives_the_classes_of_the_checkpoint_it_is_merged_into(string name, string[] targets, string[] saved)
    {
        using EncoderFixture fixture = new(name);
        (string folder, Dictionary<string, Tensor?> merged) = fixture.Adapter(targets, saved);
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend), whole = EncoderModel.Load(BaseCheckpoint.OpenFolder(fixture.Copy(merged)), backend);
        using ResidentAdapter adapter = ResidentAdapter.Load(folder, "own", model.Sites, backend);
        AdapterPath path = PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter);
        foreach (EncoderInput input in fixture.Inputs())
        {
            float[] expected = whole.Classify(input, AdapterPath.Root), found = model.Classify(input, path), bare = model.Classify(input, AdapterPath.Root);
            Assert.InRange(GoldenError.Relative(found, expected), 0, 2e-5);
            Assert.True(GoldenError.Relative(bare, expected) > 0.05);
        }
    }

    [Theory, MemberData(nameof(Families))]
    public void Rows_of_one_batch_stand_on_different_nodes_and_change_no_bit_of_each_other(string name, string[] targets, string[] saved)
    {
        using EncoderFixture fixture = new(name);
        using Cpu.CpuBackend backend = new();
        using EncoderModel model = fixture.Load(backend);
        using ResidentAdapter a = ResidentAdapter.Load(fixture.Adapter(targets, saved, 1).Folder, "a", model.Sites, backend), b = ResidentAdapter.Load(fixture.Adapter(targets, saved, 2).Folder, "b", model.Sites, backend);
        AdapterPath onA = PathResolver.Extend(AdapterPath.Root, "a", model.Sites, backend, a), onB = PathResolver.Extend(onA, "a/b", model.Sites, backend, b);
        EncoderInput[] inputs = fixture.Inputs();
        EncoderRow[] rows = [new(inputs[0], onB), new(inputs[1], AdapterPath.Root), new(inputs[2], onA), new(inputs[0], AdapterPath.Root), new(inputs[0], onA)];
        float[][] together = model.Classify(rows);
        for (int i = 0; i < rows.Length; i++)
            Assert.Equal(model.Classify(rows[i].Input, rows[i].Path), together[i]);
        Assert.NotEqual(together[0], together[3]);
        Assert.NotEqual(together[0], together[4]);
    }

    [Theory, MemberData(nameof(Families))]
    public void A_LoRA_trains_down_its_loss_and_its_gradient_is_the_loss_s_slope(string name, string[] targets, string[] saved)
    {
        using EncoderFixture fixture = new(name);
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(LoraAdapter.Load(fixture.Adapter(targets, saved).Folder, "own", model.Sites), backend, null);
        AdapterPath path = PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter);
        using TrainingEngine engine = new(model);
        using AdapterTrainer trainer = new(engine, adapter, path, new(OptimizerKind.AdamW, 0.9, 0.999, 1e-8, 0), _ => (0.01, 0));
        TrainingExample[] examples = [.. fixture.Inputs().Select((input, i) => TrainingExample.OfClass(input, i % model.Classes))];
        double Loss() => engine.Evaluate([new(path.Table, examples, 1.0 / 3)])[0].LossSum / 3;
        double before = Loss();
        Assert.Equal(before, engine.Train([new(path.Table, examples, 1.0 / 3)])[0].LossSum / 3, 1e-12);
        foreach (TrainableTensor tensor in trainer.Tensors.Where(t => t.Key.Contains("layer.0", StringComparison.Ordinal) || t.Key.Contains("classifier", StringComparison.Ordinal)))
        {
            float[] value = tensor.Value.ToFloats(), gradient = tensor.Gradient.ToFloats();
            int at = Array.IndexOf(gradient, gradient.MaxBy(Math.Abs));
            double Shifted(float by)
            {
                float[] moved = [.. value];
                moved[at] += by;
                backend.Write(moved, tensor.Value, 0);
                return Loss();
            }
            double slope = (Shifted(0.01f) - Shifted(-0.01f)) / 0.02;
            backend.Write(value, tensor.Value, 0);
            Assert.True(Math.Abs(slope - gradient[at]) < 0.01 * Math.Abs(slope) + 1e-5, $"{tensor.Key}: gradient {gradient[at]}, slope {slope}");
        }
        for (int step = 0; step < 5; step++)
        {
            trainer.Step(1);
            engine.Train([new(path.Table, examples, 1.0 / 3)]);
        }
        Assert.True(Loss() < before * 0.7, $"{before} -> {Loss()}");
    }

    [Fact]
    public void A_hole_in_the_mask_hides_its_token_and_leaves_the_positions_behind_it()
    {
        using EncoderFixture fixture = new("distilbert-cls");
        // The same model with the tokens moved together: position 2 is what position 3 is.
        Tensor table = fixture.Weight("distilbert.embeddings.position_embeddings.weight");
        float[] positions = table.ToFloats();
        int width = table.Shape.Columns;
        positions.AsSpan(3 * width, 2 * width).ToArray().CopyTo(positions, 2 * width);
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend), moved = EncoderModel.Load(BaseCheckpoint.OpenFolder(fixture.Copy(new Dictionary<string, Tensor?> { [table.Name] = Tensor.FromFloats(table.Name, table.Shape, positions) })), backend);
        float[] holed = model.Classify(EncoderInput.Tokens([5, 6, 0, 7, 8], [1, 1, 0, 1, 1]), AdapterPath.Root);
        Assert.Equal(holed, model.Classify(EncoderInput.Tokens([5, 6, 99, 7, 8], [1, 1, 0, 1, 1]), AdapterPath.Root));
        Assert.Equal(holed, moved.Classify(EncoderInput.Tokens([5, 6, 7, 8]), AdapterPath.Root));
        Assert.NotEqual(holed, model.Classify(EncoderInput.Tokens([5, 6, 7, 8]), AdapterPath.Root));
    }

    [Fact]
    public void RoBERTa_s_padding_takes_no_position_but_a_masked_token_does()
    {
        using EncoderFixture fixture = new("roberta-cls");
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend);
        float[] plain = model.Classify(EncoderInput.Tokens([0, 6, 7, 2]), AdapterPath.Root);
        Assert.Equal(plain, model.Classify(EncoderInput.Tokens([0, 6, 1, 7, 2, 1], [1, 1, 0, 1, 1, 0]), AdapterPath.Root));
        Assert.NotEqual(plain, model.Classify(EncoderInput.Tokens([0, 6, 9, 7, 2], [1, 1, 0, 1, 1]), AdapterPath.Root));
        // 64 rows of positions, of which the first two are padding's.
        Assert.Equal(62, model.Config.ContextLength);
        model.Classify(EncoderInput.Tokens([.. Enumerable.Repeat(5, 62)]), AdapterPath.Root);
        Assert.Contains("62", Assert.Throws<ArgumentException>(() => model.Classify(EncoderInput.Tokens([.. Enumerable.Repeat(5, 63)]), AdapterPath.Root)).Message);
    }

    [Fact]
    public void Rows_that_do_not_fit_are_refused_with_their_number()
    {
        using EncoderFixture fixture = new("bert-cls"), images = new("vit-cls");
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend), vit = images.Load(backend);
        EncoderInput good = EncoderInput.Tokens([5, 6]);
        void Refused(EncoderModel by, EncoderInput input, string why)
        {
            ArgumentException e = Assert.Throws<ArgumentException>(() => by.Classify([new(by == model ? good : EncoderInput.Image(new float[3 * 32 * 32]), AdapterPath.Root), new(input, AdapterPath.Root)]));
            Assert.StartsWith("row 1: ", e.Message);
            Assert.Contains(why, e.Message);
        }
        Refused(model, EncoderInput.Tokens([]), "no tokens");
        Refused(model, EncoderInput.Tokens([320]), "token id 320: expected 0..319");
        Refused(model, EncoderInput.Tokens([1, 2], [1]), "attention mask: expected 2 entries");
        Refused(model, EncoderInput.Tokens([1, 2], [0, 0]), "hides every token");
        Refused(model, EncoderInput.Tokens([1, 2], null, [0, 2]), "token type 2: expected 0..1");
        Refused(model, EncoderInput.Tokens([0, 5, 6], [0, 1, 1]), "first token is padding");
        Refused(model, EncoderInput.Image(new float[3]), "reads tokens");
        Refused(vit, good, "reads images");
        Refused(vit, EncoderInput.Image(new float[3]), "3 x 32 x 32");
        Refused(vit, EncoderInput.Image([.. Enumerable.Repeat(float.NaN, 3 * 32 * 32)]), "value 0 is NaN");
        // Hidden states of left-padded rows are what they are; only the class would be read from padding.
        Assert.Equal(2 * 64, model.Encode([new(EncoderInput.Tokens([0, 5, 6], [0, 1, 1]), AdapterPath.Root)])[0].Length);
    }

    [Fact]
    public void A_base_without_a_classifier_gives_classes_only_where_the_path_brings_one()
    {
        using EncoderFixture fixture = new("roberta-cls");
        Dictionary<string, Tensor?> without = new[] { "dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias" }.ToDictionary(n => "classifier." + n, _ => (Tensor?)null);
        string bare = fixture.Copy(without, c => c.Replace("RobertaForSequenceClassification", "RobertaForMaskedLM"));
        using ReferenceBackend backend = new();
        using EncoderModel model = EncoderModel.Load(BaseCheckpoint.OpenFolder(bare), backend), full = fixture.Load(backend);
        Assert.Equal(["classifier.dense", "classifier.out_proj"], model.MissingHead);
        EncoderInput input = fixture.Inputs()[0];
        InvalidOperationException e = Assert.Throws<InvalidOperationException>(() => model.Classify(input, AdapterPath.Root));
        Assert.Contains("classifier.dense.weight is missing", e.Message);
        string folder = fixture.Adapter(["query", "value"], ["classifier"]).Folder;
        using ResidentAdapter adapter = ResidentAdapter.Load(folder, "own", model.Sites, backend), same = ResidentAdapter.Load(folder, "own", full.Sites, backend);
        Assert.Equal(full.Classify(input, PathResolver.Extend(AdapterPath.Root, "own", full.Sites, backend, same)), model.Classify(input, PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter)));
    }

    [Theory]
    [InlineData("bert-cls", "BertForSequenceClassification", "BertForTokenClassification", "architectures")]
    [InlineData("bert-cls", "\"is_decoder\": false", "\"is_decoder\": true", "is_decoder")]
    [InlineData("bert-cls", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", "hidden_act")]
    [InlineData("bert-cls", "\"2\": \"LABEL_2\"", "\"3\": \"LABEL_2\"", "id2label.2")]
    [InlineData("bert-cls", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "num_attention_heads")]
    [InlineData("vit-cls", "\"patch_size\": 8", "\"patch_size\": 5", "patch_size")]
    [InlineData("vit-cls", "\"patch_size\": 8", "\"patch_size\": 16", "projection.weight")]
    [InlineData("distilbert-cls", "\"dim\": 64", "\"dim\": 32", "word_embeddings.weight")]
    public void A_config_that_cannot_be_is_refused_by_name(string name, string written, string changed, string named)
    {
        using EncoderFixture fixture = new(name);
        string folder = fixture.Copy(new Dictionary<string, Tensor?>(), c => c.Contains(written, StringComparison.Ordinal) ? c.Replace(written, changed) : throw new InvalidOperationException(written));
        using ReferenceBackend backend = new();
        Assert.Contains(named, Assert.Throws<ModelFileException>(() => EncoderModel.Load(BaseCheckpoint.OpenFolder(folder), backend)).Message);
    }

    [Fact]
    public void A_checkpoint_that_says_it_classifies_but_has_no_classifier_is_refused()
    {
        using EncoderFixture fixture = new("bert-cls");
        string folder = fixture.Copy(new Dictionary<string, Tensor?> { ["classifier.weight"] = null });
        using ReferenceBackend backend = new();
        Assert.Contains("classifier.weight: missing", Assert.Throws<ModelFileException>(() => EncoderModel.Load(BaseCheckpoint.OpenFolder(folder), backend)).Message);
    }

    [Fact]
    public void The_names_of_oldand_of_bare_checkpoints_are_read()
    {
        using EncoderFixture fixture = new("bert-cls");
        Dictionary<string, Tensor?> changed = [];
        using (TensorFile file = Safetensors.Open(Path.Combine(fixture.Folder, "model.safetensors")))
            foreach (Tensor tensor in file.Tensors.Values)
            {
                string name = tensor.Name.Replace("LayerNorm.weight", "LayerNorm.gamma").Replace("LayerNorm.bias", "LayerNorm.beta");
                changed[tensor.Name] = Tensor.FromFloats(name.StartsWith("bert.", StringComparison.Ordinal) ? name[5..] : name, tensor.Shape, tensor.ToFloats());
            }
        using ReferenceBackend backend = new();
        using EncoderModel model = fixture.Load(backend), old = EncoderModel.Load(BaseCheckpoint.OpenFolder(fixture.Copy(changed)), backend);
        EncoderInput input = fixture.Inputs()[0];
        Assert.Equal(model.Classify(input, AdapterPath.Root), old.Classify(input, AdapterPath.Root));
        Assert.Equal(model.Sites.Sites.Select(s => s.Name), old.Sites.Sites.Select(s => s.Name));
    }
}
