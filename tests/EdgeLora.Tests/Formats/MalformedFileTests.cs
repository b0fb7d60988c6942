using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class MalformedFileTests
{
    public static TheoryData<string> SafetensorsCases => MalformedCases.Files("safetensors");

    public static TheoryData<string> IndexCases => MalformedCases.Files("index");

    public static TheoryData<string> PickleCases => MalformedCases.Files("pickle");

    public static TheoryData<string> MessagePackCases => MalformedCases.Files("msgpack");

    public static TheoryData<string> ConfigCases => MalformedCases.Files("config");

    public static TheoryData<string> OnnxAdapterCases => MalformedCases.Files("onnx_adapter");

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

    [Theory(SkipTestWithoutData = true), MemberData(nameof(PickleCases))]
    public void Broken_and_hostile_pickles_are_refused_and_run_nothing(string file)
    {
        string path = MalformedCases.PathOf(file + "adapter_model.bin");
        MalformedCases.Judge(MalformedCases.Find("pickle", file), path, "adapter_model.bin", () => TorchPickle.Open(path).Dispose());
    }

    [Theory(SkipTestWithoutData = true), MemberData(nameof(MessagePackCases))]
    public void Broken_headers_of_our_container_are_refused_by_field(string file)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-header-").FullName, path = Path.Combine(folder, "wrapped.elora");
        try
        {
            EdgeAdapterTests.Wrap(path, File.ReadAllBytes(MalformedCases.PathOf(file)));
            MalformedCases.Judge(MalformedCases.Find("msgpack", file), path, "wrapped.elora", () => EdgeAdapter.Read(path).Dispose());
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Theory(SkipTestWithoutData = true), MemberData(nameof(OnnxAdapterCases))]
    public void Broken_adapters_of_ONNX_Runtime_are_refused_by_name(string file)
    {
        string path = MalformedCases.PathOf(file);
        MalformedCases.Judge(MalformedCases.Find("onnx_adapter", file), path, Path.GetFileName(file), () => OnnxAdapter.Read(path).Dispose());
    }

    [Fact]
    public void The_base_of_the_broken_configs_is_accepted()
    {
        using TensorFile weights = Safetensors.Open(MalformedCases.PathOf("base/model.safetensors"));
        HfConfig.Read(MalformedCases.PathOf("base")).ValidateDecoder(["llama", "qwen2"], weights);
    }
}
