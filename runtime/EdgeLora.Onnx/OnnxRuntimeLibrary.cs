using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>The native onnxruntime library, which the program brings; this project holds the managed half only.</summary>
public static class OnnxRuntimeLibrary
{
    /// <summary>Its version. Throws <see cref="DeviceException"/> that says what to install where there is none, or none that fits.</summary>
    public static string Version => Environment.GetVersionString();

    /// <summary>The names of the execution providers that it was built with, as ONNX Runtime calls them: CPUExecutionProvider, DmlExecutionProvider. Throws as <see cref="Version"/>.</summary>
    public static IReadOnlyList<string> Providers => Environment.GetAvailableProviders();

    /// <summary>ONNX Runtime's own environment, one a process. Throws as <see cref="Version"/>.</summary>
    internal static OrtEnv Environment
    {
        get
        {
            try
            {
                return OrtEnv.Instance();
            }
            catch (Exception e) when (e is TypeInitializationException or DllNotFoundException or EntryPointNotFoundException)
            {
                throw new DeviceException(Describe(e.GetBaseException()), e);
            }
        }
    }

    private static string Describe(Exception e)
    {
        Version? managed = typeof(OrtEnv).Assembly.GetName().Version;
        return e is DllNotFoundException
            ? $"ONNX Runtime is not installed: no onnxruntime library beside the program; add the package Microsoft.ML.OnnxRuntime (on Windows, for GPUs, Microsoft.ML.OnnxRuntime.DirectML) of version {managed?.ToString(3)}"
            // The managed half asks for its own version of the interface; an older library has none to give.
            : $"the onnxruntime library does not fit: this program needs version {managed?.ToString(3)} or newer ({e.Message})";
    }
}
