using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Devices that run whole models, not single ops, and that a program adds to those a host has by itself: the host need not know who runs them. Its ids begin with
/// <see cref="Name"/> and a colon.
/// </summary>
/// <param name="Name">What the ids begin with: onnx.</param>
/// <param name="Ids">The forms of an id, for people: <c>onnx:cpu or onnx:dml:N</c>.</param>
/// <param name="IsId">Whether an id has the form of one of its devices; the device need not be there.</param>
/// <param name="List">Adds those that are here to the first list, and what is missing to the second.</param>
/// <param name="Open">Opens the device of an id, with so many threads where it is the CPU (0: one a core), and with 8-bit activations where that is true. Throws <see cref="DeviceException"/> where there is none, or none with those.</param>
public sealed record DeviceFamily(string Name, string Ids, Func<string, bool> IsId, Action<List<DeviceInfo>, List<MissingDevice>> List, Func<string, int, bool, IComputeBackend> Open);
