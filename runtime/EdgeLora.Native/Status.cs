using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Vulkan;

namespace EdgeLora.Native;

/// <summary>What every function returns: EDGELORA_OK and EDGELORA_ERROR_* of edgelora.h.</summary>
internal enum Status
{
    Ok,
    Argument,
    Handle,
    NotFound,
    Refused,
    Device,
    State,
    Buffer,
    Io,
    Internal,
}

/// <summary>A fault that is only C's.</summary>
internal sealed class NativeException(Status status, string message) : Exception(message)
{
    public Status Status { get; } = status;
}

/// <summary>The way in for every call: nothing that is thrown gets out.</summary>
internal static unsafe class Call
{
    /// <summary>Runs a call's body. A fault becomes its code, and its message this thread's last error.</summary>
    public static int Guard(Action body)
    {
        try
        {
            body();
            return (int)Status.Ok;
        }
        catch (Exception e)
        {
            return (int)Tell(e);
        }
    }

    private static Status Tell(Exception fault)
    {
        try
        {
            ThreadText.Keep(ThreadTextSlot.Error, Message(fault));
            return StatusOf(fault);
        }
        catch (Exception)
        {
            // No memory for a message: the code must do.
            return Status.Internal;
        }
    }

    /// <summary>What C reads of a fault.</summary>
    public static string Message(Exception fault) => StatusOf(fault) == Status.Internal ? fault.ToString() : fault.Message;

    private static Status StatusOf(Exception fault) => fault switch
    {
        NativeException native => native.Status,
        ModelFileException => Status.Refused,
        KeyNotFoundException or FileNotFoundException or DirectoryNotFoundException => Status.NotFound,
        VulkanException => Status.Device,
        ArgumentException or ChatTemplateException => Status.Argument,
        ObjectDisposedException => Status.Handle,
        InvalidOperationException => Status.State,
        IOException or UnauthorizedAccessException => Status.Io,
        _ => Status.Internal,
    };
}
