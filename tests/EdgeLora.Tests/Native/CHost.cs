using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using EdgeLora.Models;
using EdgeLora.Native;
using Xunit;

namespace EdgeLora.Tests.Native;

/// <summary>A host opened as C opens it: through the exports, by pointers to them.</summary>
internal sealed unsafe class CHost : IDisposable
{
    public CHost(string? tree = null, bool watch = false)
    {
        fixed (byte* path = Bytes(tree ?? Path.Combine(SharedFolder.Repository, "adapters", "nano")))
        {
            OpenOptionsLayout options = new() { Size = (uint)sizeof(OpenOptionsLayout), Tree = path, Threads = 1, Watch = watch ? 1 : 0 };
            ulong host;
            Ok(((delegate* unmanaged[Cdecl]<OpenOptionsLayout*, ulong*, int>)&HostExports.Open)(&options, &host));
            Handle = host;
        }
    }

    public ulong Handle { get; }

    public void Dispose()
    {
        // A test may have closed it.
        int status = Close(Handle);
        Assert.True(status is (int)Status.Ok or (int)Status.Handle);
    }

    public static byte[] Bytes(string text) => System.Text.Encoding.UTF8.GetBytes(text + "\0");

    public static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text)!;

    public static string Error => Text(((delegate* unmanaged[Cdecl]<byte*>)&HostExports.LastError)());

    public static int LiveHandles => ((delegate* unmanaged[Cdecl]<int>)&HostExports.LiveHandles)();

    /// <summary>Fails the test with the message of a status that is not ok.</summary>
    public static void Ok(int status) => Assert.True(status == (int)Status.Ok, status == (int)Status.Ok ? "" : $"{(Status)status}: {Error}");

    public static int Close(ulong host) => ((delegate* unmanaged[Cdecl]<ulong, int>)&HostExports.Close)(host);

    public static int CloseSession(ulong session) => ((delegate* unmanaged[Cdecl]<ulong, int>)&SessionExports.Close)(session);

    public int TickStatus(long budgetUs = 5000)
    {
        TickReportLayout report = new() { Size = (uint)sizeof(TickReportLayout) };
        return ((delegate* unmanaged[Cdecl]<ulong, long, TickReportLayout*, int>)&HostExports.Tick)(Handle, budgetUs, &report);
    }

    public TickReportLayout Tick()
    {
        TickReportLayout report = new() { Size = (uint)sizeof(TickReportLayout) };
        Ok(((delegate* unmanaged[Cdecl]<ulong, long, TickReportLayout*, int>)&HostExports.Tick)(Handle, 5000, &report));
        return report;
    }

    public int Run(long budgetUs) => ((delegate* unmanaged[Cdecl]<ulong, long, int>)&HostExports.Run)(Handle, budgetUs);

    public int Stop() => ((delegate* unmanaged[Cdecl]<ulong, int>)&HostExports.Stop)(Handle);

    public int OpenStatus(string node, out ulong session)
    {
        ulong opened;
        fixed (byte* path = Bytes(node))
        {
            int status = ((delegate* unmanaged[Cdecl]<ulong, byte*, SessionOptionsLayout*, ulong*, int>)&SessionExports.Open)(Handle, path, null, &opened);
            session = opened;
            return status;
        }
    }

    public ulong Open(string node)
    {
        Ok(OpenStatus(node, out ulong session));
        return session;
    }

    public static int Switch(ulong session, string node)
    {
        fixed (byte* path = Bytes(node))
            return ((delegate* unmanaged[Cdecl]<ulong, byte*, int, int>)&SessionExports.Switch)(session, path, (int)KvPolicy.Recompute);
    }

    public static int Truncate(ulong session, int count) => ((delegate* unmanaged[Cdecl]<ulong, int, int>)&SessionExports.Truncate)(session, count);

    public static int Cancel(ulong session) => ((delegate* unmanaged[Cdecl]<ulong, int>)&SessionExports.Cancel)(session);

    public static int Generate(ulong session, string prompt, int maxTokens)
    {
        GenerateOptionsLayout options = new() { Size = (uint)sizeof(GenerateOptionsLayout), MaxTokens = maxTokens, IgnoreEnd = 1 };
        fixed (byte* text = Bytes(prompt))
            return ((delegate* unmanaged[Cdecl]<ulong, byte*, GenerateOptionsLayout*, int>)&SessionExports.Generate)(session, text, &options);
    }

    public static int Read(ulong session, int capacity, out string text, out bool finished, out StopReason reason)
    {
        byte[] buffer = new byte[capacity];
        nuint length;
        int ended = 0, why = 0, status;
        fixed (byte* first = buffer)
            status = ((delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, int*, int*, int>)&SessionExports.Read)(session, first, (nuint)capacity, &length, &ended, &why);
        (text, finished, reason) = (new UTF8Encoding(false, true).GetString(buffer, 0, (int)length), ended != 0, (StopReason)why);
        return status;
    }

    /// <summary>Ticks, unless the host does it itself, and reads to the end.</summary>
    public (string Text, StopReason Reason) ReadAll(ulong session, bool tick = true, int capacity = 16)
    {
        StringBuilder all = new();
        DateTime end = DateTime.UtcNow.AddSeconds(180);
        while (true)
        {
            if (tick)
                Tick();
            else
                Thread.Sleep(1);
            Ok(Read(session, capacity, out string text, out bool finished, out StopReason reason));
            all.Append(text);
            if (finished)
                return (all.ToString(), reason);
            Assert.True(DateTime.UtcNow < end, "the generation did not end in 180 s");
        }
    }

    public SessionInfoLayout Info(ulong session)
    {
        SessionInfoLayout info = new() { Size = (uint)sizeof(SessionInfoLayout) };
        Ok(((delegate* unmanaged[Cdecl]<ulong, SessionInfoLayout*, int>)&SessionExports.Get)(session, &info));
        return info;
    }

    public NodeLayout Node(string path)
    {
        NodeLayout node = new() { Size = (uint)sizeof(NodeLayout) };
        fixed (byte* text = Bytes(path))
            Ok(((delegate* unmanaged[Cdecl]<ulong, byte*, NodeLayout*, int>)&TreeExports.NodeFind)(Handle, text, &node));
        return node;
    }

    public int Mount(string folder, string parent, string name, bool wait)
    {
        fixed (byte* f = Bytes(folder), p = Bytes(parent), n = Bytes(name))
            return ((delegate* unmanaged[Cdecl]<ulong, byte*, byte*, byte*, int, int>)&TreeExports.Mount)(Handle, f, p, n, wait ? 1 : 0);
    }

    public int Unmount(string node)
    {
        fixed (byte* n = Bytes(node))
            return ((delegate* unmanaged[Cdecl]<ulong, byte*, int>)&TreeExports.Unmount)(Handle, n);
    }

    public int Reload(string node, bool wait)
    {
        fixed (byte* n = Bytes(node))
            return ((delegate* unmanaged[Cdecl]<ulong, byte*, int, int>)&TreeExports.Reload)(Handle, n, wait ? 1 : 0);
    }

    public (AdapterEventKind Kind, string Node, string Faults)? NextEvent()
    {
        EventLayout happened = new() { Size = (uint)sizeof(EventLayout) };
        int found;
        Ok(((delegate* unmanaged[Cdecl]<ulong, EventLayout*, int*, int>)&HostExports.EventNext)(Handle, &happened, &found));
        return found == 0 ? null : ((AdapterEventKind)happened.Kind, Text(happened.Node), Text(happened.Faults));
    }
}
