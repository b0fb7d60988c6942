using System.Text;
using System.Text.Json.Nodes;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class HfConfigTests
{
    private const string Good = """
        {"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
         "vocab_size":64,"intermediate_size":128,"max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu","tie_word_embeddings":false,
         "sliding_window":null,"eos_token_id":[1,2]}
        """;

    [Fact]
    public void Fields_are_read_with_type_and_range()
    {
        HfConfig config = Parse(Good);
        config.ValidateDecoder(["llama"]);
        Assert.Equal("llama", config.ModelType);
        Assert.Equal(64, config.GetInt("hidden_size", 1, 100));
        Assert.Equal(7, config.GetInt("absent", 1, 100, 7));
        Assert.Equal(1e-5f, config.GetFloat("rms_norm_eps", 0, 1));
        Assert.False(config.GetBool("tie_word_embeddings", true));
        Assert.False(config.Has("sliding_window"));
        Assert.True(config.TryGetInts("eos_token_id", 0, 63, out IReadOnlyList<int> ends));
        Assert.Equal([1, 2], ends);
        Assert.True(Parse("""{"eos_token_id":5}""").TryGetInts("eos_token_id", 0, 63, out ends));
        Assert.Equal([5], ends);
        Assert.Equal("hidden_size", config.FirstOf("n_embd", "hidden_size"));
    }

    [Theory]
    [InlineData("hidden_size", "\"64\"")]
    [InlineData("hidden_size", "64.0")]
    [InlineData("hidden_size", "1e999")]
    [InlineData("hidden_size", "99999999999999999999")]
    [InlineData("hidden_size", "null")]
    [InlineData("hidden_size", "[64]")]
    [InlineData("vocab_size", "1.5")]
    [InlineData("intermediate_size", "0")]
    [InlineData("intermediate_size", "-128")]
    [InlineData("num_hidden_layers", "100000")]
    [InlineData("num_attention_heads", "7")]
    [InlineData("num_key_value_heads", "3")]
    [InlineData("head_dim", "15")]
    [InlineData("head_dim", "0")]
    [InlineData("max_position_embeddings", "-1")]
    [InlineData("rms_norm_eps", "0")]
    [InlineData("rms_norm_eps", "\"1e-5\"")]
    [InlineData("rms_norm_eps", "1e999")]
    [InlineData("rope_theta", "-1")]
    [InlineData("rope_scaling", "\"linear\"")]
    [InlineData("rope_scaling.factor", """{"type":"linear"}""")]
    [InlineData("rope_scaling.factor", """{"type":"linear","factor":0}""")]
    [InlineData("rope_scaling.factor", """{"type":"yarn","factor":"4"}""")]
    [InlineData("rope_scaling.type", """{"type":"warp","factor":2}""")]
    [InlineData("rope_scaling.rope_type", """{"rope_type":7}""")]
    [InlineData("rope_scaling.high_freq_factor", """{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4}""")]
    [InlineData("rope_scaling.low_freq_factor", """{"rope_type":"llama3","factor":8,"high_freq_factor":4}""")]
    [InlineData("rope_scaling.long_factor", """{"type":"longrope","long_factor":[1,2],"short_factor":[1,1,1,1,1,1,1,1]}""")]
    [InlineData("rope_scaling.short_factor", """{"type":"longrope","long_factor":[1,1,1,1,1,1,1,1]}""")]
    [InlineData("rope_parameters.full_attention.rope_theta", """{"full_attention":{"rope_theta":0}}""")]
    [InlineData("partial_rotary_factor", "1.5")]
    [InlineData("hidden_act", "\"selu\"")]
    [InlineData("hidden_act", "3")]
    [InlineData("tie_word_embeddings", "\"false\"")]
    [InlineData("layer_types", """["full_attention"]""")]
    [InlineData("layer_types", """["full_attention","magic"]""")]
    [InlineData("architectures", "[1]")]
    [InlineData("model_type", "\"gpt9\"")]
    [InlineData("model_type", "\"\\ud800\"")]
    [InlineData("final_logit_softcapping", "0")]
    public void A_wrong_field_is_refused_by_its_name(string field, string value)
    {
        JsonObject json = JsonNode.Parse(Good)!.AsObject();
        string top = field.Split('.')[0];
        json.Remove(top);
        string text = json.ToJsonString().TrimEnd('}') + $",\"{top}\":{value}}}";
        ModelFileException e = Assert.Throws<ModelFileException>(() => Parse(text).ValidateDecoder(["llama"]));
        Assert.Contains("config.json", e.Message);
        Assert.Contains(e.Faults, f => f.Contains(field, StringComparison.Ordinal));
    }

    [Fact]
    public void More_experts_than_there_are_cannot_be_asked_for()
    {
        string text = Good.TrimEnd().TrimEnd('}') + ",\"num_experts\":4,\"num_experts_per_tok\":5}";
        Assert.StartsWith("num_experts_per_tok", Assert.Throws<ModelFileException>(() => Parse(text).ValidateDecoder()).Faults[0]);
    }

    [Fact]
    public void All_faults_are_named_at_once()
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => Parse("{}").ValidateDecoder());
        foreach (string field in (string[])["model_type", "hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"])
            Assert.Contains(e.Faults, f => f.StartsWith(field, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{} {}")]
    [InlineData("""{"a":1,"a":2}""")]
    [InlineData("""{"a":NaN}""")]
    [InlineData("{\"a\":1,}")]
    [InlineData("{\n\n\"a\":x}")]
    public void What_is_no_single_object_is_refused(string json)
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => Parse(json));
        Assert.Contains("JSON", e.Message);
        if (json.Contains('\n'))
            Assert.Contains("line 3", e.Message);
    }

    [Fact]
    public void Deep_nesting_is_refused() =>
        Assert.Throws<ModelFileException>(() => Parse("{\"a\":" + new string('[', 100_000) + new string(']', 100_000) + "}"));

    private static HfConfig Parse(string json) => HfConfig.Parse("config.json", Encoding.UTF8.GetBytes(json));
}
