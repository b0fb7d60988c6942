using System.Runtime.InteropServices;
using EdgeLora.Models;

namespace EdgeLora.Native;

/// <summary>edgelora_session_options.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SessionOptionsLayout : ILayout
{
    public uint Size;
    public int Priority;
    public double Weight;
    public int Reload;
    public int ReserveTokens;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    /// <summary>The host's options; 0 leaves a default.</summary>
    public readonly HostSessionOptions ToOptions()
    {
        HostSessionOptions defaults = new();
        if (Reload is < 0 or > (int)ReloadPolicy.MoveAtOnce)
            throw new ArgumentException($"reload: expected EDGELORA_RELOAD_*, found {Reload}");
        if (ReserveTokens < 0)
            throw new ArgumentException($"reserve_tokens: expected 0 or more, found {ReserveTokens}");
        return new()
        {
            Priority = Priority,
            Weight = Weight == 0 ? defaults.Weight : Weight,
            Reload = (ReloadPolicy)Reload,
            ReserveTokens = ReserveTokens == 0 ? defaults.ReserveTokens : ReserveTokens,
        };
    }
}

/// <summary>edgelora_session_info.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SessionInfoLayout : ILayout
{
    public uint Size;
    public int State;
    public int WaitingPlace;
    public int TokenCount;
    public long KvBytes;
    public int NodeGeneration;
    public int Reserved;
    public byte* Node;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    public void Set(HostSession session)
    {
        State = (int)session.State;
        WaitingPlace = session.WaitingPlace;
        TokenCount = session.TokenCount;
        KvBytes = session.KvBytes;
        NodeGeneration = session.Node.Generation;
        Node = ThreadText.Keep(ThreadTextSlot.SessionNode, session.Node.Node);
    }
}

/// <summary>edgelora_generate_options.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct GenerateOptionsLayout : ILayout
{
    public uint Size;
    public int MaxTokens;
    public int IgnoreEnd;
    public int AddSpecialTokens;
    public double Temperature;
    public int TopK;
    public int StopCount;
    public double TopP;
    public double MinP;
    public double RepetitionPenalty;
    public ulong Seed;
    public byte** Stops;

    uint ILayout.Size { readonly get => Size; set => Size = value; }

    /// <summary>The host's options; 0 leaves a default, which for samplers is off.</summary>
    public readonly GenerationOptions ToOptions()
    {
        GenerationOptions defaults = new();
        if (MaxTokens < 0)
            throw new ArgumentException($"max_tokens: expected 0 or more, found {MaxTokens}");
        if (StopCount < 0 || (StopCount > 0 && Stops is null))
            throw new ArgumentException($"stops: expected {StopCount} texts, found {(Stops is null ? "NULL" : "a negative count")}");
        string[] stops = new string[StopCount];
        for (int i = 0; i < stops.Length; i++)
            stops[i] = Utf8.Read(Stops[i], $"stops[{i}]");
        return new()
        {
            MaxTokens = MaxTokens == 0 ? defaults.MaxTokens : MaxTokens,
            IgnoreEnd = IgnoreEnd != 0,
            StopStrings = stops,
            Sampling = defaults.Sampling with
            {
                Temperature = Temperature,
                TopK = TopK,
                TopP = TopP == 0 ? defaults.Sampling.TopP : TopP,
                MinP = MinP,
                RepetitionPenalty = RepetitionPenalty == 0 ? defaults.Sampling.RepetitionPenalty : RepetitionPenalty,
                Seed = Seed,
            },
        };
    }
}
