using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>The rules of adapter_config.json, without any file: fixtures/peft/NOTES.md, "Rules of the format".</summary>
public sealed class PeftRuleTests
{
    [Theory]
    [InlineData("q_proj", "model.layers.1.self_attn.q_proj", true)]
    [InlineData("layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj", true)]
    [InlineData("proj", "model.layers.1.self_attn.q_proj", false)]
    [InlineData("^model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj", true)]
    [InlineData("^q_proj", "model.layers.1.self_attn.q_proj", false)]
    [InlineData("model.layers.\\d.mlp.up_proj", "model.layers.2.mlp.up_proj", true)]
    [InlineData("model.layers.\\d.mlp.up_proj", "model.layers.12.mlp.up_proj", false)]
    [InlineData("q.proj", "model.q_proj", true)]
    [InlineData("q_proj|v_proj", "model.v_proj", true)]
    [InlineData("q_proj", "q_proj", true)]
    [InlineData("(?P<kind>q|v)_proj", "a.q_proj", true)]
    [InlineData("[qk]_proj", "a.k_proj", true)]
    [InlineData("(?!k)[qk]_proj", "a.k_proj", false)]
    public void A_pattern_s_key_matches_whole_dotted_ends(string key, string module, bool expected) =>
        Assert.Equal(expected, PythonPattern.DottedEnd(key).IsMatch(module));

    [Theory]
    [InlineData("q_proj", "a.q_proj", false)]
    [InlineData(".*q_proj", "a.q_proj", true)]
    [InlineData("a|a\\.q_proj", "a.q_proj", true)]
    [InlineData(".*\\.(q|v)_proj", "a.q_proj.x", false)]
    public void A_target_pattern_matches_whole_names(string pattern, string module, bool expected) =>
        Assert.Equal(expected, PythonPattern.Whole(pattern).IsMatch(module));

    [Theory]
    [InlineData("(q_proj"), InlineData("(["), InlineData("a)(b"), InlineData("*a"), InlineData("(a{1000}){1000}"), InlineData("((.{1,500}){1,500}){2}")]
    public void A_broken_or_exploding_pattern_is_no_pattern(string pattern) => Assert.ThrowsAny<ArgumentException>(() => PythonPattern.DottedEnd(pattern));

    [Theory]
    [InlineData("(((a|[^b])+)+)+$x"), InlineData("((.+)+)+y"), InlineData("(?=x)?(((a|.)+)+)+y"), InlineData("(.*)*(\\1)+z")]
    public void A_slow_pattern_ends_in_time(string pattern)
    {
        PythonPattern slow = PythonPattern.Whole(pattern);
        Stopwatch watch = Stopwatch.StartNew();
        try
        {
            Assert.False(slow.IsMatch("model.layers.10.self_attn.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.q_proj"));
        }
        catch (RegexMatchTimeoutException)
        {
        }
        Assert.True(watch.ElapsedMilliseconds < 900, $"took {watch.ElapsedMilliseconds} ms");
    }

    [Fact]
    public void The_first_key_in_file_order_wins_not_the_longest()
    {
        PeftConfig config = Parse("""{"down_proj": 30, "layers.2.mlp.down_proj": 3, "proj": 99}""");
        Assert.Equal(30, config.AlphaOf("model.layers.2.mlp.down_proj"));
        Assert.Equal(8, config.AlphaOf("model.layers.2.self_attn.q_proj"));
        Assert.Equal(30 / 4.0, config.ScaleOf("model.layers.2.mlp.down_proj", 4));
        Assert.Equal(30 / 2.0, (config with { UseRslora = true }).ScaleOf("model.layers.2.mlp.down_proj", 4));
    }

