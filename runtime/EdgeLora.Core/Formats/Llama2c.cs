using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace EdgeLora.Core;

// Layout (github.com/karpathy/llama2.c, export.py), little-endian. Seven i32 name the sizes: dim, hidden_dim, layers, heads, kv_heads, vocabulary, sequence length.
//   v0  sizes (a negative vocabulary: the head is not shared), then F32: embedding, attention norms, wq, wk, wv, wo, ffn norms, w1, w2, w3 (each for all layers),
//       final norm, freq_cis_real and freq_cis_imag [sequence, head/2] (not used), head unless shared
//   v1  "24ka" i32 1 sizes u8 shared, zeros to byte 256, then F32: attention norms, ffn norms, final norm, embedding, wq, wk, wv, wo, w1, w2, w3, head unless shared
//   v2  "24ka" i32 2 sizes u8 shared i32 group, zeros to byte 256, then norms as v1 in F32, then v1's weights, each tensor as int8 q[n] and F32 s[n/group]: x = s·q
// w1 is gate, w2 down, w3 up. Rows of wq and wk lie for rotation of neighbours (2i, 2i + 1).

/// <summary>An opened llama2.c checkpoint of version 0, 1 or 2. F32 weights stay mapped; v2's are dequantised.</summary>
public sealed class Llama2c : IDisposable
{
    private const uint Magic = 0x616B3432;
    private const int HeaderBytes = 256, LegacyHeaderBytes = 28, LargestSize = 1 << 24, MostLayers = 4096;

    private readonly MappedFile _file;
    private readonly List<(string Name, Shape Shape, bool Quantised)> _layout = [];
    private long _start;

    private Llama2c(MappedFile file) => _file = file;

    /// <summary>The path that was opened.</summary>
    public string FilePath => _file.FilePath;

    /// <summary>0 (no magic), 1, or 2 (quantised).</summary>
    public int Version { get; private set; }

    /// <summary>D.</summary>
    public int HiddenSize { get; private set; }

    /// <summary>F.</summary>
    public int FeedForward { get; private set; }

    /// <summary>Decoder layers.</summary>
    public int Layers { get; private set; }

    /// <summary>H: query heads.</summary>
    public int Heads { get; private set; }

    /// <summary>K: key/value heads.</summary>
    public int KvHeads { get; private set; }

    /// <summary>V.</summary>
    public int Vocabulary { get; private set; }

    /// <summary>Positions the model was trained for.</summary>
    public int ContextLength { get; private set; }

    /// <summary>True when the head is the embedding table.</summary>
    public bool SharesHead { get; private set; }

    /// <summary>Elements that share a scale in version 2; 0 in others.</summary>
    public int GroupSize { get; private set; }

