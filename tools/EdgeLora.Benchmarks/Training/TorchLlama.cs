using EdgeLora.Core;
using EdgeLora.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace EdgeLora.Benchmarks;

/// <summary>
/// The peer: the same Llama, adapter, loss and AdamW in TorchSharp over libtorch, written as a user of it would: fused attention, one product a projection, gradients for A and B alone.
/// Needs libtorch's native library: <c>-p:Libtorch=true</c>.
/// </summary>
internal sealed class TorchLlama : IDisposable
{
    private readonly LlamaShape _sizes;
    private readonly DisposeScope _owned = NewDisposeScope();
    private readonly Dictionary<string, Tensor> _weights = [];
    private readonly Dictionary<string, (Parameter A, Parameter B)> _adapter = [];
    private readonly List<(string Key, Parameter Value)> _parameters = [];
    private readonly Tensor _tokens, _labels, _cos, _sin;
    private readonly AdamW _optimizer;

    /// <summary>The base of <paramref name="folder"/>, an adapter with the values of <paramref name="adapter"/>, the rows of job 0.</summary>
    public TorchLlama(string folder, TrainingCase subject, IReadOnlyList<TrainableTensor> adapter, double learningRate, int threads)
    {
        set_num_threads(threads);
        _sizes = subject.Base;
        using (TensorFile file = Safetensors.Open(Path.Combine(LoraJobs.Base(folder), "model.safetensors")))
            foreach (EdgeLora.Core.Tensor weight in file.Tensors.Values)
                _weights[weight.Name] = From(weight.ToFloats(), weight.Shape);
        foreach (string name in _weights.Keys.Where(n => n.EndsWith("_proj.weight", StringComparison.Ordinal)).Select(n => n[..^".weight".Length]))
        {
            // No layer is as narrow as the rank.
            TrainableTensor[] pair = [.. adapter.Where(t => t.Key.Contains($".{name}.", StringComparison.Ordinal))];
            _adapter[name] = (Train(pair.Single(t => t.Value.Shape[0] == TrainingCase.Rank)), Train(pair.Single(t => t.Value.Shape[0] != TrainingCase.Rank)));
        }
        int[][] rows = [.. Enumerable.Range(0, subject.Sequences).Select(subject.Row)];
        _tokens = tensor(rows.SelectMany(r => r.Select(t => (long)t)).ToArray());
        _labels = tensor(rows.SelectMany(r => r.Skip(1).Select(t => (long)t)).ToArray());
        (_cos, _sin) = Angles(subject.Tokens);
        _optimizer = optim.AdamW(_parameters.Select(p => p.Value), learningRate, 0.9, 0.999, 1e-8, weight_decay: 0);
    }

    /// <summary>Why it cannot run here; null where it can.</summary>
    public static string? Missing()
    {
        try
        {
            set_num_threads(1);
            return null;
        }
        catch (Exception e) when (e is NotSupportedException or TypeInitializationException or DllNotFoundException)
        {
            return $"libtorch does not load ({(e.InnerException ?? e).Message.Split('\n')[0].Trim()}); build with -p:Libtorch=true";
        }
    }

    /// <summary>Forward and backward. Returns the loss.</summary>
    public float Train()
    {
        using DisposeScope _ = NewDisposeScope();
        _optimizer.zero_grad();
        Tensor loss = Loss();
        loss.backward();
        return loss.item<float>();
    }

    /// <summary>The optimizer's step.</summary>
    public void Complete()
    {
        using DisposeScope _ = NewDisposeScope();
        _optimizer.step();
    }

    /// <summary>Gradients after <see cref="Train"/>, by the adapter's keys.</summary>
    public IEnumerable<(string Key, float[] Values)> Gradients()
    {
        foreach ((string key, Parameter value) in _parameters)
            using (Tensor gradient = value.grad!.contiguous())
                yield return (key, gradient.data<float>().ToArray());
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _optimizer.Dispose();
        _owned.Dispose();
    }

    private Tensor Loss()
    {
        long tokens = _cos.shape[0], sequences = _tokens.shape[0] / tokens;
        Tensor x = _weights["model.embed_tokens.weight"].index_select(0, _tokens).view(sequences, tokens, _sizes.Hidden);
        for (int i = 0; i < _sizes.Layers; i++)
        {
            string layer = FormattableString.Invariant($"model.layers.{i}.");
            Tensor h = Norm(x, layer + "input_layernorm");
            Tensor q = Rotate(Heads(Linear(h, layer + "self_attn.q_proj"), _sizes.Heads)), k = Rotate(Heads(Linear(h, layer + "self_attn.k_proj"), _sizes.KvHeads));
            Tensor v = Heads(Linear(h, layer + "self_attn.v_proj"), _sizes.KvHeads);
            if (_sizes.KvHeads != _sizes.Heads)
                (k, v) = (k.repeat_interleave(_sizes.Heads / _sizes.KvHeads, 1), v.repeat_interleave(_sizes.Heads / _sizes.KvHeads, 1));
            Tensor mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_casual: true).transpose(1, 2).reshape(sequences, tokens, _sizes.Hidden);
            x = x + Linear(mixed, layer + "self_attn.o_proj");
            h = Norm(x, layer + "post_attention_layernorm");
            x = x + Linear(nn.functional.silu(Linear(h, layer + "mlp.gate_proj")) * Linear(h, layer + "mlp.up_proj"), layer + "mlp.down_proj");
        }
        // The last token of a row has nothing to predict.
        Tensor logits = nn.functional.linear(Norm(x, "model.norm").narrow(1, 0, tokens - 1), _weights["model.embed_tokens.weight"]);
        return nn.functional.cross_entropy(logits.reshape(-1, _sizes.Vocabulary), _labels);
    }

    private Tensor Linear(Tensor x, string name)
    {
        (Parameter a, Parameter b) = _adapter[name];
        return nn.functional.linear(x, _weights[name + ".weight"]) + nn.functional.linear(nn.functional.linear(x, a), b);
    }

    private Tensor Norm(Tensor x, string name) => x * (x.square().mean([-1], keepdim: true) + 1e-5f).rsqrt() * _weights[name + ".weight"];

    private static Tensor Heads(Tensor x, int heads) => x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2);

    private Tensor Rotate(Tensor x)
    {
        Tensor[] halves = x.chunk(2, -1);
        return x * _cos + cat([-halves[1], halves[0]], -1) * _sin;
    }

    private (Tensor Cos, Tensor Sin) Angles(int tokens)
    {
        int size = _sizes.Hidden / _sizes.Heads;
        float[] cos = new float[tokens * size], sin = new float[tokens * size];
        for (int t = 0; t < tokens; t++)
            for (int d = 0; d < size; d++)
            {
                double angle = t * Math.Pow(10000, -2.0 * (d % (size / 2)) / size);
                (cos[t * size + d], sin[t * size + d]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
            }
        Shape shape = new(tokens, size);
        return (From(cos, shape), From(sin, shape));
    }

    private Parameter Train(TrainableTensor start)
    {
        Parameter parameter = new(From(start.InFileOrder(start.Value), start.Value.Shape), requires_grad: true);
        _parameters.Add((start.Key, parameter));
        return parameter;
    }

    private static Tensor From(float[] values, Shape shape) => tensor(values, shape.Rank == 1 ? [shape[0]] : [shape[0], shape[1]]);
}
