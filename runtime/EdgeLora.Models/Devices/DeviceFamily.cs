namespace EdgeLora.Models;

/// <summary>
/// Devices that run whole models, not single ops, and that a program adds to those a host has by itself: the host need not know who runs them. Its ids begin with
/// <see cref="Name"/> and a colon.
/// </summary>
/// <param name="Name">What the ids begin with: onnx.</param>
/// <param name="Ids">The forms of an id, for people: <c>onnx:cpu or onnx:dml:N</c>.</param>
/// <param name="IsId">Whether an id has the form of one of its devices; the device need not be there.</param>
/// <param name="List">Adds those that are here to the first list, and what is missing to the second.</param>
/// <param name="Load">Loads a base onto the device of an id. Throws <see cref="Core.DeviceException"/> where there is none, <see cref="Core.ModelFileException"/> for a base it cannot run.</param>
public sealed record DeviceFamily(string Name, string Ids, Func<string, bool> IsId, Action<List<DeviceInfo>, List<MissingDevice>> List, LoadModel Load);

/// <summary>Loads a base onto a device.</summary>
/// <param name="device">The device's id.</param>
/// <param name="checkpoint">The base.</param>
/// <param name="layers">For layer_replication: which of the base's layers make up the model; null: all in order.</param>
/// <param name="threads">Threads where the device is the CPU; 0: one a core.</param>
public delegate ICausalLM LoadModel(string device, BaseCheckpoint checkpoint, int[]? layers, int threads);
