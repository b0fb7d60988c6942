using System.Runtime.InteropServices;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Adapters that do not keep what their configuration promises: each form of ../shared/fixtures/peft (scripts/peft_adapters.py) with one thing broken at a time.</summary>
public sealed class AdapterFitTests
{
    private static readonly string[] s_forms =
    [
        "llama-all", "llama-patterns", "llama-dora-all", "llama-lora-bias", "llama-save-norms", "llama-save-suffix", "llama-tied-embed-tie", "llama-tied-tokens", "llama-layers", "llama-regex",
        "llama-exclude", "qwen2-bias-lora", "qwen2-bias-all", "gpt2-all", "gpt2-dora", "llama-tokens-only", "llama-lntuning",
    ];

    public static TheoryData<string> Forms => new(s_forms);

    [Theory, MemberData(nameof(Forms))]
    public void An_adapter_without_any_one_of_its_tensors_is_refused_by_the_module_s_name(string name)
    {
        using PeftFixture fixture = new(name);
        using PeftAdapter whole = PeftAdapter.Open(fixture.Folder);
        foreach (PeftModule module in whole.Modules.Values)
            foreach ((PeftPart part, Tensor tensor) in module.Parts)
            {
                // The frozen copy of the base's own weight says nothing.
                if (part == PeftPart.BaseWeight)
                    continue;
                ModelFileException refusal = Assert.Throws<ModelFileException>(() => Fit(fixture, whole, whole.Tensors.Where(t => t.Value != tensor)));
                Assert.Contains($"{module.Name}.", refusal.Message, StringComparison.Ordinal);
                Assert.Contains(name, refusal.Message, StringComparison.Ordinal);
            }
    }

    [Theory]
    [InlineData(DType.F32, 0x7F800000u), InlineData(DType.F32, 0xFFC00001u), InlineData(DType.F16, 0x7C00u), InlineData(DType.F16, 0xFE01u), InlineData(DType.BF16, 0x7F80u), InlineData(DType.BF16, 0xFFC1u)]
    public void The_first_element_that_is_no_finite_number_is_found_wherever_it_is(DType type, uint bits)
    {
        const int Count = 301;
        // The largest finite number everywhere else: an exponent one short of the mark.
        uint largest = type switch { DType.F32 => 0x7F7FFFFFu, DType.F16 => 0x7BFFu, _ => 0x7F7Fu };
        for (int at = -1; at < Count; at++)
        {
            ArrayStorage storage = new((int)type.Bytes(Count));
            for (int i = 0; i < Count; i++)
            {
                uint value = at >= 0 && i >= at && (i == at || i % 7 == 0) ? bits : largest;
                if (type == DType.F32)
                    MemoryMarshal.Cast<byte, uint>(storage.Writable)[i] = value;
                else
                    MemoryMarshal.Cast<byte, ushort>(storage.Writable)[i] = (ushort)value;
            }
            FaultList faults = new("file");
            Tensor? taken = new AdapterTensors(faults).Take(new Tensor("t", type, new Shape(Count), storage), "label", new Shape(Count));
            Assert.Equal(at < 0, taken is not null);
            if (at >= 0)
                Assert.Equal($"label: element {at} is NaN or infinite", Assert.Single(Assert.Throws<ModelFileException>(faults.ThrowIfAny).Faults));
        }
    }

