using System.Text.RegularExpressions;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What an extraction does with changes that no low-rank pair holds.</summary>
public enum ExtractionRest
{
    /// <summary>They are refused by name.</summary>
    Refuse,
    /// <summary>Norms are saved whole in the adapter; the others are refused by name.</summary>
    Save,
    /// <summary>They are left out.</summary>
    Drop,
}

/// <summary>What an extraction needs beside its models.</summary>
public sealed record ExtractionOptions
{
    /// <summary>Rank of every site (less where a weight is smaller).</summary>
    public int Rank { get; init; } = 16;

    /// <summary>Which sites: a pattern over whole names; null: all that changed.</summary>
    public Regex? Targets { get; init; }

    /// <summary>What is done with changes that no pair holds: norms, biases, matrices that are no target.</summary>
    public ExtractionRest Rest { get; init; }
}

/// <summary>A full fine-tune minus its base as a LoRA of a given rank: the leading singular triples of every weight's difference, which no pair of that rank comes closer to (Eckart-Young), one weight at a time.</summary>
public static class AdapterExtraction
{
    /// <summary>Runs it. Throws <see cref="ModelFileException"/> naming weights of other shapes and what changed and is no matrix.</summary>
    /// <param name="baseModel">The model before training.</param>
    /// <param name="tuned">The model after it.</param>
    /// <param name="options">Rank and choices.</param>
    /// <param name="progress">Told of sites done and in all.</param>
    /// <param name="cancellation">Stops between two sites.</param>
    public static AdapterResult Run(DecoderModel baseModel, DecoderModel tuned, ExtractionOptions options, Action<long, long>? progress = null, CancellationToken cancellation = default)
    {
        string title = $"{tuned.Checkpoint.Path} - {baseModel.Checkpoint.Path}";
        FaultList faults = new(title);
        AdapterAssembly assembly = new(null);
        HashSet<string> saved = [];
        bool tied = false;
        IReadOnlyList<ModelSite> sites = baseModel.Sites.Sites;
        foreach (string name in tuned.Sites.Sites.Select(s => s.Name).Except(sites.Select(s => s.Name)))
            faults.Add($"{name}: the base has no such module");
        for (int i = 0; i < sites.Count; i++, progress?.Invoke(i, sites.Count))
        {
            cancellation.ThrowIfCancellationRequested();
            ModelSite site = sites[i];
            // A tied head is the embedding.
            if (baseModel.Sites.TiedHead && site.Name == baseModel.Sites.HeadName && tuned.Sites.TiedHead)
                continue;
            if (tuned.Sites.Find(site.Name) is not { } after)
            {
                faults.Add($"{site.Name}: the fine-tune has no such module");
                continue;
            }
            Compare(site, new AdapterSource(site, null), new AdapterSource(after, null));
        }
        faults.ThrowIfAny();
        return assembly.Build(title, config => config with { ModulesToSave = [.. saved.Order(StringComparer.Ordinal)], TaskType = "CAUSAL_LM", EnsureWeightTying = tied });

        void Compare(ModelSite site, AdapterSource from, AdapterSource to)
        {
            Tensor before = from.Weight(), now = to.Weight();
            Tensor? oldBias = from.BiasOfWeight(), newBias = to.BiasOfWeight();
            if (before.Shape != now.Shape || oldBias?.Shape != newBias?.Shape)
            {
                faults.Add($"{site.Name}: {before.Shape}{(oldBias is null ? "" : " with a bias")} in the base, {now.Shape}{(newBias is null ? "" : " with a bias")} in the fine-tune");
                return;
            }
            bool weight = !before.Floats.SequenceEqual(now.Floats), bias = oldBias is not null && !oldBias.Floats.SequenceEqual(newBias!.Floats);
            if (site.Norm is not null && (weight || bias) && options.Rest == ExtractionRest.Save)
            {
                assembly.Save(site.Name, PeftPart.Weight, now);
                if (newBias is not null)
                    assembly.Save(site.Name, PeftPart.Bias, newBias);
                saved.Add(site.Name);
                return;
            }
            bool target = site.Norm is null && options.Targets?.IsMatch(site.Name) != false;
            if (weight && target)
                Extract(site, before, now);
            else if (weight && options.Rest != ExtractionRest.Drop)
                faults.Add($"{site.Name}.weight: changed, and is {(site.Norm is null ? "no target" : "no matrix: save it whole with --rest save")}, or leave it out with --rest drop");
            if (bias && options.Rest != ExtractionRest.Drop)
                faults.Add($"{site.Name}.bias: changed, which no low-rank pair holds: leave it out with --rest drop");
        }

        void Extract(ModelSite site, Tensor before, Tensor now)
        {
            // Conv1D and tables are stored the other way round than a delta is.
            bool turned = site.IsConv1D || site.Embedding is not null;
            int rows = (int)before.Shape[0], columns = before.Shape.Columns;
            double[] difference = new double[before.Floats.Length];
            ReadOnlySpan<float> old = before.Floats, fresh = now.Floats;
            for (int k = 0; k < difference.Length; k++)
                difference[k] = (double)fresh[k] - old[k];
            if (turned)
            {
                difference = ThinSvd.Transpose(difference, rows, columns);
                (rows, columns) = (columns, rows);
            }
            int rank = Math.Min(options.Rank, Math.Min(rows, columns));
            (double[] left, double[] right, double leftOut, double norm) = ThinSvd.Leading(difference, rows, columns, rank);
            assembly.Add(site.Name, new(left, right, rows, rank, columns), [], site.Embedding is not null, norm, leftOut);
            if (site.Name != baseModel.Sites.EmbeddingName || !baseModel.Sites.TiedHead || !tuned.Sites.TiedHead)
                return;
            // A pair on the table leaves a tied head alone: the head gets the same change as a pair of its own.
            assembly.Add(baseModel.Sites.HeadName!, new(ThinSvd.Transpose(right, rank, columns), ThinSvd.Transpose(left, rows, rank), columns, rank, rows), [], false, norm, leftOut);
            tied = true;
        }
    }
}