    /// <summary>Opens a checkpoint. Throws <see cref="ModelFileException"/> naming the size or the length that does not fit.</summary>
    public static Llama2c Open(string path)
    {
        MappedFile file;
        try
        {
            file = new(path);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new ModelFileException(path, "the file cannot be opened: " + e.Message, e);
        }
        Llama2c checkpoint = new(file);
        try
        {
            checkpoint.ReadHeader();
            checkpoint.LayOut();
            return checkpoint;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The weights under Hugging Face's Llama names; rows of q_proj and k_proj in the file's order (neighbours rotate). Version 2 is dequantised here: at most four
    /// times the file's bytes. The result shares this file's mapping.
    /// </summary>
    public TensorFile ToTensorFile()
    {
        Dictionary<string, Tensor> tensors = [];
        List<TensorStorage> storages = [_file];
        long offset = _start;
        foreach ((string name, Shape shape, bool quantised) in _layout)
        {
            // Names that begin with a dot are tables the model does not need.
            if (!name.StartsWith('.'))
            {
                if (shape.Elements > int.MaxValue / 4)
                    throw new ModelFileException(FilePath, $"{name}: {shape} has more than the {int.MaxValue} bytes that one tensor may have");
                TensorStorage storage = quantised ? Dequantised(offset, (int)shape.Elements) : _file;
                if (quantised)
                    storages.Add(storage);
                tensors.Add(name, new(name, DType.F32, shape, storage, quantised ? 0 : offset));
            }
            offset += Bytes(shape.Elements, quantised);
        }
        return new(FilePath, tensors, new Dictionary<string, string>(), storages);
    }

    /// <summary>Unmaps the file. Tensors must not be read afterwards.</summary>
    public void Dispose() => _file.Dispose();

    private void ReadHeader()
    {
        ReadOnlySpan<byte> header = _file.Bytes(0, (int)Math.Min(HeaderBytes, _file.Length));
        if (header.Length < LegacyHeaderBytes)
            throw Fault($"the file ends at byte {header.Length}, inside the header; expected at least {LegacyHeaderBytes} bytes");
        int sizes = 0;
        _start = LegacyHeaderBytes;
        if (BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic)
        {
            Version = BinaryPrimitives.ReadInt32LittleEndian(header[4..]);
            if (Version is not (1 or 2))
                throw Fault($"expected version 1 or 2 after the magic, found version {Version}");
            if (header.Length < HeaderBytes)
                throw Fault($"the file ends at byte {header.Length}, inside the header of {HeaderBytes}");
            (sizes, _start) = (8, HeaderBytes);
        }
        HiddenSize = Size(header, sizes, "dim", LargestSize);
        FeedForward = Size(header, sizes + 4, "hidden_dim", LargestSize);
        Layers = Size(header, sizes + 8, "n_layers", MostLayers);
        Heads = Size(header, sizes + 12, "n_heads", HiddenSize);
        KvHeads = Size(header, sizes + 16, "n_kv_heads", Heads);
        int vocabulary = BinaryPrimitives.ReadInt32LittleEndian(header[(sizes + 20)..]);
        SharesHead = Version == 0 ? vocabulary > 0 : header[36] != 0;
        Vocabulary = Version == 0 && vocabulary is < 0 and >= -LargestSize ? -vocabulary : Size(header, sizes + 20, "vocab_size", LargestSize);
        ContextLength = Size(header, sizes + 24, "seq_len", LargestSize);
        if (HiddenSize % Heads != 0 || HiddenSize / Heads % 2 != 0)
            throw Fault($"n_heads: expected heads of an even size in dim {HiddenSize}, found {Heads}");
        if (Heads % KvHeads != 0)
            throw Fault($"n_kv_heads: expected a divisor of n_heads {Heads}, found {KvHeads}");
        if (Version == 2)
            GroupSize = Size(header, 37, "group_size", LargestSize);
        // Before a name is made for every layer: each has two norms in F32.
        if (8L * HiddenSize * Layers > _file.Length - _start)
            throw Fault($"the file ends at byte {_file.Length}; the norms of {Layers} layers alone take {8L * HiddenSize * Layers} bytes");
    }

    private int Size(ReadOnlySpan<byte> header, int at, string name, int most)
    {
        int value = BinaryPrimitives.ReadInt32LittleEndian(header[at..]);
        return value >= 1 && value <= most ? value
            : throw Fault($"{name}: expected 1 to {most}, found {value}{(Version == 0 ? "; nor does the file begin with the magic 24ka" : "")}");
    }

    private void LayOut()
    {
        int d = HiddenSize, kv = d / Heads * KvHeads, f = FeedForward;
        bool q = Version == 2;
        if (Version == 0)
            Add("model.embed_tokens.weight", false, Vocabulary, d);
        AddLayers("input_layernorm", false, d);
        if (Version != 0)
        {
            AddLayers("post_attention_layernorm", false, d);
            Add("model.norm.weight", false, d);
            Add("model.embed_tokens.weight", q, Vocabulary, d);
        }
        AddLayers("self_attn.q_proj", q, d, d);
        AddLayers("self_attn.k_proj", q, kv, d);
        AddLayers("self_attn.v_proj", q, kv, d);
        AddLayers("self_attn.o_proj", q, d, d);
        if (Version == 0)
            AddLayers("post_attention_layernorm", false, d);
        AddLayers("mlp.gate_proj", q, f, d);
        AddLayers("mlp.down_proj", q, d, f);
        AddLayers("mlp.up_proj", q, f, d);
        if (Version == 0)
        {
            Add("model.norm.weight", false, d);
            Add(".freq_cis", false, 2, ContextLength, d / Heads / 2);
        }
        if (!SharesHead)
            Add("lm_head.weight", q, Vocabulary, d);

        Int128 end = _start;
        foreach ((string name, Shape shape, bool quantised) in _layout)
        {
            if (quantised && shape.Elements % GroupSize != 0)
                throw Fault($"group_size: expected a divisor of the {shape.Elements} elements of {name}, found {GroupSize}");
            end += Bytes(shape.Elements, quantised);
        }
        if (end != _file.Length)
            throw Fault($"version {Version} with dim {d}, {Layers} layers and a vocabulary of {Vocabulary} takes {end} bytes, but the file ends at byte {_file.Length}");
    }

    private void AddLayers(string module, bool quantised, params ReadOnlySpan<long> shape)
    {
        for (int i = 0; i < Layers; i++)
            Add(string.Create(CultureInfo.InvariantCulture, $"model.layers.{i}.{module}.weight"), quantised, shape);
    }

    private void Add(string name, bool quantised, params ReadOnlySpan<long> shape) => _layout.Add((name, new Shape(shape), quantised));

    private long Bytes(long elements, bool quantised) => quantised ? elements + elements / GroupSize * 4 : elements * 4;

    private ArrayStorage Dequantised(long offset, int elements)
    {
        ArrayStorage storage = new(elements * 4);
        Span<float> x = MemoryMarshal.Cast<byte, float>(storage.Writable);
        ReadOnlySpan<byte> q = _file.Bytes(offset, elements), scales = _file.Bytes(offset + elements, elements / GroupSize * 4);
        for (int i = 0; i < elements; i++)
            x[i] = BinaryPrimitives.ReadSingleLittleEndian(scales[(i / GroupSize * 4)..]) * (sbyte)q[i];
        return storage;
    }

    private ModelFileException Fault(string fault) => new(FilePath, fault);
}
