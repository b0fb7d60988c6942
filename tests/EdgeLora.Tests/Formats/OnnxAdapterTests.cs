using System.Text.Json;
using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>.onnx_adapter files of ../shared/fixtures/onnx_adapter, written there by ONNX Runtime (scripts/onnx_adapters.py), and files of ours that ONNX Runtime reads.</summary>
public sealed class OnnxAdapterTests : IDisposable
{
    private static readonly Random s_random = new(5);
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-onnx-").FullName;

    public static TheoryData<string> Names => ["llama-f32", "llama-f16", "small", "types", "versions-negative", "no-parameters"];

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, MemberData(nameof(Names))]
    public void A_file_of_ONNX_Runtime_is_read_to_the_last_bit(string name)
    {
        string path = SharedFolder.Require($"fixtures/onnx_adapter/{name}.onnx_adapter");
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/onnx_adapter/cases.json")));
        JsonElement row = cases.RootElement.EnumerateArray().Single(e => e.GetProperty("file").GetString() == name + ".onnx_adapter");
        using OnnxAdapter adapter = OnnxAdapter.Read(path);
        Assert.Equal(row.GetProperty("adapter_version").GetInt32(), adapter.AdapterVersion);
        Assert.Equal(row.GetProperty("model_version").GetInt32(), adapter.ModelVersion);
        Assert.Equal(row.GetProperty("parameters").EnumerateObject().Select(p => p.Name), adapter.File.Tensors.Keys);
        if (adapter.File.Tensors.Count == 0)
            return;
        using TensorFile expected = Safetensors.Open(SharedFolder.Require($"fixtures/onnx_adapter/{name}.safetensors"));
        AssertSame(expected, adapter.File);
    }

    [Theory, MemberData(nameof(Names))]
    public void What_is_written_again_is_read_by_ONNX_Runtime_and_holds_the_same(string name)
    {
        string path = Path.Combine(_folder, "again.onnx_adapter");
        string source = SharedFolder.Require($"fixtures/onnx_adapter/{name}.onnx_adapter");
        using OnnxAdapter original = OnnxAdapter.Read(source);
        OnnxAdapter.Write(path, [.. original.File.Tensors.Values], original.AdapterVersion, original.ModelVersion, TestContext.Current.CancellationToken);
        using OnnxAdapter written = OnnxAdapter.Read(path);
        Assert.Equal((original.AdapterVersion, original.ModelVersion), (written.AdapterVersion, written.ModelVersion));
        Assert.Equal(original.File.Tensors.Keys, written.File.Tensors.Keys);
        AssertSame(original.File, written.File);
        // ONNX Runtime verifies the whole buffer and makes a value of every parameter. It reads less than it writes: of its own "types" it takes no bool and no scalar.
        Assert.Equal(RuntimeRefuses(source), RuntimeRefuses(path));
        Assert.Equal(name == "types", RuntimeRefuses(path) is not null);
    }

    [Fact]
    public void Tensors_of_every_type_and_awkward_sizes_come_back()
    {
        DType[] types = [DType.F32, DType.F16, DType.BF16, DType.F64, DType.I8, DType.I16, DType.I32, DType.I64, DType.U8, DType.U16, DType.U32, DType.U64, DType.Bool, DType.F8E4M3, DType.F8E5M2];
        List<Tensor> tensors = [];
        foreach (DType type in types)
            foreach (Shape shape in new[] { new Shape(), new Shape(0), new Shape(1), new Shape(3, 5), new Shape(2, 1, 3, 1, 1) })
                tensors.Add(Filled($"{new string('n', tensors.Count)}{type}{shape}", type, shape));
        string path = Path.Combine(_folder, "types.onnx_adapter");
        OnnxAdapter.Write(path, tensors, -7, int.MaxValue, TestContext.Current.CancellationToken);
        using OnnxAdapter read = OnnxAdapter.Read(path);
        Assert.Equal((-7, int.MaxValue), (read.AdapterVersion, read.ModelVersion));
        Assert.Equal(tensors.Select(t => t.Name), read.File.Tensors.Keys);
        AssertSame(new("", tensors.ToDictionary(t => t.Name), new Dictionary<string, string>(), []), read.File);
        foreach (Tensor tensor in tensors.Where(t => t.Shape.Rank > 0 && t.Type is DType.F32 or DType.F16 or DType.BF16))
        {
            OnnxAdapter.Write(path, [tensor], cancellation: TestContext.Current.CancellationToken);
            Assert.Equal((tensor.Name, null), (tensor.Name, RuntimeRefuses(path)));
        }
    }

    [Fact]
    public void Names_that_could_not_be_read_again_and_types_that_ONNX_lacks_are_not_written()
    {
        string path = Path.Combine(_folder, "refused.onnx_adapter");
        Tensor one = Filled("a", DType.F32, new Shape(1));
        foreach (Tensor[] wrong in new Tensor[][] { [one, one], [Filled("", DType.F32, new Shape(1))], [Filled(new('x', 2000), DType.F32, new Shape(1))], [Filled("q", DType.Q8_0, new Shape(32))] })
            Assert.Contains(path, Assert.Throws<ArgumentException>(() => OnnxAdapter.Write(path, wrong)).Message);
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData("small", 700)]
    [InlineData("types", 1200)]
    [InlineData("no-parameters", 300)]
    [InlineData("llama-f32", 1500)]
    public void A_damaged_file_is_refused_by_name_or_read_within_its_bytes(string name, int mutations)
    {
        byte[] sound = File.ReadAllBytes(SharedFolder.Require($"fixtures/onnx_adapter/{name}.onnx_adapter"));
        Random random = new(name.Length);
        string path = Path.Combine(_folder, "damaged.onnx_adapter");
        int refused = 0, tried = 0;
        for (int length = 0; length < sound.Length; length += 1 + sound.Length / 400)
            Try(sound[..length]);
        // A cut file has lost bytes that something leads to.
        Assert.Equal(tried, refused);
        for (int i = 0; i < mutations; i++)
        {
            byte[] bytes = [.. sound];
            // The structure lies in few places; most of a file is numbers.
            int reach = i % 2 == 0 ? Math.Min(bytes.Length, 400) : bytes.Length;
            for (int change = random.Next(1, 4); change > 0; change--)
                if (random.Next(2) == 0)
                    bytes[random.Next(reach)] = (byte)random.Next(256);
                else
                    BitConverter.TryWriteBytes(bytes.AsSpan(random.Next(reach / 4) * 4), random.Next(8) switch { 0 => 0u, 1 => 1u, 2 => uint.MaxValue, 3 => 0x80000000, 4 => 0x7FFFFFFFu, 5 => (uint)sound.Length, 6 => (uint)-random.Next(sound.Length), _ => (uint)random.Next(sound.Length) });
            Try(bytes);
        }
        Assert.InRange(refused, tried / 4, tried);

        void Try(byte[] bytes)
        {
            tried++;
            File.WriteAllBytes(path, bytes);
            try
            {
                using (OnnxAdapter file = OnnxAdapter.Read(path))
                    Assert.All(file.File.Tensors.Values, t => Assert.Equal(t.ByteLength, t.Bytes.Length));
                OnnxLowRank.Read(path).Dispose();
            }
            catch (ModelFileException e)
            {
                refused++;
                Assert.StartsWith(path, e.Message);
            }
        }
    }

    [Fact]
    public void Faults_are_named_by_parameter()
    {
        string path = Path.Combine(_folder, "faults.onnx_adapter");
        OnnxAdapter.Write(path, [Filled("one", DType.F32, new Shape(2, 3)), Filled("two", DType.F32, new Shape(5))], cancellation: TestContext.Current.CancellationToken);
        byte[] sound = File.ReadAllBytes(path);
        int dims = Find(sound, 2, 3);
        Check(b => BitConverter.TryWriteBytes(b.AsSpan(dims), -2L), "one: dims: [-2, 3] is no shape");
        Check(b => BitConverter.TryWriteBytes(b.AsSpan(dims), long.MaxValue), "one: dims: [9223372036854775807, 3] is no shape");
        Check(b => BitConverter.TryWriteBytes(b.AsSpan(dims), 4L), "one: raw_data: F32 [4, 3] does not fit 24 bytes");
        Check(b => b[4] = (byte)'X', "identifier: expected \"TORT\" at byte 4");
        Check(b => b[24] = 2, "format_version: expected 1, found 2");
        Check(b => b[0] = 255, "Adapter: the table: expected 4 bytes at offset 255, but the file ends at byte ");

        void Check(Action<byte[]> damage, string fault)
        {
            byte[] bytes = [.. sound];
            damage(bytes);
            File.WriteAllBytes(path, bytes);
            Assert.Contains(fault, Assert.Throws<ModelFileException>(() => OnnxAdapter.Read(path)).Message);
        }
    }

    private static string? RuntimeRefuses(string path)
    {
        try
        {
            OrtLoraAdapter.Create(path, null).Dispose();
            return null;
        }
        catch (OnnxRuntimeException e)
        {
            return e.Message;
        }
    }

    // Where two int64s stand one after the other.
    private static int Find(byte[] bytes, long first, long second) =>
        Enumerable.Range(0, bytes.Length / 4 - 3).Select(i => 4 * i).First(i => BitConverter.ToInt64(bytes, i) == first && BitConverter.ToInt64(bytes, i + 8) == second);

    private static Tensor Filled(string name, DType type, Shape shape)
    {
        ArrayStorage storage = new((int)type.Bytes(shape.Elements));
        s_random.NextBytes(storage.Writable);
        if (type == DType.Bool)
            foreach (ref byte b in storage.Writable)
                b &= 1;
        return new(name, type, shape, storage);
    }

    private static void AssertSame(TensorFile expected, TensorFile found)
    {
        Assert.Equal(expected.Tensors.Count, found.Tensors.Count);
        foreach (Tensor tensor in expected.Tensors.Values)
        {
            Tensor other = found.Tensors[tensor.Name];
            Assert.Equal((tensor.Type, tensor.Shape), (other.Type, other.Shape));
            Assert.True(tensor.Bytes.SequenceEqual(other.Bytes), $"{tensor.Name}: other bytes");
        }
    }
}
