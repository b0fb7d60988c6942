using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>
/// The base's weights as initializers of every graph of one model: F32 (and F16 in an F16 graph) where the checkpoint is mapped, without a copy; F16, BF16 and quantised types without a layout here widened, Q8_0 and Q4_0 laid out anew, in memory, once.
/// A table of embeddings stays as it is stored, but for the quantised types that are widened.
/// </summary>
/// <param name="activations">What graphs compute in: Float or Float16.</param>
/// <param name="embed">Whether weights that were made in memory lie in the models themselves: where ONNX Runtime rewrites a graph it looks at weights before it takes those that it is given.</param>
/// <param name="file">For a model that is written: the name of the file with its weights. Null: sessions are given them.</param>
internal sealed class GraphWeights(OnnxType activations, bool embed = false, string? file = null) : IDisposable
{
    private readonly Dictionary<(DeviceTensor, string), GraphTensor> _tensors = [];
    private readonly Dictionary<DeviceTensor, BlockLayout> _blocks = [];
    // Where a file's tensors lie in it; page-aligned, so that readers can map them.
    private const int Alignment = 4096;

    private readonly List<(GraphTensor Tensor, long Offset)> _placed = [];
    private readonly Dictionary<string, GraphTensor> _byName = new(StringComparer.Ordinal);
    // What is given to the session names a file nevertheless, which has to be there: where none holds the weight, any will do.
    private string? _folder, _anyFile;

    /// <summary>What graphs compute in.</summary>
    public OnnxType Activations => activations;

    /// <summary>Whether linear layers of Q8_0 are widened, for a CPU that is slow with exact products of 8-bit blocks.</summary>
    public bool WidensBytes { get; init; }

    /// <summary>MatMulNBits' accuracy_level: 1 is F32 activations, 4 is 8-bit ones.</summary>
    public long AccuracyLevel { get; init; } = 1;

    /// <summary>A weight in the type that graphs compute in, its stored dimensions.</summary>
    public GraphTensor Computed(DeviceTensor weight) => Get(weight, "computed", host => weight.Type.BlockSize() == 1 && GraphTensor.TypeOf(weight.Type) == activations
        ? GraphTensor.Of(host, weight.Shape.Dimensions)
        : GraphTensor.Of(weight.ToFloats(), activations, weight.Shape.Dimensions));

    /// <summary>A weight of a float type as it is stored.</summary>
    public GraphTensor Stored(DeviceTensor weight) => Get(weight, "stored", host => GraphTensor.Of(host, weight.Shape.Dimensions));

    /// <summary>A quantised weight's blocks and scales.</summary>
    public BlockLayout Blocks(DeviceTensor weight)
    {
        if (!_blocks.TryGetValue(weight, out BlockLayout? layout))
            _blocks[weight] = layout = BlockLayout.Of((HostTensor)weight, activations);
        return layout;
    }

    /// <summary>Declares a tensor of this model in a graph under <paramref name="name"/>, which is the same in every graph. False: the model holds it, the session needs not be given it.</summary>
    public bool Declare(OnnxGraph graph, string name, GraphTensor tensor)
    {
        if (!_byName.TryAdd(name, tensor) && !ReferenceEquals(_byName[name], tensor))
            throw new InvalidOperationException($"{name}: names two weights");
        if (file is not null)
        {
            graph.External(name, tensor.Type, tensor.Shape, file, Place(tensor), tensor.ByteLength);
            return true;
        }
        string path = tensor.Place is { } place ? Resolve(place.Path) : _anyFile ?? Resolve(Environment.ProcessPath!);
        // All files of one session lie in one folder: that of the checkpoint.
        (_folder, _anyFile) = (_folder ?? Path.GetDirectoryName(path)!, _anyFile ?? path);
        bool there = tensor.Place is not null && Path.GetDirectoryName(path) == _folder;
        if (!there && embed)
        {
            graph.Constant(name, tensor.Type, tensor.Shape, tensor.Bytes);
            return false;
        }
        graph.External(name, tensor.Type, tensor.Shape, Path.GetFileName(there ? path : _anyFile), there ? tensor.Place!.Value.Offset : 0, tensor.ByteLength);
        return true;
    }

    /// <summary>Bytes of the file with all that was declared.</summary>
    public long FileLength => _placed.Count == 0 ? 0 : _placed[^1].Offset + _placed[^1].Tensor.ByteLength;

    /// <summary>Writes the file with all that was declared.</summary>
    public void WriteTo(Stream stream, CancellationToken cancellation)
    {
        byte[] zeros = new byte[Alignment];
        long at = 0;
        foreach ((GraphTensor tensor, long offset) in _placed)
        {
            cancellation.ThrowIfCancellationRequested();
            stream.Write(zeros, 0, (int)(offset - at));
            stream.Write(tensor.Bytes);
            at = offset + tensor.ByteLength;
        }
    }

    /// <summary>Gives a session the tensors that its graph declares.</summary>
    public void AddTo(SessionOptions options, IEnumerable<string> names)
    {
        if (_folder is not null)
            options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", _folder);
        // Who looks at a weight while the session is made looks into the file; what is given to the session counts only afterwards.
        options.AddSessionConfigEntry("optimization.disable_specified_optimizers", "ConstantFolding");
        options.AddSessionConfigEntry("ep.dml.disable_graph_fusion", "1");
        foreach (string name in names)
            options.AddInitializer(name, _byName[name].Value);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GraphTensor tensor in _byName.Values)
            tensor.Dispose();
    }

    // Two views of the same bytes are written once.
    private long Place(GraphTensor tensor)
    {
        if (_placed.Find(p => p.Tensor.Address == tensor.Address && p.Tensor.ByteLength == tensor.ByteLength) is { Tensor: not null } same)
            return same.Offset;
        long offset = (FileLength + Alignment - 1) / Alignment * Alignment;
        _placed.Add((tensor, offset));
        return offset;
    }

    // ONNX Runtime follows links, and refuses files that then lie outside the folder.
    private static string Resolve(string path) => Path.GetFullPath(File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path);

    private GraphTensor Get(DeviceTensor weight, string form, Func<HostTensor, GraphTensor> make)
    {
        if (!_tensors.TryGetValue((weight, form), out GraphTensor? tensor))
            _tensors[(weight, form)] = tensor = make((HostTensor)weight);
        return tensor;
    }
}
