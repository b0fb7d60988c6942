using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>What Golden/AdapterGoldenTests does not reach of ../shared/fixtures/peft (scripts/peft_adapters.py): other methods, refusals, the mutated bases.</summary>
public sealed class PeftGoldenTests
{
    public static TheoryData<string, string> Refused => new()
    {
        { "llama-prompt", "PROMPT_TUNING" }, { "llama-ptuning", "P_TUNING" }, { "llama-prefix", "PREFIX_TUNING" },
    };

    [Theory, InlineData("llama-tokens-only"), InlineData("llama-lntuning")]
    public void A_method_of_replaced_tensors_gives_the_library_s_logits(string name)
    {
        using PeftFixture fixture = new(name);
        fixture.CheckLogits(fixture.Resolve((fixture.Stage(), 1)));
    }

    [Theory, MemberData(nameof(Refused))]
    public void A_form_that_is_not_supported_is_refused_by_its_name(string name, string word)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + name);
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => PeftAdapter.Open(folder));
        Assert.Contains(word, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(name, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llama-pissa"), InlineData("llama-olora")]
    public void The_residual_base_takes_the_adapter_as_a_plain_one(string scenario)
    {
        using PeftFixture fixture = new(scenario) { BaseFolder = SharedFolder.Require($"fixtures/peft/{scenario}/residual") };
        using PeftAdapter trained = PeftAdapter.Open(Path.Combine(fixture.Folder, "trained"));
        TensorFile tensors = new(trained.FilePath, trained.Tensors, trained.File.Metadata, []);
        PeftAdapter plain = PeftAdapter.From(trained.FilePath, trained.Config with { Residual = PeftResidual.None }, tensors);
        using ResidentAdapter resident = ResidentAdapter.Stage(LoraAdapter.Fit(plain, fixture.Model.Sites, "plain"), fixture.Model.Backend);
        fixture.CheckLogits(fixture.Resolve((resident, 1)), "logits.trained");
    }
}
