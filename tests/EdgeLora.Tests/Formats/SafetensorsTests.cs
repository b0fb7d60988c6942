using System.Buffers.Binary;
using System.Text;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class SafetensorsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-safetensors-").FullName;

    public static TheoryData<string> ModelFolders => new(SharedFolder.Folders("fixtures/models"));

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory(SkipTestWithoutData = true), MemberData(nameof(ModelFolders))]
    public void Every_model_folder_opens(string name)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require("fixtures/models/" + name));
        Assert.NotEmpty(file.Tensors);
        if (!name.EndsWith("-cls", StringComparison.Ordinal))
            HfConfig.Read(SharedFolder.Require("fixtures/models/" + name)).ValidateDecoder(weights: file);
    }

    [Fact]
    public void A_write_that_is_cancelled_between_two_tensors_leaves_nothing()
    {
        using CancellationTokenSource cancel = new();
        Tensor one = Tensor.FromFloats("a", new Shape(2), [1, 2]);
        Tensor cancels = new("b", DType.F32, new Shape(2), new ComputedStorage(8, () =>
        {
            cancel.Cancel();
            return Tensor.FromFloats("b", new Shape(2), [3, 4]);
        }));
        string path = Path.Combine(_folder, "cancelled.safetensors");
        Assert.Throws<OperationCanceledException>(() => Safetensors.Write(path, [one, cancels, one.View("c", one.Shape)], null, cancel.Token));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
        Safetensors.Write(path, [one, cancels]);
        using TensorFile file = Safetensors.Open(path);
        Assert.Equal([3f, 4f], file.Tensors["b"].ToFloats());
    }

    [Fact]
    public void A_computed_tensor_of_another_size_than_announced_is_refused() =>
        Assert.Contains("8 were announced", Assert.Throws<InvalidOperationException>(() =>
            new Tensor("b", DType.F32, new Shape(2), new ComputedStorage(8, () => Tensor.FromFloats("b", new Shape(3), [1, 2, 3]))).ToFloats()).Message);

    [Fact]
    public void Every_adapter_folder_opens()
    {
        string root = SharedFolder.Require("fixtures/peft");
        foreach (string path in Directory.GetFiles(root, "*.safetensors", SearchOption.AllDirectories))
            Safetensors.Open(path).Dispose();
    }

    [Fact]
    public void Shards_hold_what_the_whole_file_holds()
    {
        using TensorFile shards = Safetensors.Open(SharedFolder.Require("fixtures/models/llama-sharded"));
        string whole = Path.Combine(_folder, "model.safetensors");
        Safetensors.Write(whole, shards.Tensors.Values);
        using TensorFile one = Safetensors.Open(whole);
        Assert.Equal(Fingerprint.Of(shards), Fingerprint.Of(one));
    }

    // Expected bytes: the reference library's own files, written by fixtures/scripts (safetensors.torch.save_file).
    [Fact]
    public void Writing_repeats_the_reference_librarys_bytes()
    {
        string path = SharedFolder.Require("fixtures/models/llama-bf16/model.safetensors"), copy = Path.Combine(_folder, "copy.safetensors");
        using TensorFile file = Safetensors.Open(path);
        Safetensors.Write(copy, file.Tensors.Values, file.Metadata);
        Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(copy));
    }

    [Fact]
    public void Every_type_makes_the_round_trip()
    {
        List<Tensor> tensors = [];
        foreach (DType type in Enum.GetValues<DType>().Where(IsPlain))
        {
            ArrayStorage storage = new((int)type.Bytes(24));
            new Random((int)type).NextBytes(storage.Writable);
            tensors.Add(new Tensor($"w.{type}", type, new Shape(3, 8), storage));
        }
        tensors.Add(Tensor.FromFloats("a scalar", new Shape(), [1.5f]));
        tensors.Add(Tensor.FromFloats("nothing é \"quoted\" 😀", new Shape(0, 3), []));
        string path = Path.Combine(_folder, "all.safetensors");
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["format"] = "pt", ["note"] = "ü\n" });
        using TensorFile file = Safetensors.Open(path);
        Assert.Equal(tensors.Count, file.Tensors.Count);
        Assert.Equal("ü\n", file.Metadata["note"]);
        foreach (Tensor expected in tensors)
        {
            Tensor found = file.Tensors[expected.Name];
            Assert.Equal((expected.Type, expected.Shape), (found.Type, found.Shape));
            Assert.True(expected.Bytes.SequenceEqual(found.Bytes), expected.Name);
        }
        Assert.Equal(Fingerprint.Of(tensors), Fingerprint.Of(file));
    }

    [Fact]
    public void Opening_copies_no_tensor()
    {
        string path = Path.Combine(_folder, "large.safetensors");
        Safetensors.Write(path, [Tensor.FromFloats("w", new Shape(1024, 1024), new float[1 << 20])]);
        Safetensors.Open(path).Dispose();
        long before = GC.GetAllocatedBytesForCurrentThread();
        using TensorFile file = Safetensors.Open(path);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 64 << 10);
    }

    [Fact]
    public void All_faults_of_a_file_are_named_at_once()
    {
        string path = WriteRaw("""{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]},"c":{"dtype":"F32","shape":[2],"data_offsets":[8,99]}}""", 8);
        ModelFileException e = Assert.Throws<ModelFileException>(() => Safetensors.Open(path));
        Assert.Equal(3, e.Faults.Count);
        Assert.Contains("F31", e.Message);
        Assert.Contains("found -1", e.Message);
        Assert.Contains("c: ends at byte 99", e.Message);
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}""", "z")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,8]}}""", "a: shape")]
    [InlineData("""{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}""", "a: shape")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\ud800":1}""", "header")]
    [InlineData("""{"__metadata__":{"x":"1","x":"2"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "__metadata__.x")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}""", "header")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x""", "header")]
    public void Headers_that_lie_are_refused(string header, string word)
    {
        string path = WriteRaw(header, 8);
        Assert.Contains(word, string.Join("\n", Assert.Throws<ModelFileException>(() => Safetensors.Open(path)).Faults));
    }

    [Fact]
    public void No_flipped_byte_and_no_cut_does_more_than_refuse()
    {
        string path = Path.Combine(_folder, "good.safetensors"), broken = Path.Combine(_folder, "broken.safetensors");
        Safetensors.Write(path, [Tensor.FromFloats("a", new Shape(2), [1, 2]), Tensor.FromFloats("b", new Shape(1, 3), [1, 2, 3])], new Dictionary<string, string> { ["x"] = "y" });
        byte[] good = File.ReadAllBytes(path);
        for (int i = 0; i < good.Length; i++)
        {
            File.WriteAllBytes(broken, good[..i]);
            Assert.Throws<ModelFileException>(() => Safetensors.Open(broken));
            foreach (byte mask in (byte[])[1, 2, 128, 255])
            {
                byte[] bytes = [.. good];
                bytes[i] ^= mask;
                File.WriteAllBytes(broken, bytes);
                try
                {
                    Safetensors.Open(broken).Dispose();
                }
                catch (ModelFileException)
                {
                }
            }
        }
    }

    [Fact]
    public void A_missing_file_is_refused_by_name() =>
        Assert.Contains("absent.safetensors", Assert.Throws<ModelFileException>(() => Safetensors.Open(Path.Combine(_folder, "absent.safetensors"))).Message);

    [Theory]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}""", "b: is in no shard; the index puts it in 1.safetensors")]
    [InlineData("""{"weight_map":{"a":"1.safetensors"}}""", null)]
    [InlineData("""{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}""", "a")]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"}}""", "c: is in no shard")]
    [InlineData("""{"weight_map":{"b":"2.safetensors","a":"3.safetensors"}}""", "a: is in 3.safetensors and in another shard|b: is in")]
    [InlineData("""{"weight_map":{"a":"NUL.safetensors"}}""", "device")]
    [InlineData("""{"weight_map":{"a":"x/1.safetensors"}}""", "x/1.safetensors")]
    public void An_index_must_say_what_its_shards_hold(string json, string? word)
    {
        Tensor a = Tensor.FromFloats("a", new Shape(1), [1]), b = Tensor.FromFloats("b", new Shape(1), [2]);
        Safetensors.Write(Path.Combine(_folder, "1.safetensors"), [a]);
        Safetensors.Write(Path.Combine(_folder, "2.safetensors"), [b]);
        Safetensors.Write(Path.Combine(_folder, "3.safetensors"), [a, b]);
        File.WriteAllText(Path.Combine(_folder, "model.safetensors.index.json"), json);
        if (word is null)
            Safetensors.Open(_folder).Dispose();
        else
            Assert.Contains(word.Split('|'), w => Assert.Throws<ModelFileException>(() => Safetensors.Open(_folder)).Message.Contains(w, StringComparison.Ordinal));
    }

    [Fact]
    public void A_failed_write_leaves_the_old_file_and_no_other()
    {
        string path = Path.Combine(_folder, "kept.txt");
        AtomicFile.WriteText(path, "old");
        Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(path, s =>
        {
            s.WriteByte(1);
            throw new InvalidOperationException();
        }));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(_folder));
    }

    [Fact]
    public void A_fingerprint_tells_names_types_shapes_and_bytes_apart()
    {
        string[] prints =
        [
            Fingerprint.Of([Tensor.FromFloats("a", new Shape(2), [1, 2])]),
            Fingerprint.Of([Tensor.FromFloats("b", new Shape(2), [1, 2])]),
            Fingerprint.Of([Tensor.FromFloats("a", new Shape(1, 2), [1, 2])]),
            Fingerprint.Of([Tensor.FromFloats("a", new Shape(2), [1, 3])]),
            Fingerprint.Of([]),
        ];
        Assert.Equal(prints.Length, prints.Distinct().Count());
        Assert.All(prints, p => Assert.True(Fingerprint.IsValid(p)));
    }

    private static bool IsPlain(DType type) => type <= DType.C64;

    private string WriteRaw(string header, int dataBytes)
    {
        string path = Path.Combine(_folder, "raw.safetensors");
        byte[] json = Encoding.UTF8.GetBytes(header), bytes = new byte[8 + json.Length + dataBytes];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
