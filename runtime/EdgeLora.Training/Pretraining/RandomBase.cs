using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>What a fresh base consists of.</summary>
/// <param name="ModelType">model_type.</param>
/// <param name="Vocabulary">V: rows of the token table.</param>
/// <param name="Parameters">Elements of all weights; a tied head counts once.</param>
/// <param name="Tensors">Weights.</param>
/// <param name="ByteLength">Their stored bytes.</param>
public sealed record RandomBaseSummary(string ModelType, int Vocabulary, long Parameters, int Tensors, long ByteLength);

/// <summary>
/// Makes a base to train from nothing: matrices and tables normal with deviation initializer_range (0.02 where the config names none), gains one, biases zero, GPT-2's projections into the residual stream smaller by √(2·layers).
/// Source: huggingface/transformers, each model's _init_weights. It differs in one place: the padding token's row is random too, for that token may be the one that begins a text.
/// </summary>
public static class RandomBase
{
    /// <summary>Writes config.json and model.safetensors into <paramref name="folder"/>, in which the tokenizer lies already. The same seed gives the same weights.</summary>
    /// <param name="folder">An existing folder.</param>
    /// <param name="config">What the base is.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="type">F32 or BF16; others throw <see cref="ArgumentException"/>.</param>
    /// <param name="seed">Where the random numbers start.</param>
    /// <param name="cancellation">Stops between two tensors.</param>
    /// <exception cref="ModelFileException">The config and the tokenizer contradict each other.</exception>
    public static RandomBaseSummary Write(string folder, BaseConfig config, Tokenizer tokenizer, DType type, int seed, CancellationToken cancellation = default)
    {
        if (type is not (DType.F32 or DType.BF16))
            throw new ArgumentException($"type: expected F32 or BF16, found {type}", nameof(type));
        (HfConfig completed, ReadOnlyMemory<byte> utf8) = config.Complete(tokenizer, type);
        WeightPlan plan = WeightPlan.Of(completed);
        double deviation = completed.GetDouble("initializer_range", 0, 1e3, 0.02);
        // Each weight has a sequence of its own: its numbers do not depend on when it is written.
        Tensor[] tensors = [.. plan.Weights.Select((w, i) => new Tensor(w.Name, type, w.Shape,
            new ComputedStorage(type.Bytes(w.Shape.Elements), () => QuantBlocks.ToTensor(w.Name, type, w.Shape, Values(w, deviation, (long)seed << 32 | (uint)i)))))];
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), tensors, new Dictionary<string, string> { ["format"] = "pt" }, cancellation);
        AtomicFile.WriteBytes(Path.Combine(folder, "config.json"), utf8);
        return new(completed.ModelType, plan.Config.Vocabulary, plan.Parameters, tensors.Length, tensors.Sum(t => t.ByteLength));
    }

    private static float[] Values(PlannedWeight weight, double deviation, long seed)
    {
        if (weight.Role is WeightRole.Linear or WeightRole.Embedding)
            return new RandomTensors(seed).Normal(weight.Shape.Elements, deviation * weight.StartScale);
        float[] values = new float[weight.Shape.Elements];
        Array.Fill(values, weight.Role == WeightRole.Gain ? 1 - weight.Offset : 0);
        return values;
    }
}
