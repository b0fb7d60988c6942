using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Formats;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Sums, decompositions and comparisons of adapters against ../shared/fixtures/peft/llama-blends (PEFT's add_weighted_adapter, scripts/peft_adapters.py) and against numbers that are known beforehand.</summary>
public sealed class ArithmeticTests : IDisposable
{
    private readonly List<PeftAdapter> _open = [];

    public void Dispose() => _open.ForEach(a => a.Dispose());

    [Theory]
    [InlineData("cat", BlendMethod.Cat, 0.3, 0.7)]
    [InlineData("cat_negative", BlendMethod.Cat, 1.2, -0.5)]
    [InlineData("linear", BlendMethod.Linear, 0.3, 0.7)]
    [InlineData("linear_negative", BlendMethod.Linear, 1.2, -0.5)]
    [InlineData("svd", BlendMethod.Svd, 0.3, 0.7)]
    [InlineData("svd_rank8", BlendMethod.Svd, 0.3, 0.7, 1, 8)]
    [InlineData("ties", BlendMethod.Ties, 1, 0.8, 0.5)]
    [InlineData("ties_frequency", BlendMethod.Ties, 1, 0.8, 0.6, null, SignElection.Frequency)]
    [InlineData("ties_svd", BlendMethod.TiesSvd, 1, 0.8, 0.5)]
    [InlineData("magnitude_prune", BlendMethod.MagnitudePrune, 1, 0.8, 0.4)]
    public void A_blend_is_PEFT_s(string kind, BlendMethod method, double first, double second, double density = 1, int? rank = null, SignElection election = SignElection.Total)
    {
        AdapterDeltas[] operands = [Open("llama-blends/a"), Open("llama-blends/b")];
        AdapterDeltas.Check(operands, anyBase: false);
        using AdapterResult made = AdapterBlend.Run(operands, new(method, [first, second]) { Density = density, Rank = rank, Election = election });
        PeftAdapter expected = Open("llama-blends/" + kind).Adapter;
        Assert.Equal(expected.Modules.Keys, made.Adapter.Modules.Keys);
        foreach (string module in expected.Modules.Keys)
        {
            double[] wanted = DiffusionFiles.Delta(expected, module), found = DiffusionFiles.Delta(made.Adapter, module);
            double error = wanted.Zip(found, (a, b) => Math.Abs(a - b)).Max() / wanted.Max(Math.Abs);
            Assert.True(error < 1e-5, $"{kind} {module}: error {error:g3}");
        }
    }

    [Fact]
    public void DARE_keeps_or_drops_each_entry_and_draws_the_same_for_the_same_seed()
    {
        AdapterDeltas[] one = [Open("llama-blends/a")];
        using AdapterResult first = AdapterBlend.Run(one, new(BlendMethod.DareLinear, [0.5]) { Density = 0.7, Seed = 3 }), again = AdapterBlend.Run(one, new(BlendMethod.DareLinear, [0.5]) { Density = 0.7, Seed = 3 }),
            other = AdapterBlend.Run(one, new(BlendMethod.DareLinear, [0.5]) { Density = 0.7, Seed = 4 });
        const string Module = "model.layers.0.self_attn.q_proj";
        float[] original = one[0].A(Module).ToFloats(), made = first.Adapter.Modules[Module][PeftPart.A]!.ToFloats();
        // √(w·s) on each of A and B: 0.5 times a scale of 2.
        Assert.All(original.Zip(made), p => Assert.True(p.Second == 0 || Math.Abs(p.Second - p.First / 0.7) < 1e-6));
        Assert.InRange(made.Count(x => x != 0) / (double)made.Length, 0.6, 0.8);
        Assert.Equal(made, again.Adapter.Modules[Module][PeftPart.A]!.ToFloats());
        Assert.NotEqual(made, other.Adapter.Modules[Module][PeftPart.A]!.ToFloats());
        using AdapterResult all = AdapterBlend.Run(one, new(BlendMethod.DareTiesSvd, [1]) { Density = 1 });
        Assert.All(all.Sites, s => Assert.InRange(s.RelativeError, 0, 1e-7));
    }

    [Theory]
    [InlineData(40, 30, BlendMethod.Svd)]
    [InlineData(40, 30, BlendMethod.MagnitudePruneSvd)]
    [InlineData(30, 40, BlendMethod.MagnitudePruneSvd)]
    [InlineData(300, 260, BlendMethod.Svd)]
    [InlineData(300, 260, BlendMethod.MagnitudePruneSvd)]
    public void What_a_smaller_rank_leaves_out_is_the_tail_of_the_singular_values(int outputs, int inputs, BlendMethod method)
    {
        const int Full = 20, Cut = 6;
        double[] singular = [.. Enumerable.Range(0, Full).Select(k => Math.Pow(0.8, k))];
        PeftAdapter adapter = Known(outputs, inputs, singular);
        using AdapterResult made = AdapterBlend.Run([new("known", adapter)], new(method, [1]) { Rank = Cut });
        double tail = Math.Sqrt(singular.Skip(Cut).Sum(s => s * s)), whole = Math.Sqrt(singular.Sum(s => s * s));
        SiteReport site = made.Sites.Single();
        Assert.Equal((Cut, true, true), (site.Rank, Math.Abs(site.LeftOut - tail) < 1e-6, Math.Abs(site.Norm - whole) < 1e-6));
        // And it is what the result really lacks.
        double[] before = DiffusionFiles.Delta(adapter, "m"), after = DiffusionFiles.Delta(made.Adapter, "m");
        Assert.InRange(Math.Sqrt(before.Zip(after, (a, b) => (a - b) * (a - b)).Sum()), tail - 1e-6, tail + 1e-6);
    }

    [Fact]
    public void An_error_bound_finds_the_smallest_rank()
    {
        PeftAdapter adapter = Known(30, 20, [1, 0.5, 0.1, 0.01]);
        double total = Math.Sqrt(1 + 0.25 + 0.01 + 0.0001);
        using AdapterResult tight = AdapterBlend.Run([new("known", adapter)], new(BlendMethod.Svd, [1]) { Error = 0.02 / total }), loose = AdapterBlend.Run([new("known", adapter)], new(BlendMethod.Svd, [1]) { Error = 0.2 / total });
        Assert.Equal((3, 2), (tight.Sites[0].Rank, loose.Sites[0].Rank));
    }

    [Fact]
    public void Cosines_from_factors_are_those_of_the_dense_changes()
    {
        AdapterDeltas a = Open("llama-blends/a"), b = Open("llama-blends/b");
        AdapterInterference pair = AdapterInterference.Of(a, b), self = AdapterInterference.Of(a, a);
        const string Module = "model.layers.1.self_attn.v_proj";
        double[] first = DiffusionFiles.Delta(a.Adapter, Module), second = DiffusionFiles.Delta(b.Adapter, Module);
        SiteAngle site = pair.Sites.Single(s => s.Module == Module);
        double dot = first.Zip(second, (x, y) => x * y).Sum(), one = Math.Sqrt(first.Sum(x => x * x)), two = Math.Sqrt(second.Sum(x => x * x));
        Assert.Equal(dot / one / two, site.Cosine, 12);
        Assert.Equal(Math.Sqrt(first.Zip(second, (x, y) => (x - y) * (x - y)).Sum()), site.Difference, 10);
        Assert.Equal(1, self.Cosine, 12);
        Assert.InRange(self.Difference, 0, 1e-12);
        // o_proj is b's alone, q_proj a's: they count in one norm each.
        Assert.Equal((0.0, true), (pair.Sites.Single(s => s.Module == "model.layers.0.self_attn.o_proj").FirstNorm, Math.Abs(pair.Cosine) < Math.Abs(site.Cosine) || pair.Cosine < 1));
        Assert.Equal(9, pair.Sites.Count);
    }

    [Fact]
    public void Scaling_changes_alpha_and_no_number()
    {
        AdapterDeltas a = Open("llama-patterns");
        PeftAdapter scaled = AdapterBlend.Scaled(a, -0.25);
        Assert.All(a.Sites, s => Assert.Equal(-0.25 * a.Scale(s), scaled.Config.ScaleOf(s, (int)a.A(s).Shape[0])));
        Assert.Same(a.Adapter.Modules[a.Sites[0]][PeftPart.A], scaled.Modules[a.Sites[0]][PeftPart.A]);
    }

    [Theory]
    [InlineData("llama-dora", "llama-qv", "use_dora")]
    [InlineData("llama-pissa/trained", "llama-qv", "init_lora_weights that changed the base")]
    [InlineData("llama-lora-bias", "llama-qv", "lora_bias")]
    [InlineData("llama-save-head", "llama-qv", "lm_head.weight: ")]
    [InlineData("llama-alora", "llama-qv", "alora_invocation_tokens: ")]
    [InlineData("llama-replicated", "llama-qv", "layer_replication: ")]
    [InlineData("llama-tokens", "llama-qv", "trainable_token_indices: ")]
    [InlineData("llama-lntuning", "llama-qv", "peft_type LN_TUNING")]
    [InlineData("qwen2-lora-bias", "llama-qv", "base_model_name_or_path")]
    public void What_cannot_be_added_is_refused_by_name(string first, string second, string reason)
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => AdapterDeltas.Check([Open(first), Open(second)], anyBase: false));
        Assert.Contains(reason, e.Message);
    }

    [Fact]
    public void Shapes_and_ranks_that_do_not_go_together_are_named()
    {
        AdapterDeltas[] shapes = [new("one", Known(30, 20, [1])), new("two", Known(30, 24, [1]))];
        Assert.Contains("m: one has [30, 1]·[1, 20], two has [30, 1]·[1, 24]", Assert.Throws<ModelFileException>(() => AdapterDeltas.Check(shapes, anyBase: false)).Message);
        AdapterDeltas[] ranks = [new("one", Known(30, 20, [1])), new("two", Known(30, 20, [1, 1]))];
        AdapterDeltas.Check(ranks, anyBase: false);
        Assert.Contains("Linear adds factor by factor and needs one rank, found one 1, two 2", Assert.Throws<ModelFileException>(() => AdapterBlend.Run(ranks, new(BlendMethod.Linear, [1, 1]))).Message);
    }

    [Fact]
    public void Whole_tensors_that_all_have_are_taken_along()
    {
        AdapterDeltas[] same = [Open("llama-save-head"), Open("llama-save-head")];
        AdapterDeltas.Check(same, anyBase: false);
        using AdapterResult made = AdapterBlend.Run(same, new(BlendMethod.Cat, [0.5, 0.5]));
        Assert.True(made.Adapter.Modules["lm_head"][PeftPart.Weight]!.Bytes.SequenceEqual(same[0].Adapter.Modules["lm_head"][PeftPart.Weight]!.Bytes));
        Assert.Equal(same[0].Adapter.Config.ModulesToSave, made.Adapter.Config.ModulesToSave);
    }

    [Fact]
    public void Convolutions_keep_their_kernels()
    {
        AdapterDeltas conv = new("conv", Keep(AdapterFormats.Read(SharedFolder.Require("fixtures/diffusion/lora/conv/kohya.safetensors"))));
        using AdapterResult made = AdapterBlend.Run([conv], new(BlendMethod.Svd, [1]) { Rank = 2 });
        Tensor a = made.Adapter.Modules["unet.down_blocks.0.resnets.0.conv1"][PeftPart.A]!;
        Assert.Equal("[2, 32, 3, 3]", a.Shape.ToString());
        Assert.InRange(made.RelativeError, 0.01, 0.99);
    }

    private AdapterDeltas Open(string name) => new(name, Keep(PeftAdapter.Open(SharedFolder.Require("fixtures/peft/" + name))));

    private PeftAdapter Keep(PeftAdapter adapter)
    {
        _open.Add(adapter);
        return adapter;
    }

    // B·A with these singular values: both sides are orthonormalised draws.
    private static PeftAdapter Known(int outputs, int inputs, double[] singular)
    {
        Random random = new(11);
        double[][] left = Orthonormal(random, singular.Length, outputs), right = Orthonormal(random, singular.Length, inputs);
        float[] b = new float[outputs * singular.Length], a = [.. right.SelectMany(v => v).Select(x => (float)x)];
        for (int o = 0; o < outputs; o++)
            for (int k = 0; k < singular.Length; k++)
                b[o * singular.Length + k] = (float)(left[k][o] * singular[k]);
        PeftConfig config = new() { Rank = singular.Length, Alpha = singular.Length, TargetModules = ["m"] };
        return PeftAdapter.Create("known", config, [("m", PeftPart.A, Tensor.FromFloats("", new Shape(singular.Length, inputs), a)), ("m", PeftPart.B, Tensor.FromFloats("", new Shape(outputs, singular.Length), b))]);
    }

    private static double[][] Orthonormal(Random random, int count, int length)
    {
        double[][] vectors = new double[count][];
        for (int k = 0; k < count; k++)
        {
            double[] v = [.. Enumerable.Range(0, length).Select(_ => random.NextDouble() - 0.5)];
            for (int pass = 0; pass < 2; pass++)
                for (int j = 0; j < k; j++)
                {
                    double dot = v.Zip(vectors[j], (x, y) => x * y).Sum();
                    v = [.. v.Zip(vectors[j], (x, y) => x - dot * y)];
                }
            double norm = Math.Sqrt(v.Sum(x => x * x));
            vectors[k] = [.. v.Select(x => x / norm)];
        }
        return vectors;
    }
}
