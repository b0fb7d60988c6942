using System.CommandLine;
using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary>Adapters named on a command line, opened and checked against each other.</summary>
internal sealed class Operands : IDisposable
{
    private readonly List<PeftAdapter> _owned = [];

    private Operands() { }

    /// <summary>The adapters in their order.</summary>
    public IReadOnlyList<AdapterDeltas> All { get; private set; } = [];

    /// <summary>Opens and checks. Throws <see cref="ModelFileException"/> naming everything that keeps them apart.</summary>
    /// <param name="paths">Adapters of any format, also <c>hf:owner/name</c>.</param>
    /// <param name="options">What their formats may have to be told.</param>
    /// <param name="anyBase">Whether their bases may go by different names.</param>
    /// <param name="wholeTensors">Whether whole tensors must be the same in all.</param>
    public static Operands Open(IReadOnlyList<string> paths, AdapterOptions options, bool anyBase, bool wholeTensors = true)
    {
        Operands operands = new();
        try
        {
            foreach (string path in paths)
                operands._owned.Add(AdapterFormats.Read(HubCache.Resolve(path), options));
            operands.All = [.. paths.Zip(operands._owned, (p, a) => new AdapterDeltas(p, a))];
            AdapterDeltas.Check(operands.All, anyBase, wholeTensors);
            return operands;
        }
        catch
        {
            operands.Dispose();
            throw;
        }
    }

    /// <summary>An option for one number an adapter.</summary>
    public static Option<string?> WeightsOption() => new("--weights") { Description = "Weight of each adapter, separated by commas: 0.7,0.3. Default: 1 each.", HelpName = "numbers" };

    /// <summary>The numbers of <see cref="WeightsOption"/>. Throws <see cref="UsageException"/> where they are not as many as the adapters.</summary>
    public static double[] Weights(string? text, int count)
    {
        if (text is null)
            return [.. Enumerable.Repeat(1.0, count)];
        string[] parts = text.Split(',');
        double[] weights = new double[parts.Length];
        for (int i = 0; i < parts.Length; i++)
            if (!double.TryParse(parts[i], NumberStyles.Float, CultureInfo.InvariantCulture, out weights[i]) || !double.IsFinite(weights[i]))
                throw new UsageException($"--weights {text}: {parts[i]} is no number");
        return parts.Length == count ? weights : throw new UsageException($"--weights {text}: {parts.Length} numbers for {count} adapters");
    }

    /// <summary>Closes them.</summary>
    public void Dispose() => _owned.ForEach(a => a.Dispose());
}
