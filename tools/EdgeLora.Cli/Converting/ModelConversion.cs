using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Converting;

/// <summary>Base models and bare checkpoints into other formats.</summary>
internal static class ModelConversion
{
    /// <summary>Converts, or returns null where the source is none of what is read here.</summary>
    public static ConvertResult? Run(ConvertRequest request, CancellationToken cancellation)
    {
        if (!request.SourceHas(".bin", ".pt", ".pth"))
            return null;
        if (request.TargetHas(".safetensors"))
        {
            using TensorFile torch = TorchPickle.Open(request.Source);
            Safetensors.Write(request.Target, torch.Tensors.Values, new Dictionary<string, string> { ["format"] = "pt" }, cancellation);
            return new($"{torch.Tensors.Count} tensors as .safetensors");
        }
        string vocabulary = request.Tokenizer
            ?? new[] { "tok512.bin", "tokenizer.bin" }.Select(n => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(request.Source))!, n)).FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException($"{request.Source}: no tok512.bin or tokenizer.bin beside it; give --tokenizer");
        OutputFolder.Write(request.Target, folder => Llama2cConvert.ToHuggingFace(request.Source, vocabulary, folder, cancellation));
        return new("a llama2.c checkpoint as a Hugging Face folder");
    }
}
