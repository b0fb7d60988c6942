using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class MalformedFileTests
{
    public static TheoryData<string> SafetensorsCases => MalformedCases.Files("safetensors");

    public static TheoryData<string> IndexCases => MalformedCases.Files("index");

    public static TheoryData<string> ConfigCases => MalformedCases.Files("config");

    [Theory(SkipTestWithoutData = true), MemberData(nameof(SafetensorsCases))]
    public void Broken_safetensors_are_refused_by_name(string file)
    {
        string path = MalformedCases.PathOf(file);
        MalformedCases.Judge(MalformedCases.Find("safetensors", file), path, Path.GetFileName(file), () => Safetensors.Open(path).Dispose());
    }

    [Theory(SkipTestWithoutData = true), MemberData(nameof(IndexCases))]
    public void Broken_shard_indexes_are_refused_by_name(string file)
    {
        string path = MalformedCases.PathOf(file);
        MalformedCases.Judge(MalformedCases.Find("index", file), path, "model.safetensors.index.json", () => Safetensors.Open(path).Dispose());
    }

    [Theory(SkipTestWithoutData = true), MemberData(nameof(ConfigCases))]
    public void Broken_configs_are_refused_by_field(string file)
    {
        string path = MalformedCases.PathOf(file);
        using TensorFile full = Safetensors.Open(MalformedCases.PathOf("base/model.safetensors"));
        Dictionary<string, Tensor> kept = full.Tensors.Where(t => file != "config/tied_but_absent.json" || t.Key != "lm_head.weight").ToDictionary();
        TensorFile weights = new(full.FilePath, kept, full.Metadata, []);
        MalformedCases.Judge(MalformedCases.Find("config", file), path, Path.GetFileName(file), () => HfConfig.Read(path).ValidateDecoder(["llama", "qwen2"], weights));
    }

    [Fact]
    public void The_base_of_the_broken_configs_is_accepted()
    {
        using TensorFile weights = Safetensors.Open(MalformedCases.PathOf("base/model.safetensors"));
        HfConfig.Read(MalformedCases.PathOf("base")).ValidateDecoder(["llama", "qwen2"], weights);
    }
}
