using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>One case of ../shared/fixtures/peft (made by scripts/peft_adapters.py there): its base, its adapters, its numbers.</summary>
public sealed class PeftFixture : IDisposable
{
    /// <summary>Float32 against references in float64.</summary>
    public const double Tolerance = 2e-5;

    private readonly List<IDisposable> _owned = [];

    public PeftFixture(string name, string? baseName = null)
    {
        Folder = SharedFolder.Require("fixtures/peft/" + name);
        baseName ??= name.StartsWith("llama-tied", StringComparison.Ordinal) ? "llama-tied"
            : name.StartsWith("llama-bf16", StringComparison.Ordinal) ? "llama-bf16" : name.Split('-')[0];
        BaseFolder = SharedFolder.Require("fixtures/peft/bases/" + baseName);
        Expected = Own(Safetensors.Open(Path.Combine(Folder, "expected.safetensors")));
    }

    public string Folder { get; }

    public string BaseFolder { get; set; }

    public TensorFile Expected { get; }

    public DecoderModel Model => field ??= Own(DecoderModel.Load(BaseCheckpoint.OpenFolder(BaseFolder), new ReferenceBackend()));

    public LoraAdapter Load(string? sub = null) => Own(LoraAdapter.Load(sub is null ? Folder : Path.Combine(Folder, sub), sub ?? "adapter", Model.Sites));

    public ResidentAdapter Stage(string? sub = null) => Own(ResidentAdapter.Load(sub is null ? Folder : Path.Combine(Folder, sub), sub ?? "adapter", Model.Sites, Model.Backend));

    /// <summary>The path of some adapters of the folder, in order.</summary>
    public AdapterPath Resolve(params (ResidentAdapter Adapter, float Strength)[] steps) => PathResolver.Resolve("path", Model.Sites, Model.Backend, steps);

    /// <summary>Compares the logits of every row on <paramref name="path"/> with a tensor of the file.</summary>
    public void CheckLogits(AdapterPath path, string tensor = "logits", double tolerance = Tolerance)
    {
        Tensor ids = Expected.Tensors["input_ids"];
        int rows = (int)ids.Shape[0], tokens = (int)ids.Shape[1];
        int[] all = Array.ConvertAll(ids.ToInts(), x => (int)x);
        List<float> found = [];
        for (int n = 0; n < rows; n++)
            found.AddRange(ModelGolden.Logits(Model, path, all.AsSpan(n * tokens, tokens)));
        double error = GoldenError.Relative(found.ToArray(), Expected.Tensors[tensor].Floats);
        Assert.True(error <= tolerance, $"{Path.GetFileName(Folder)} {tensor}: error {error:g3}, tolerance {tolerance:g3}");
    }

    public void Dispose()
    {
        for (int i = _owned.Count - 1; i >= 0; i--)
            _owned[i].Dispose();
    }

    private T Own<T>(T owned) where T : IDisposable
    {
        _owned.Add(owned);
        return owned;
    }
}
