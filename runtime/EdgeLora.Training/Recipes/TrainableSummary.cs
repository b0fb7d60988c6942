using System.Text;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Square targets of one width and rank: LoRA's count <c>Θ = 2·L·d·r</c>, arXiv:2106.09685, section 4.2.</summary>
/// <param name="Matrices">L: targeted matrices [d, d].</param>
/// <param name="Width">d.</param>
/// <param name="Rank">r.</param>
public sealed record SquareTargets(int Matrices, int Width, int Rank)
{
    /// <summary>Θ.</summary>
    public long Parameters => 2L * Matrices * Width * Rank;
}

/// <summary>What a run trains, in numbers, before it starts.</summary>
/// <param name="Trainable">Parameters that train.</param>
/// <param name="BaseParameters">Parameters of the base, a shared weight counted once.</param>
/// <param name="CheckpointBytes">Bytes of the tensors' file that is saved, F32.</param>
/// <param name="Squares">The square ones among LoRA's targets, by width and rank.</param>
public sealed record TrainableSummary(long Trainable, long BaseParameters, long CheckpointBytes, IReadOnlyList<SquareTargets> Squares)
{
    /// <summary>Trainable parameters in percent of the base's.</summary>
    public double PercentOfBase => 100.0 * Trainable / BaseParameters;

    /// <summary>The numbers of an adapter.</summary>
    public static TrainableSummary Of(LoraAdapter adapter, SiteCatalog sites) => new(
        TrainedTensors.Of(adapter.File).Sum(t => t.Shape.Elements), CountBase(sites), adapter.File.WrittenLength,
        [
            .. from delta in adapter.Deltas
               where delta.LowRank is not null && delta.Site.Linear is { } linear && linear.Inputs == linear.Outputs
               group delta by (delta.Site.Linear!.Inputs, delta.LowRank!.Rank) into same
               orderby same.Key
               select new SquareTargets(same.Count(), same.Key.Inputs, same.Key.Rank),
        ]);

    /// <summary>The numbers of full and partial fine-tuning.</summary>
    public static TrainableSummary Of(IReadOnlyList<TrainableWeight> weights, SiteCatalog sites) => new(
        weights.Sum(w => w.Stored.Shape.Elements), CountBase(sites), Safetensors.FileLength([.. weights.Select(w => (w.Key, DType.F32, w.Trained.Shape))], new Dictionary<string, string> { ["format"] = "pt" }), []);

    /// <summary>The numbers as lines of text.</summary>
    public override string ToString()
    {
        StringBuilder text = new(FormattableString.Invariant($"{Trainable:N0} of {BaseParameters:N0} parameters train ({PercentOfBase:F3} % of the base); a checkpoint has {CheckpointBytes:N0} bytes"));
        foreach (SquareTargets s in Squares)
            text.Append(FormattableString.Invariant($"\n{s.Matrices} square targets [{s.Width}, {s.Width}]: Θ = 2·L·d·r = 2·{s.Matrices}·{s.Width}·{s.Rank} = {s.Parameters:N0}"));
        return text.ToString();
    }

    private static long CountBase(SiteCatalog sites) =>
        sites.Sites.SelectMany(s => new[] { AdapterMerge.StoredWeight(s), s.Bias }).OfType<DeviceTensor>().Distinct(ReferenceEqualityComparer.Instance).Cast<DeviceTensor>().Sum(t => t.Shape.Elements);
}
