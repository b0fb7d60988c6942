namespace EdgeLora.Core;

/// <summary>Faults found in one file, gathered so that one refusal names them all. The list stops growing at <see cref="Limit"/>; the count goes on.</summary>
public sealed class FaultList(string path)
{
    /// <summary>Faults that are spelled out; the rest are only counted.</summary>
    public const int Limit = 32;

    private readonly List<string> _faults = [];

    /// <summary>Faults added so far.</summary>
    public int Count { get; private set; }

    /// <summary>Adds one fault: the thing, what was expected, what was found.</summary>
    public void Add(string fault)
    {
        if (++Count <= Limit)
            _faults.Add(fault);
    }

    /// <summary>Throws <see cref="ModelFileException"/> with every fault, or returns when there is none.</summary>
    public void ThrowIfAny()
    {
        if (Count == 0)
            return;
        if (Count > Limit)
            _faults.Add($"and {Count - Limit} more");
        throw new ModelFileException(path, _faults);
    }
}
