using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Link;

/// <summary>Which files of an adapter's folder are sent: those that its reader would choose.</summary>
public sealed class PushFilesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-push-files-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("adapter_config.json adapter_model.safetensors", "adapter_config.json adapter_model.safetensors adapter_model.bin adapter.elora adapter.onnx_adapter notes.txt")]
    [InlineData("adapter_config.json adapter_model.bin", "adapter_config.json adapter_model.bin adapter.onnx_adapter")]
    [InlineData("adapter.elora", "adapter.elora adapter.onnx_adapter")]
    [InlineData("adapter.onnx_adapter", "adapter.onnx_adapter notes.txt")]
    public void A_folder_sends_what_its_reader_chooses(string sent, string there)
    {
        foreach (string name in there.Split(' '))
            File.WriteAllText(Path.Combine(_folder, name), "");
        Assert.Equal(sent.Split(' '), PushUpload.FilesOf(_folder).Select(f => f.Name));
        Assert.All(PushUpload.FilesOf(_folder), f => Assert.Equal(Path.Combine(_folder, f.Name), f.Path));
    }

    [Theory]
    [InlineData("polite.elora", "adapter.elora")]
    [InlineData("polite.onnx_adapter", "adapter.onnx_adapter")]
    public void A_single_file_takes_the_name_that_it_has_in_a_folder(string file, string sent)
    {
        string path = Path.Combine(_folder, file);
        File.WriteAllText(path, "");
        Assert.Equal([(sent, path)], PushUpload.FilesOf(path));
    }

    [Fact]
    public void A_folder_without_an_adapter_names_what_was_expected() =>
        Assert.Contains("adapter_config.json, adapter.elora, adapter.onnx_adapter, adapter.gguf", Assert.Throws<ModelFileException>(() => PushUpload.FilesOf(_folder)).Message);
}
