namespace EdgeLora.Core;

/// <summary>A file that must be refused. The message names the file and every fault found; nothing of the file is used.</summary>
public sealed class ModelFileException : IOException
{
    /// <summary>Refuses <paramref name="path"/> for one fault.</summary>
    public ModelFileException(string path, string fault, Exception? inner = null) : base($"{path}: {fault}", inner)
    {
        FilePath = path;
        Faults = [fault];
    }

    /// <summary>Refuses <paramref name="path"/> for all <paramref name="faults"/>.</summary>
    public ModelFileException(string path, IReadOnlyList<string> faults)
        : base(faults.Count == 1 ? $"{path}: {faults[0]}" : $"{path}: {faults.Count} faults\n  " + string.Join("\n  ", faults))
    {
        FilePath = path;
        Faults = faults;
    }

    /// <summary>The refused file or folder.</summary>
    public string FilePath { get; }

    /// <summary>Every fault, one sentence each.</summary>
    public IReadOnlyList<string> Faults { get; }
}
