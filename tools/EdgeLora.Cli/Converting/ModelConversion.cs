using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Converting;

/// <summary>Base models and bare checkpoints into other formats.</summary>
internal static class ModelConversion
{
    /// <summary>Converts, or returns null where the source is none of what is read here.</summary>
    public static ConvertResult? Run(ConvertRequest request, CancellationToken cancellation)
    {
        if (request.SourceHas(".gguf") || File.Exists(Path.Combine(request.Source, "config.json")))
            return Base(request, cancellation);
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

    private static ConvertResult Base(ConvertRequest request, CancellationToken cancellation)
    {
        bool toGguf = request.To?.Equals("gguf", StringComparison.OrdinalIgnoreCase) ?? request.TargetHas(".gguf");
        if (!toGguf && (request.To is not null || Path.HasExtension(request.Target)))
            throw new UsageException($"{request.To ?? request.Target}: a model becomes a .gguf file or a folder");
        DType? type = request.Type is null ? null : ModelTypes.Parse(request.Type, toGguf);
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(request.Source);
        if (toGguf)
            return Write(GgufModel.Of(checkpoint, new() { Type = type, PreTokenizer = request.PreTokenizer, Fold = request.Fold }), request.Target, request.SplitBytes, request.Progress, cancellation);
        HuggingFaceModel model = HuggingFaceModel.Of(checkpoint, type);
        OutputFolder.Write(request.Target, folder => model.Write(folder, Bytes(request.Progress, model.ByteLength), cancellation));
        return new("a model as a Hugging Face folder", ("tensors", (long)model.Tensors.Count), ("bytes", model.ByteLength));
    }

    /// <summary>Writes a GGUF model, whole or in pieces.</summary>
    public static ConvertResult Write(GgufModel model, string target, long? splitBytes, Action<string, long, long>? progress, CancellationToken cancellation)
    {
        AtomicFile.RemoveLeftovers(target);
        IReadOnlyList<string> files = [target];
        if (splitBytes is { } bytes)
            files = GgufFile.WriteSplit(Path.ChangeExtension(target, null), model.Metadata, model.Tensors, bytes, Bytes(progress, model.ByteLength), cancellation);
        else
            GgufFile.Write(target, model.Metadata, model.Tensors, Bytes(progress, model.ByteLength), cancellation);
        string types = string.Join(", ", model.Tensors.GroupBy(t => t.Type).OrderByDescending(g => g.Sum(t => t.ByteLength)).Select(g => $"{g.Count()} {g.Key}"));
        string what = $"a model as GGUF, {types}{(splitBytes is null ? "" : files.Count > 1 ? $", in {files.Count} pieces from {Path.GetFileName(files[0])}" : ", whole in " + Path.GetFileName(files[0]))}{string.Concat(model.Notes.Select(n => "\n  " + n))}";
        return new(what, ("files", files), ("tensors", (long)model.Tensors.Count), ("bytes", model.ByteLength), ("notes", model.Notes));
    }

    private static Action<long>? Bytes(Action<string, long, long>? progress, long total) => progress is null ? null : done => progress("MiB", done >> 20, total >> 20);
}
