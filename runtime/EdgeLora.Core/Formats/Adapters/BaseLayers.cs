namespace EdgeLora.Core;

/// <summary>A linear layer of a base, as adapters see it.</summary>
/// <param name="Name">Module, in the checkpoint's spelling.</param>
/// <param name="Outputs">O.</param>
/// <param name="Inputs">I.</param>
/// <param name="IsPlain">False for a Conv1D or a table, whose parameter lies [I, O].</param>
/// <param name="Type">How the weight is stored, where it is known.</param>
public readonly record struct BaseLinear(string Name, long Outputs, long Inputs, bool IsPlain = true, DType? Type = null);

/// <summary>The linear layers of a base by name. A checkpoint of the bare model lacks <c>model.</c>, and some adapters have it where the base does not: both names find a layer.</summary>
public sealed class BaseLayers
{
    private const string Model = "model.", Weight = ".weight";

    private readonly Dictionary<string, BaseLinear> _byName;

    /// <summary>These layers.</summary>
    public BaseLayers(IEnumerable<BaseLinear> layers) => _byName = layers.ToDictionary(l => l.Name, StringComparer.Ordinal);

    /// <summary>Those of a base that is only described. Tables are among them.</summary>
    public static BaseLayers Of(AdapterBase model) => new(model.Weights.Where(w => w.Value.Rank == 2 && w.Key.EndsWith(Weight, StringComparison.Ordinal)).Select(w =>
    {
        string name = w.Key[..^Weight.Length];
        bool conv = model.Config.ModelType == "gpt2" && name.StartsWith("transformer.h.", StringComparison.Ordinal), turned = conv && !model.TransposedConv1D;
        return new BaseLinear(name, w.Value[turned ? 1 : 0], w.Value[turned ? 0 : 1], !conv && !TableNames.Contains(name), model.Types?.GetValueOrDefault(w.Key));
    }));

    /// <summary>Every layer.</summary>
    public IReadOnlyCollection<BaseLinear> All => _byName.Values;

    /// <summary>The layer of this name, or null.</summary>
    public BaseLinear? Find(string module) => _byName.TryGetValue(module, out BaseLinear layer) || _byName.TryGetValue(Model + module, out layer)
        || module.StartsWith(Model, StringComparison.Ordinal) && _byName.TryGetValue(module[Model.Length..], out layer) ? layer : null;
}
