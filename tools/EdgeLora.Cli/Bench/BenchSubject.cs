using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>The base that is measured, a given one or a random one in a temporary folder, and there the adapters on it.</summary>
internal sealed class BenchSubject : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-bench-").FullName;
    private bool _written;

    private readonly DType _adapterType;

    private BenchSubject(string name, string? path, DType adapterType)
    {
        _adapterType = adapterType;
        Name = adapterType == DType.F32 ? name : $"{name}, adapters {adapterType}";
        Path = path ?? System.IO.Path.Combine(_folder, "model");
    }

    /// <summary>The shape's name, or the path that was given, and how the adapters are stored where it is not F32.</summary>
    public string Name { get; }

    /// <summary>What a host opens.</summary>
    public string Path { get; }

    /// <summary>Tree of the random adapters, without a base.</summary>
    public string Adapters => System.IO.Path.Combine(_folder, "adapters");

    /// <summary>A given model or tree.</summary>
    public static BenchSubject Of(string modelOrTree, DType adapterType) => new(modelOrTree, modelOrTree, adapterType);

    /// <summary>Writes a random base; <paramref name="gguf"/>: as GGUF whatever its type, for who reads nothing else.</summary>
    public static BenchSubject Of(LlamaShape shape, DType type, DType adapterType, bool gguf = false)
    {
        BenchSubject subject = new(shape.Name, null, adapterType);
        try
        {
            Directory.CreateDirectory(subject.Path);
            string stem = System.IO.Path.Combine(subject.Path, "base");
            if (gguf)
                RandomModel.WriteGguf(stem + ".gguf", shape, type);
            else
                RandomModel.Write(stem, shape, type);
            return subject;
        }
        catch
        {
            subject.Dispose();
            throw;
        }
    }

    /// <summary>Writes the adapters, for the first device that opened the base.</summary>
    public void WriteAdapters(SiteCatalog sites, CancellationToken cancellation)
    {
        if (_written)
            return;
        RandomTree.Write(Adapters, sites, _adapterType, cancellation);
        _written = true;
    }

    /// <summary>Removes what was written.</summary>
    public void Dispose()
    {
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }
}
