using System.Buffers.Binary;
using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Inspection;

/// <summary>What a base model is, and what it converts to.</summary>
internal static class ModelReport
{
    /// <summary>Adds a Hugging Face folder or a GGUF file.</summary>
    public static void Describe(InspectReport report, string path, string format)
    {
        report.Kind = "model";
        report.Format = format;
        using ReferenceBackend backend = new();
        BaseCheckpoint checkpoint = BaseCheckpoint.Open(path);
        if (report.Tensors.Count == 0)
            report.Take([.. checkpoint.Weights.Tensors.Values]);
        if (checkpoint.Quantization is { } quantization)
        {
            report.Facts.Add(("quantization", quantization.Method));
            report.Facts.Add(("quantizedModules", quantization.Modules));
            report.Facts.AddRange(quantization.Facts);
        }
        AddConversions(report, checkpoint);
        if (ClassifierHost.Classifies(path, []))
        {
            report.Fingerprint = Fingerprint.Of(checkpoint.Weights);
            using IClassifier classifier = ClassifierHost.Load(checkpoint, backend);
            ModelConfig numbers = classifier.Config;
            report.Facts.AddRange([("modelType", numbers.ModelType), ("layers", numbers.Layers), ("hidden", numbers.HiddenSize), ("heads", numbers.Heads), ("feedForward", numbers.FeedForward), ("vocabulary", numbers.Vocabulary),
                ("context", numbers.ContextLength), ("labels", classifier.Labels), ("missingHead", classifier.MissingHead), ("sites", classifier.Sites.Sites.Count)]);
            return;
        }
        using DecoderModel model = DecoderModel.Load(checkpoint, backend);
        ModelConfig config = model.Config;
        report.Fingerprint = model.BaseFingerprint;
        report.Facts.AddRange([("modelType", config.ModelType), ("layers", config.Layers), ("hidden", config.HiddenSize), ("heads", config.Heads), ("kvHeads", config.KvHeads),
            ("headSize", config.HeadSize), ("feedForward", config.FeedForward), ("vocabulary", config.Vocabulary), ("context", config.ContextLength), ("tiedHead", config.TiedHead), ("sites", model.Sites.Sites.Count)]);
    }

    /// <summary>Whether a .bin is a llama2.c checkpoint: the oldest have no magic, their sizes and length tell.</summary>
    public static bool IsLlama2c(string path)
    {
        using (FileStream file = File.OpenRead(path))
            if (file.ReadByte() == 'P' && file.ReadByte() == 'K')
                return false;
        try
        {
            using Llama2c checkpoint = Llama2c.Open(path);
            return true;
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    /// <summary>Adds a llama2.c checkpoint.</summary>
    public static void DescribeLlama2c(InspectReport report, string path)
    {
        using Llama2c checkpoint = Llama2c.Open(path);
        using TensorFile weights = checkpoint.ToTensorFile();
        report.Kind = "model";
        report.Format = string.Create(CultureInfo.InvariantCulture, $"llama2.c v{checkpoint.Version}");
        report.Take([.. weights.Tensors.Values]);
        report.Facts.AddRange([("layers", checkpoint.Layers), ("hidden", checkpoint.HiddenSize), ("heads", checkpoint.Heads), ("kvHeads", checkpoint.KvHeads), ("feedForward", checkpoint.FeedForward),
            ("vocabulary", checkpoint.Vocabulary), ("context", checkpoint.ContextLength), ("tiedHead", checkpoint.SharesHead)]);
        report.Conversions.Add(new("folder", "exact", ["with its tokenizer.bin, found beside it or given as --tokenizer; to run it, convert it first"]));
    }

    /// <summary>The vocabulary that belongs to llama2.c checkpoints; null where a file is none.</summary>
    public static Llama2cVocabulary? VocabularyOf(string path)
    {
        const int LongestPiece = 1024;
        byte[] start = new byte[4];
        using (FileStream file = File.OpenRead(path))
            if (file.ReadAtLeast(start, 4, throwOnEndOfStream: false) < 4 || BinaryPrimitives.ReadInt32LittleEndian(start) is < 1 or > LongestPiece)
                return null;
        try
        {
            return Llama2cVocabulary.Read(path) is { Pieces.Count: > 0 } vocabulary ? vocabulary : null;
        }
        catch (ModelFileException)
        {
            return null;
        }
    }

    /// <summary>Adds a llama2.c vocabulary.</summary>
    public static void Describe(InspectReport report, Llama2cVocabulary vocabulary)
    {
        report.Kind = "tokenizer";
        report.Format = "llama2.c vocabulary";
        report.Facts.Add(("vocabulary", vocabulary.Pieces.Count));
        report.Facts.Add(("note", "belongs to a llama2.c checkpoint: edgelora convert takes it with --tokenizer"));
    }

    /// <summary>Adds a model of a diffusion pipeline, which is a base for adapters' names only.</summary>
    public static void DescribeDiffusion(InspectReport report, string path, string name)
    {
        report.Kind = "diffusion model";
        report.Format = "diffusers";
        report.Facts.Add(("class", name));
        using (TensorFile weights = Safetensors.Open(path))
            report.Take([.. weights.Tensors.Values]);
        report.Facts.Add(("note", "no diffusion model runs here; it is a --base of adapters, for its modules' names"));
    }

    private static void AddConversions(InspectReport report, BaseCheckpoint checkpoint)
    {
        ConversionLine Plan(string format, string verdict, Func<IReadOnlyList<string>> plan)
        {
            try
            {
                return new(format, verdict, plan());
            }
            catch (Exception e) when (e is ModelFileException or NotSupportedException)
            {
                return new(format, "refused", e is ModelFileException fault ? fault.Faults : [e.Message]);
            }
        }
        ConversionLine gguf = Plan("gguf", "exact", () => GgufModel.Of(checkpoint, new()).Notes);
        if (gguf.Verdict == "refused" && Plan("gguf", "needs --fold", () => GgufModel.Of(checkpoint, new() { Fold = true }).Notes) is { Verdict: not "refused" })
            gguf = gguf with { Verdict = "needs --fold" };
        report.Conversions.Add(gguf);
        report.Conversions.Add(Plan("folder", "exact", () => HuggingFaceModel.Of(checkpoint, null).Tensors.Any(t => t.Type != t.Source.Type) ? ["quantised weights become F32, which holds them exactly"] : []));
    }
}
