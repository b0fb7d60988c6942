namespace EdgeLora.Core;

/// <summary>A device could not be used, or stopped working.</summary>
/// <param name="message">What was asked, what was found, and where it helps what to install.</param>
/// <param name="inner">What a library said.</param>
public class DeviceException(string message, Exception? inner = null) : Exception(message, inner);
