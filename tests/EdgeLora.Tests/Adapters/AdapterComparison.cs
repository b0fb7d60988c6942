using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Two adapters in the neutral form against each other.</summary>
internal static class AdapterComparison
{
    /// <summary>Every tensor bit for bit (a larger rank may stand around it in zeros), every scale as engines compute it, everything else of the configuration that changes numbers.</summary>
    public static void CheckSame(PeftAdapter expected, PeftAdapter found, string what)
    {
        Assert.Equal(expected.Modules.Keys, found.Modules.Keys);
        foreach (PeftModule module in expected.Modules.Values)
            foreach ((PeftPart part, Tensor tensor) in module.Parts.Where(p => p.Key != PeftPart.BaseWeight))
            {
                Tensor? other = found.Modules[module.Name][part];
                Assert.True(other is not null && other.Type == tensor.Type, $"{what}: {module.Name} {part}: expected {tensor}, found {other}");
                Tensor whole = tensor.Shape.Rank == 2 && other.Shape.Rank == 2 ? tensor.Resized(other.Shape) : tensor;
                Assert.True(whole.Shape.Elements >= tensor.Shape.Elements && whole.Bytes.SequenceEqual(other.Bytes), $"{what}: {module.Name} {part} differs");
            }
        foreach ((LowRankPair pair, LowRankPair other) in LowRankPair.Of(expected, []).Zip(LowRankPair.Of(found, [])))
            Assert.Equal((float)pair.Scale, (float)other.Scale, pair.Scale * 1.3e-7);
        Assert.Equal((expected.Config.UseDora, expected.Config.Bias, expected.Config.LoraBias), (found.Config.UseDora, found.Config.Bias, found.Config.LoraBias));
        Assert.Equal(expected.Config.InvocationTokens, found.Config.InvocationTokens);
    }

    /// <summary>The largest difference between the deltas s·B·A of some pairs, over the largest number of each delta.</summary>
    /// <param name="expected">One.</param>
    /// <param name="found">The other, of the same modules.</param>
    /// <param name="most">How many pairs are compared, spread over all.</param>
    public static double DeltaError(PeftAdapter expected, PeftAdapter found, int most = int.MaxValue)
    {
        Dictionary<string, LowRankPair> others = LowRankPair.Of(found, []).ToDictionary(p => p.Module + p.IsEmbedding);
        double worst = 0;
        List<LowRankPair> pairs = LowRankPair.Of(expected, []);
        for (int i = 0; i < pairs.Count; i += Math.Max(1, pairs.Count / most))
        {
            LowRankPair pair = pairs[i];
            double[] wanted = Delta(pair), have = Delta(others[pair.Module + pair.IsEmbedding]);
            worst = Math.Max(worst, wanted.Zip(have).Max(p => Math.Abs(p.First - p.Second)) / Math.Max(wanted.Max(Math.Abs), 1e-30));
        }
        return worst;
    }

    /// <summary>s·B·A [O, I] in double precision.</summary>
    public static double[] Delta(LowRankPair pair)
    {
        float[] a = pair.A.ToFloats(), b = pair.B.ToFloats();
        int outputs = (int)pair.B.Shape[0], inputs = (int)pair.A.Shape[1];
        double[] delta = new double[(long)outputs * inputs];
        for (int o = 0; o < outputs; o++)
            for (int r = 0; r < pair.Rank; r++)
            {
                double factor = pair.Scale * b[o * pair.Rank + r];
                for (int i = 0; i < inputs; i++)
                    delta[o * inputs + i] += factor * a[r * inputs + i];
            }
        return delta;
    }

    /// <summary>Writes an adapter in a format and reads it again.</summary>
    public static PeftAdapter Through(PeftAdapter adapter, AdapterFileFormat format, AdapterOptions options, string folder)
    {
        string path = Path.Combine(folder, $"{format.Name}-{Guid.NewGuid():N}{format.Extension}");
        if (format.Extension is null)
            Directory.CreateDirectory(path);
        format.Write(adapter, path, options, TestContext.Current.CancellationToken);
        PeftAdapter read = AdapterFormats.Read(path, options);
        Assert.Equal(format.Name, read.Format!.Name);
        return read;
    }

    /// <summary>What conversions may ask of the model in a folder.</summary>
    public static AdapterBase BaseOf(string path)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(path);
        return new(checkpoint.Config, checkpoint.Weights.Tensors.ToDictionary(t => t.Key, t => t.Value.Shape), checkpoint.TransposedConv1D);
    }
}