    [Theory]
    [InlineData("\"target_modules\": [\"q_proj\"]", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("\"target_modules\": [\"proj\"]", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"exclude_modules\": [\"layers.0.self_attn.q_proj\"]", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"exclude_modules\": \".*layers.0.*\"", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"modules_to_save\": [\"self_attn\"]", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [0, 2]", "model.layers.2.self_attn.q_proj", true)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": 1", "model.layers.2.self_attn.q_proj", false)]
    [InlineData("\"target_modules\": [\"w1\"], \"layers_to_transform\": [1]", "model.layers.1.mlp.experts.0.w1", true)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": \"blocks\"", "model.blocks.1.q_proj", true)]
    [InlineData("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": [\"layers\"]", "model.blocks.1.q_proj", false)]
    [InlineData("\"target_modules\": \"all-linear\"", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("\"target_modules\": \".*\\\\.[qk]_proj\"", "model.layers.0.self_attn.v_proj", false)]
    public void Targets_are_chosen_as_the_library_does(string fields, string module, bool expected) => Assert.Equal(expected, ParseFields(fields).Selects(module));

    [Theory]
    [InlineData("\"use_qalora\": true", "use_qalora")]
    [InlineData("\"target_parameters\": [\"mlp.experts.gate_up_proj\"], \"use_dora\": true", "use_dora: cannot stand beside target_parameters")]
    [InlineData("\"target_parameters\": \"mlp.experts.gate_up_proj\"", "target_parameters")]
    [InlineData("\"megatron_config\": {\"a\": 1}", "megatron_config")]
    [InlineData("\"arrow_config\": {\"top_k\": 2}", "arrow_config")]
    [InlineData("\"kasa_config\": {\"beta\": 1}", "kasa_config")]
    [InlineData("\"use_bdlora\": {\"nblocks\": 2}", "use_bdlora")]
    [InlineData("\"init_lora_weights\": \"loftq\"", "init_lora_weights")]
    [InlineData("\"init_lora_weights\": \"corda\"", "init_lora_weights")]
    [InlineData("\"init_lora_weights\": \"lora_ga\"", "init_lora_weights")]
    [InlineData("\"init_lora_weights\": \"pissa_niter_4\"", "init_lora_weights")]
    [InlineData("\"some_future_key\": 3", "some_future_key")]
    [InlineData("\"use_rslora\": \"yes\"", "use_rslora")]
    [InlineData("\"use_dora\": true, \"lora_bias\": true", "lora_bias")]
    [InlineData("\"layer_replication\": [[2, 1]]", "layer_replication")]
    [InlineData("\"trainable_token_indices\": [-1]", "trainable_token_indices")]
    [InlineData("\"rank_pattern\": {\"q_proj\": 2.5}", "rank_pattern")]
    [InlineData("\"alpha_pattern\": {\"q_proj\": Infinity}", "alpha_pattern")]
    [InlineData("\"exclude_modules\": \"(\"", "exclude_modules")]
    public void A_field_that_cannot_be_kept_is_refused_by_name(string fields, string name)
    {
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => ParseFields(fields));
        Assert.Contains(refusal.Faults, f => f.Contains(name, StringComparison.Ordinal));
        Assert.Contains("somewhere", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"init_lora_weights\": \"gaussian\""), InlineData("\"init_lora_weights\": \"eva\", \"eva_config\": {\"rho\": 2.0}"), InlineData("\"loftq_config\": {}")]
    [InlineData("\"megatron_core\": \"megatron.core\""), InlineData("\"some_future_key\": null"), InlineData("\"some_future_key\": false"), InlineData("\"auto_mapping\": {\"unsloth_fixed\": true}")]
    [InlineData("\"lora_dropout\": 0.1, \"qalora_group_size\": 16, \"peft_version\": \"9.9\"")]
    public void A_field_that_changes_nothing_passes(string fields) => Assert.Equal(4, ParseFields(fields).Rank);

    [Fact]
    public void All_faults_of_a_configuration_are_named_together()
    {
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => PeftConfigReader.Parse("somewhere",
            """{"peft_type": "LORA", "r": 0, "lora_alpha": NaN, "bias": "some", "use_qalora": true}"""u8.ToArray()));
        Assert.Equal(4, refusal.Faults.Count);
        Assert.StartsWith("somewhere: 4 faults", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_written_configuration_reads_as_the_same()
    {
        PeftConfig config = ParseFields("""
            "rank_pattern": {"b": 2, "a": 3}, "alpha_pattern": {"q_proj": 1.5}, "use_rslora": true, "bias": "lora_only", "modules_to_save": ["norm"],
            "exclude_modules": ".*3.*", "layers_to_transform": [0, 2], "layers_pattern": ["layers"], "trainable_token_indices": {"embed_tokens": [3, 1]},
            "init_lora_weights": "pissa", "alora_invocation_tokens": [5, 6], "layer_replication": [[0, 2], [1, 3]], "ensure_weight_tying": true
            """);
        PeftConfig again = PeftConfigReader.Parse("somewhere", Encoding.UTF8.GetBytes(PeftConfigWriter.ToJson(config)));
        Assert.Equal(PeftConfigWriter.ToJson(config), PeftConfigWriter.ToJson(again));
        Assert.Equal(["b", "a"], again.RankPattern.Select(p => p.Key.Source));
        Assert.Equal(1.5, again.AlphaOf("q_proj"));
        Assert.Equal((PeftResidual.Pissa, PeftBias.LoraOnly, true, true), (again.Residual, again.Bias, again.UseRslora, again.EnsureWeightTying));
        Assert.Equal([5, 6], again.InvocationTokens!);
        Assert.Equal([(0, 2), (1, 3)], again.LayerReplication!);
        Assert.Equal([3, 1], again.TokenRows[0].Ids);
    }

    private static PeftConfig Parse(string alphaPattern) => ParseFields($"\"alpha_pattern\": {alphaPattern}");

    private static PeftConfig ParseFields(string fields) =>
        PeftConfigReader.Parse("somewhere", Encoding.UTF8.GetBytes($$"""{"peft_type": "LORA", "r": 4, "lora_alpha": 8, {{fields}}}"""));
}
