using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What arithmetic made of one site.</summary>
/// <param name="Module">The site.</param>
/// <param name="Rank">Its new rank.</param>
/// <param name="Norm">‖ΔW‖ before anything was left out.</param>
/// <param name="LeftOut">‖ΔW − s·B·A‖ of what was cut off by rank, before rounding to F32; 0 where nothing was.</param>
public sealed record SiteReport(string Module, int Rank, double Norm, double LeftOut)
{
    /// <summary>LeftOut over Norm; 0 for a site without change.</summary>
    public double RelativeError => Norm > 0 ? LeftOut / Norm : 0;
}

/// <summary>An adapter that arithmetic made, and what happened at each site.</summary>
/// <param name="Adapter">The adapter, in memory: F32, scale 1.</param>
/// <param name="Sites">In ordinal order.</param>
public sealed record AdapterResult(PeftAdapter Adapter, IReadOnlyList<SiteReport> Sites) : IDisposable
{
    /// <summary>‖all that was left out‖ over ‖everything‖.</summary>
    public double RelativeError => Sites.Sum(s => s.Norm * s.Norm) is double total and > 0 ? Math.Sqrt(Sites.Sum(s => s.LeftOut * s.LeftOut) / total) : 0;

    /// <summary>Lets the adapter go.</summary>
    public void Dispose() => Adapter.Dispose();
}

/// <summary>Puts an adapter together site by site: every scale is 1.</summary>
/// <param name="source">Where kernels, whole tensors and the configuration's other fields come from; null for a fresh one.</param>
internal sealed class AdapterAssembly(AdapterDeltas? source)
{
    private readonly List<(string Module, PeftPart Part, Tensor Value)> _tensors = [];
    private readonly Dictionary<string, int> _ranks = [];
    private readonly List<SiteReport> _reports = [];

    /// <summary>Adds a site.</summary>
    /// <param name="module">Its name.</param>
    /// <param name="factors">Left·Right.</param>
    /// <param name="kernel">Sizes of a kernel behind A's inputs; empty for a linear layer.</param>
    /// <param name="embedding">Whether it is a table.</param>
    /// <param name="norm">‖ΔW‖.</param>
    /// <param name="leftOut">What was cut off.</param>
    public void Add(string module, SiteFactors factors, ReadOnlySpan<long> kernel, bool embedding, double norm, double leftOut)
    {
        long positions = 1;
        foreach (long size in kernel)
            positions *= size;
        Shape a = new([factors.Rank, factors.Columns / positions, .. kernel]), b = new([factors.Outputs, factors.Rank, .. Enumerable.Repeat(1L, kernel.Length)]);
        _tensors.Add((module, embedding ? PeftPart.EmbeddingA : PeftPart.A, Tensor.FromFloats("", a, Narrow(factors.Right))));
        _tensors.Add((module, embedding ? PeftPart.EmbeddingB : PeftPart.B, Tensor.FromFloats("", b, Narrow(factors.Left))));
        _ranks.Add(module, factors.Rank);
        _reports.Add(new(module, factors.Rank, norm, leftOut));
    }

    /// <summary>Adds a whole tensor in place of the base's.</summary>
    public void Save(string module, PeftPart part, Tensor value) => _tensors.Add((module, part, value));

    /// <summary>The adapter.</summary>
    public AdapterResult Build(string path, Func<PeftConfig, PeftConfig>? finish = null)
    {
        if (_ranks.Count == 0)
            throw new ModelFileException(path, "no site is changed");
        PeftConfig given = source?.Adapter.Config ?? new();
        PeftConfig config = PairConfig.Of(path, _ranks.ToDictionary(r => r.Key, r => (r.Value, (double)r.Value))) with
        {
            TaskType = given.TaskType,
            BaseModel = given.BaseModel,
            FanInFanOut = given.FanInFanOut,
            ModulesToSave = given.ModulesToSave,
            Bias = given.Bias,
            TokenRows = given.TokenRows,
            InvocationTokens = given.InvocationTokens,
            LayerReplication = given.LayerReplication,
            EnsureWeightTying = given.EnsureWeightTying,
        };
        config = finish?.Invoke(config) ?? config;
        foreach (PeftModule module in source?.Adapter.Modules.Values ?? [])
            foreach ((PeftPart part, Tensor tensor) in module.Parts)
                if (part is PeftPart.Weight or PeftPart.Bias or PeftPart.BaseBias or PeftPart.TokenRows)
                    _tensors.Add((module.Name, part, tensor));
        return new(PeftAdapter.Create(path, config, _tensors), _reports);
    }

    private static float[] Narrow(double[] values) => Array.ConvertAll(values, x => (float)x);
}