    [Theory, MemberData(nameof(Forms))]
    public void A_tensor_of_another_shape_or_type_or_with_a_NaN_is_refused_by_its_name(string name)
    {
        using PeftFixture fixture = new(name);
        using PeftAdapter whole = PeftAdapter.Open(fixture.Folder);
        PeftModule module = whole.Modules.Values.First(m => m[PeftPart.BaseWeight] is null);
        foreach ((PeftPart part, Tensor tensor) in module.Parts)
        {
            float[] values = tensor.ToFloats();
            values[^1] = float.NaN;
            Tensor[] broken =
            [
                Tensor.FromFloats(tensor.Name, tensor.Shape, values),
                tensor.View(tensor.Name, new Shape(tensor.Shape.Elements, 1)),
                tensor.View(tensor.Name, new Shape([.. tensor.Shape.Dimensions, 1, 1])),
                new(tensor.Name, DType.I32, tensor.Shape, new ArrayStorage((int)tensor.Shape.Elements * 4)),
            ];
            foreach (Tensor bad in broken)
            {
                ModelFileException refusal = Assert.Throws<ModelFileException>(() => Fit(fixture, whole, whole.Tensors.Select(t => KeyValuePair.Create(t.Key, t.Value == tensor ? bad : t.Value))));
                Assert.Contains($"{module.Name}.{PeftAdapter.LabelOf(part)}", refusal.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void A_tensor_of_a_module_that_the_base_has_not_or_that_no_one_asked_for_is_refused()
    {
        using PeftFixture fixture = new("llama-qv");
        using PeftAdapter whole = PeftAdapter.Open(fixture.Folder);
        foreach (string name in new[] { "model.layers.9.self_attn.q_proj.lora_A.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.lora_C.weight", "score.weight", "nonsense" })
        {
            Tensor extra = Tensor.FromFloats("base_model.model." + name, new Shape(64), new float[64]);
            ModelFileException refusal = Assert.Throws<ModelFileException>(() => Fit(fixture, whole, whole.Tensors.Append(KeyValuePair.Create(extra.Name, extra))));
            Assert.Contains(name.Replace(".lora_A.weight", ".lora_A", StringComparison.Ordinal), refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Every_fault_of_an_adapter_is_in_one_message()
    {
        using PeftFixture fixture = new("llama-qv");
        using PeftAdapter whole = PeftAdapter.Open(fixture.Folder);
        IEnumerable<KeyValuePair<string, Tensor>> halved = whole.Tensors.Select(t => KeyValuePair.Create(t.Key, t.Key.EndsWith("lora_A.weight", StringComparison.Ordinal) ? t.Value.Slice(t.Key, 0, 2) : t.Value));
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => Fit(fixture, whole, halved));
        Assert.Equal(6, refusal.Faults.Count);
        Assert.Contains("model.layers.2.self_attn.v_proj.lora_A: expected [4, 64], found [2, 64]", refusal.Faults);
    }

    [Theory, InlineData("", true), InlineData("transformer.", true), InlineData("model.transformer.", true), InlineData("encoder.", false)]
    public void Names_fit_with_and_without_the_outer_module(string prefix, bool fits)
    {
        using PeftFixture fixture = new("gpt2-attn");
        using PeftAdapter whole = PeftAdapter.Open(fixture.Folder);
        Dictionary<string, Tensor> renamed = whole.Tensors.ToDictionary(t => t.Key.Replace("base_model.model.transformer.", "base_model.model." + prefix, StringComparison.Ordinal), t => t.Value);
        if (!fits)
        {
            Assert.Throws<ModelFileException>(() => Fit(fixture, whole, renamed));
            return;
        }
        using LoraAdapter adapter = Fit(fixture, whole, renamed);
        Assert.Equal(2, adapter.Deltas.Count);
    }

    [Fact]
    public void A_tied_head_follows_new_tokens_but_not_an_embedding_s_low_rank()
    {
        using PeftFixture tokens = new("llama-tied-tokens"), embedding = new("llama-tied-embed"), both = new("llama-tied-embed-tie"), saved = new("llama-tied-save");
        Assert.NotNull(At(tokens, "lm_head")?.Rows);
        Assert.Equal([9, 20, 31, 200, 383], At(tokens, "lm_head")!.Rows!.Ids);
        Assert.Null(At(embedding, "lm_head"));
        Assert.NotNull(At(both, "lm_head")?.LowRank);
        Assert.Null(At(saved, "lm_head"));
        Assert.NotNull(At(saved, "model.embed_tokens")?.Weight);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void An_adapter_written_again_is_the_same_adapter(bool elora)
    {
        using PeftFixture fixture = new("llama-patterns");
        string target = Path.Combine(Directory.CreateTempSubdirectory("edgelora").FullName, elora ? "a.elora" : "a");
        using (PeftAdapter adapter = PeftAdapter.Open(fixture.Folder))
        {
            if (elora)
                adapter.WriteElora(target, "a");
            else
                adapter.Write(target);
            using LoraAdapter again = LoraAdapter.Load(target, "a", fixture.Model.Sites);
            Assert.Equal(Fingerprint.Of(adapter.File), again.ContentFingerprint);
            Assert.Equal(adapter.ConfigJson, again.File.ConfigJson);
            if (!elora)
                Assert.Equal(File.ReadAllBytes(Path.Combine(fixture.Folder, PeftAdapter.WeightsName)), File.ReadAllBytes(Path.Combine(target, PeftAdapter.WeightsName)));
        }
        Directory.Delete(Path.GetDirectoryName(target)!, true);
    }

    private static SiteDelta? At(PeftFixture fixture, string site) => fixture.Load().Deltas.FirstOrDefault(d => d.Site.Name == site);

    private static LoraAdapter Fit(PeftFixture fixture, PeftAdapter whole, IEnumerable<KeyValuePair<string, Tensor>> tensors) =>
        LoraAdapter.Fit(PeftAdapter.From(whole.FilePath, whole.Config, new TensorFile(whole.FilePath, tensors.ToDictionary(), whole.File.Metadata, [])), fixture.Model.Sites, "broken");
}
