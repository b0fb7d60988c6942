using System.Runtime.CompilerServices;
using EdgeLora.Onnx;

namespace EdgeLora.Tests.Onnx;

/// <summary>ONNX Runtime's devices are there for every test, as in a program that adds them at its start.</summary>
internal static class OnnxFamily
{
    [ModuleInitializer]
    internal static void Add() => ComputeDevices.Add(OnnxDevices.Family);
}
