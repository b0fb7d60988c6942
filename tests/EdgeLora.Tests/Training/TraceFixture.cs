using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>One case of ../shared/fixtures/training (made by scripts/training_traces.py there).</summary>
public sealed class TraceFixture : IDisposable
{
    // Methods of their own, without a place in the tree yet.
    private static readonly string[] s_later = ["prompt_tuning", "p_tuning_mlp", "prefix_tuning", "prefix_tuning_projected_gpt2", "ia3", "dpo_lora"];

    private readonly JsonDocument _json;
    private DecoderModel? _model;

    public TraceFixture(string name)
    {
        Folder = SharedFolder.Require("fixtures/training/" + name);
        _json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "recipe.json")));
        Recipe = TraceRecipe.Read(Folder);
    }

    /// <summary>The cases that can be trained, or one that makes its tests skip where the data is absent.</summary>
    public static TheoryData<string> All => new(Names(_ => true));

    /// <summary>Those of <see cref="All"/> that start from a PEFT folder.</summary>
    public static TheoryData<string> Adapters => new(Names(f => File.Exists(Path.Combine(f, "init", "adapter_config.json"))));

    public string Folder { get; }

    public TrainingRecipe Recipe { get; }

    public JsonElement Json => _json.RootElement;

    public bool IsDecoder => !Recipe.ModelPath.EndsWith("bert", StringComparison.Ordinal);

    public DecoderModel Model => _model ??= DecoderModel.Load(BaseCheckpoint.OpenFolder(Recipe.ModelPath), new ReferenceBackend());

    public void Dispose()
    {
        _model?.Dispose();
        _json.Dispose();
    }

    private static IEnumerable<string> Names(Func<string, bool> has) => SharedFolder.Folders("fixtures/training")
        .Where(n => !s_later.Contains(n) && SharedFolder.Require("fixtures/training/" + n) is string folder && File.Exists(Path.Combine(folder, "recipe.json")) && has(folder))
        .DefaultIfEmpty("lora_qv_adamw");
}
