namespace EdgeLora.Core;

/// <summary>An opened checkpoint: its tensors by name, mapped, and its string metadata. Every format's reader returns one.</summary>
public sealed class TensorFile : IDisposable
{
    private readonly IReadOnlyList<TensorStorage> _storages;

    /// <summary>Takes ownership of <paramref name="storages"/>.</summary>
    public TensorFile(string path, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, string> metadata, IReadOnlyList<TensorStorage> storages)
    {
        FilePath = path;
        Tensors = tensors;
        Metadata = metadata;
        _storages = storages;
    }

    /// <summary>The file or folder it was opened from.</summary>
    public string FilePath { get; }

    /// <summary>Tensors by their verbatim names, in file order where the format has one.</summary>
    public IReadOnlyDictionary<string, Tensor> Tensors { get; }

    /// <summary>String metadata of the container (safetensors <c>__metadata__</c>); empty where there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Unmaps the files. Tensors must not be read afterwards.</summary>
    public void Dispose()
    {
        foreach (TensorStorage storage in _storages)
            storage.Dispose();
    }
}
