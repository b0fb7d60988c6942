using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Compares a model with its reference, an expected.safetensors in its folder or beside its file: logits, hidden states, frequencies, greedy tokens; of an encoder as <see cref="EncoderGolden"/> does.</summary>
public static class ModelGolden
{
    /// <summary>Relative tolerance of an F32 engine against F64 references.</summary>
    public const double Tolerance = 2e-5;

    /// <summary>Where the reference of a model folder or .gguf file lies unless another file is named.</summary>
    public static string ExpectedOf(string model) => Path.Combine(Directory.Exists(model) ? model : Path.GetDirectoryName(Path.GetFullPath(model))!, "expected.safetensors");

    /// <summary>Runs every prompt of the reference on the bare base.</summary>
    /// <param name="path">A model folder, or a .gguf file.</param>
    /// <param name="backend">Where it runs.</param>
    /// <param name="reference">The reference's file; null: <see cref="ExpectedOf"/>. An encoder has its own.</param>
    public static IReadOnlyList<GoldenError> Verify(string path, IComputeBackend backend, string? reference = null)
    {
        if (Directory.Exists(path) && EncoderRegistry.Knows(HfConfig.Read(path)))
            return EncoderGolden.Verify(path, backend);
        using TensorFile expected = Safetensors.Open(reference ?? ExpectedOf(path));
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), backend);
        List<GoldenError> errors = [];
        for (int n = 0; expected.Tensors.TryGetValue($"prompt.{n}.input_ids", out Tensor? ids); n++)
            errors.AddRange(VerifyPrompt(model, expected, $"prompt.{n}.", Array.ConvertAll(ids.ToInts(), x => (int)x)));
        return errors;
    }

    /// <summary>[T, V] logits of <paramref name="ids"/> on <paramref name="path"/>, one forward.</summary>
    public static float[] Logits(ICausalLM model, AdapterPath path, ReadOnlySpan<int> ids, HiddenObserver? observer = null)
    {
        using KvBuffer cache = model.CreateCache(ids.Length);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        int active = path.ActivationStart(ids);
        for (int i = 0; i < ids.Length; i++)
            batch.Add(ids[i], i >= active ? path.Table : path.BeforeInvocation);
        float[] logits = new float[ids.Length * model.Config.Vocabulary];
        model.Forward(batch, Enumerable.Range(0, ids.Length).ToArray(), logits, observer);
        return logits;
    }

    /// <summary>Greedy continuation through the cache; each step's logits go to <paramref name="logits"/> where it is not null.</summary>
    public static int[] Greedy(ICausalLM model, AdapterPath path, ReadOnlySpan<int> ids, int steps, List<float[]>? logits = null)
    {
        using Session session = new(model, path, ids.Length + steps);
        Batch batch = new(model, 16);
        Sampler sampler = new(new SamplingOptions(), model.Config.Vocabulary);
        session.Append(ids);
        for (int i = 0; i < steps; i++)
        {
            batch.Run(session);
            logits?.Add(session.Logits.ToArray());
            session.Append(sampler.Next(session.Logits, ids, session.Tokens[ids.Length..]));
        }
        return session.Tokens[ids.Length..].ToArray();
    }

    private static List<GoldenError> VerifyPrompt(DecoderModel model, TensorFile expected, string prompt, int[] ids)
    {
        List<GoldenError> errors = [];
        void Compare(string name, ReadOnlySpan<float> found)
        {
            if (expected.Tensors.TryGetValue(prompt + name, out Tensor? tensor))
                errors.Add(new(prompt + name, GoldenError.Relative(found, tensor.Floats), Tolerance));
        }
        float[] logits = Logits(model, AdapterPath.Root, ids, (index, hidden) => Compare($"hidden.{index}", hidden));
        Compare("logits", logits);
        if (model.Config.Rope is { } rope)
        {
            // Of longrope's two sets the library shows the one that it computed last: after the longest prompt, the long one.
            float[] frequencies = Array.ConvertAll(rope.Long ?? rope.Frequencies, x => (float)x);
            Compare("rope.inv_freq", frequencies);
            Compare("rope.full_attention_inv_freq", frequencies);
            Compare("rope.attention_scaling", [(float)rope.AttentionFactor]);
        }
        if (model.Config.WindowRope is { } windowRope)
            Compare("rope.sliding_attention_inv_freq", Array.ConvertAll(windowRope.Frequencies, x => (float)x));
        if (expected.Tensors.TryGetValue(prompt + "greedy", out Tensor? greedy))
        {
            List<float[]> rows = [];
            long[] wanted = greedy.ToInts();
            int[] found = Greedy(model, AdapterPath.Root, ids, wanted.Length, rows);
            errors.Add(new(prompt + "greedy", wanted.Zip(found).Count(p => p.First != p.Second), 0));
            Compare("greedy_logits", rows.SelectMany(r => r).ToArray());
        }
        return errors;
    }
}
