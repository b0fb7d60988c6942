using System.Threading.Channels;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>What the host keeps of a session. The tick's thread only.</summary>
internal sealed class ServedSession(HostSession face, Session core, AdapterLease lease) : IDisposable
{
    public HostSession Face { get; } = face;

    public Session Core { get; } = core;

    /// <summary>Where it stands.</summary>
    public AdapterLease Lease { get; set; } = lease;

    /// <summary>The running or waiting generation; null: idle.</summary>
    public Generator? Generator { get; private set; }

    public CancellationToken Cancellation { get; private set; }

    /// <summary>Bytes that its keys and values may come to by the end of the generation.</summary>
    public long NeededBytes { get; set; }

    /// <summary>Its generation is among those that steps serve; false: it waits, or there is none.</summary>
    public bool Runs { get; set; }

    /// <summary>Tokens served, over its weight: who has least is next.</summary>
    public double Served { get; set; }

    /// <summary>When it was served last, in steps.</summary>
    public long LastServed { get; set; }

    private GeneratedText? Text { get; set; }

    private ChannelWriter<GeneratedPiece>? Output { get; set; }

    private GenerationTrace? Trace { get; set; }

    /// <summary>Starts a generation behind the tokens so far.</summary>
    public void Begin(Generator generator, GeneratedText? text, ChannelWriter<GeneratedPiece> output, GenerationTrace trace, CancellationToken cancellation)
    {
        (Generator, Text, Output, Trace, Cancellation) = (generator, text, output, trace, cancellation);
        trace.Began(Core.Count);
    }

    /// <summary>Whether this is where the running generation's pieces go.</summary>
    public bool WritesTo(ChannelWriter<GeneratedPiece> output) => Output == output;

    /// <summary>Takes the next token from the logits, which are there. False: the generation has ended. A fault in choosing ends the stream with it.</summary>
    public bool Choose()
    {
        try
        {
            if (!Generator!.HasNext() || !Generator.Choose(out int token))
            {
                End();
                return false;
            }
            Trace!.Token();
            Output!.TryWrite(new(token, Text?.Push(token, Generator) ?? "", Generator.Stop));
            if (Generator.Stop == StopReason.None && Generator.HasNext())
                return true;
            End();
            return false;
        }
        catch (Exception e)
        {
            Fail(e);
            return false;
        }
    }

    /// <summary>Ends the generation, with a last piece for what was held back.</summary>
    public void End()
    {
        if (Generator is null)
            return;
        if (Generator.Stop != StopReason.StopString)
            Output!.TryWrite(new(-1, Text?.Flush() ?? "", Generator.Stop));
        Trace!.Ended(new(Lease.Node.Path, Lease.Generation), Generator.Stop);
        Output!.Complete();
        Clear();
    }

    /// <summary>Ends the stream with a fault.</summary>
    public void Fail(Exception fault)
    {
        Trace?.Ended(new(Lease.Node.Path, Lease.Generation), StopReason.None);
        Output?.Complete(fault);
        Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Core.Dispose();
        Lease.Dispose();
    }

    private void Clear() => (Generator, Text, Output, Trace, NeededBytes) = (null, null, null, null, 0);
}
