using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Measuring;

/// <summary>Writes PEFT LoRA adapters with random A and B, so that they do something. The same numbers every time.</summary>
internal static class RandomAdapter
{
    /// <summary>Every linear layer of a base but its head: module and the checkpoint's [O, I].</summary>
    public static IReadOnlyList<(string Module, int Outputs, int Inputs)> LayersOf(HfConfig config) =>
        [.. WeightPlan.Of(config).Weights.Where(w => w.Role == WeightRole.Linear && w.Module != "lm_head").Select(w => (w.Module, (int)w.Shape[0], w.Shape.Columns))];

    /// <summary>The same of a base that is open.</summary>
    public static IReadOnlyList<(string Module, int Outputs, int Inputs)> LayersOf(SiteCatalog sites) =>
        [.. sites.Sites.Where(s => s.Linear is not null && s.Name != sites.HeadName).Select(s => (s.Name, s.Linear!.Outputs, s.Linear.Inputs))];

    /// <summary>Writes a LoRA.</summary>
    /// <param name="folder">Where it is written.</param>
    /// <param name="layers">What it acts on.</param>
    /// <param name="rank">R; alpha is the same.</param>
    /// <param name="seed">Where its numbers start.</param>
    /// <param name="conv1D">Whether the base has its weights as GPT-2's Conv1D.</param>
    /// <param name="type">How A and B are stored.</param>
    public static void Write(string folder, IEnumerable<(string Module, int Outputs, int Inputs)> layers, int rank, int seed, bool conv1D = false, DType type = DType.F32)
    {
        List<(string, PeftPart, Tensor)> tensors = [];
        foreach ((string module, int outputs, int inputs) in layers)
        {
            tensors.Add((module, PeftPart.A, RandomModel.Random(module, new Shape(rank, inputs), type, seed++)));
            tensors.Add((module, PeftPart.B, RandomModel.Random(module, new Shape(outputs, rank), type, seed++)));
        }
        PeftConfig config = new() { Rank = rank, Alpha = rank, FanInFanOut = conv1D, TargetModules = [.. tensors.Select(t => t.Item1[(t.Item1.LastIndexOf('.') + 1)..]).Distinct()] };
        PeftAdapter.Create(folder, config, tensors).Write(folder);
    }
}
