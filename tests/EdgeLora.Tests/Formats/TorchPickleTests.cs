using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class TorchPickleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-pickle-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    // The reference is torch itself: fixtures/scripts wrote the adapter once as .bin; its tensors are those of a LoRA on q and v.
    [Fact]
    public void An_adapter_that_torch_saved_opens_without_a_copy()
    {
        string path = SharedFolder.Require("fixtures/peft/llama-bin/adapter_model.bin");
        TorchPickle.Open(path).Dispose();
        long before = GC.GetAllocatedBytesForCurrentThread();
        using TensorFile file = TorchPickle.Open(path);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 4 * new FileInfo(path).Length);
        Assert.All(file.Tensors.Values, t => Assert.Equal(DType.F32, t.Type));
        Assert.All(file.Tensors.Values, t => Assert.All(t.ToFloats(), v => Assert.True(float.IsFinite(v))));
        Assert.Contains(file.Tensors.Keys, n => n.EndsWith("lora_A.weight", StringComparison.Ordinal));
    }

    // Golden: fixtures/scripts/peft_adapters.py saved q_proj as PEFT sees it with this adapter: W + (alpha / r)·B·A, alpha 8, r 4.
    [Fact]
    public void The_numbers_are_those_that_torch_saved()
    {
        const string Site = "model.layers.0.self_attn.q_proj";
        using TensorFile adapter = TorchPickle.Open(SharedFolder.Require("fixtures/peft/llama-bin/adapter_model.bin"));
        using TensorFile basis = Safetensors.Open(SharedFolder.Require("fixtures/peft/bases/llama"));
        using TensorFile golden = Safetensors.Open(SharedFolder.Require("fixtures/peft/llama-bin/expected.safetensors"));
        float[] w = basis.Tensors[Site + ".weight"].ToFloats(), expected = golden.Tensors[$"effective.{Site}.weight"].ToFloats();
        float[] a = adapter.Tensors[$"base_model.model.{Site}.lora_A.weight"].ToFloats(), b = adapter.Tensors[$"base_model.model.{Site}.lora_B.weight"].ToFloats();
        int columns = a.Length / 4;
        for (int i = 0; i < w.Length; i++)
        {
            double delta = 0;
            for (int r = 0; r < 4; r++)
                delta += (double)b[i / columns * 4 + r] * a[r * columns + i % columns];
            Assert.Equal(expected[i], w[i] + 2 * delta, 1e-5);
        }
    }

    [Fact]
    public void Published_checkpoints_open()
    {
        string root = SharedFolder.Require("data/lora-adapters");
        string[] files = [.. Directory.GetFiles(root, "*.bin", SearchOption.AllDirectories), .. Directory.GetFiles(root, "*.pt", SearchOption.AllDirectories)];
        List<string> refused = [];
        foreach (string path in files)
        {
            try
            {
                using TensorFile file = TorchPickle.Open(path);
                Assert.NotEmpty(file.Tensors);
            }
            catch (ModelFileException e)
            {
                refused.Add(e.Message);
            }
        }
        Assert.True(refused.Count == 0, string.Join("\n", refused));
    }

    [Fact]
    public void Views_of_one_storage_share_it()
    {
        using TensorFile file = TorchPickle.Open(Write(Dictionary(("a", 8, [2, 4], 0, [4, 1]), ("row", 8, [4], 4, [1]), ("one", 8, [1, 1], 7, [99, 99]), ("none", 8, [0, 4], 8, [4, 1]))));
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], file.Tensors["a"].Floats);
        Assert.Equal([4, 5, 6, 7], file.Tensors["row"].Floats);
        Assert.Equal([7], file.Tensors["one"].Floats);
        Assert.Equal(0, file.Tensors["none"].ByteLength);
    }

    [Fact]
    public void A_transposed_tensor_is_gathered()
    {
        using TensorFile file = TorchPickle.Open(Write(Dictionary(("t", 8, [4, 2], 0, [1, 4]), ("column", 8, [2], 1, [4]))));
        Assert.Equal([0, 4, 1, 5, 2, 6, 3, 7], file.Tensors["t"].Floats);
        Assert.Equal([1, 5], file.Tensors["column"].Floats);
    }

    [Theory]
    [InlineData(8, new[] { 2, 4 }, 1, new[] { 4, 1 })]
    [InlineData(8, new[] { 3, 3 }, 0, new[] { 1, 1 })]
    [InlineData(8, new[] { 9 }, 0, new[] { 0 })]
    [InlineData(8, new[] { 2, 4 }, 0, new[] { -4, 1 })]
    [InlineData(8, new[] { 2, 4 }, 0, new[] { 1 })]
    [InlineData(8, new[] { 0 }, 9, new[] { 1 })]
    [InlineData(7, new[] { 7 }, 0, new[] { 1 })]
    [InlineData(8, new[] { int.MaxValue, int.MaxValue, int.MaxValue }, 0, new[] { 1, 1, 1 })]
    public void A_view_that_leaves_or_repeats_its_storage_is_refused_by_name(int elements, int[] shape, int offset, int[] strides)
    {
        string path = Write(Dictionary(("layer.lora_A", elements, shape, offset, strides)));
        Assert.StartsWith("layer.lora_A: ", Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Faults[0]);
    }

    [Fact]
    public void Transposed_tensors_together_are_bounded_by_the_file()
    {
        string path = Write(Dictionary([.. Enumerable.Range(0, 2000).Select(i => ($"w{i}", 8, new[] { 4, 2 }, 0, new[] { 1, 4 }))]), new float[8], 8);
        using TensorFile many = TorchPickle.Open(path);
        path = Write(Dictionary([.. Enumerable.Range(0, 60).Select(i => ($"w{i}", 1 << 16, new[] { 256, 256 }, 0, new[] { 1, 256 }))]), new float[1 << 16], 1 << 16);
        Assert.Contains("twice the file", Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Message);
    }

    [Theory]
    [InlineData("cos\nsystem\n(X\u0001\0\0\0xtR.", "os.system")]
    [InlineData("cbuiltins\nexec\n.", "builtins.exec")]
    [InlineData("ctorch\nload\n.", "torch.load")]
    [InlineData("ctorch._utils\n_rebuild_parameter\n.", "_rebuild_parameter")]
    [InlineData("ctorch\nFloatStorage\n)R.", "nothing was run")]
    [InlineData("ccollections\nOrderedDict\n)\u0081.", "opcode 0x81")]
    [InlineData("(I1\nI2\ntR.", "pickle")]
    [InlineData("}}}s.", "pickle")]
    [InlineData("}X\u0001\0\0\0aK\u0001s.", "a holds a number")]
    [InlineData("}K\u0001K\u0001s.", "a key is a number")]
    [InlineData("}K\u0001.", "pickle")]
    [InlineData("(.", "pickle")]
    [InlineData("]2a.", "pickle")]
    [InlineData("}q\u00002X\u0001\0\0\0ah\0s.", "pickle")]
    [InlineData("\u0080\u0009N.", "protocol")]
    [InlineData("X\u00FF\u00FF\u00FF\u007Fabc.", "pickle")]
    [InlineData("csomething without an end", "pickle")]
    public void Whatever_a_pickle_asks_for_nothing_is_run(string latin, string word)
    {
        string path = Write(Encoding.Latin1.GetBytes(latin));
        Assert.Contains(word, Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Message);
    }

    [Fact]
    public void Marks_nest_only_so_deep()
    {
        string path = Write(Encoding.Latin1.GetBytes(new string('(', 60_000) + new string('t', 60_000) + "."));
        Assert.Contains("nests deeper", Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Message);
    }

    [Fact]
    public void A_pickle_cannot_make_more_than_its_budget()
    {
        string path = Write(Encoding.Latin1.GetBytes(new string(']', 4_000_000) + "."));
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("more than", Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Message);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 64 << 20);
    }

    [Fact]
    public void A_compressed_archive_is_refused()
    {
        string path = Write(Dictionary(("a", 8, [8], 0, [1])), level: CompressionLevel.Optimal);
        Assert.Contains("compress", Assert.Throws<ModelFileException>(() => TorchPickle.Open(path)).Message);
    }

    [Fact]
    public void Every_cut_of_an_archive_is_refused()
    {
        byte[] good = File.ReadAllBytes(Write(Dictionary(("a", 8, [8], 0, [1]))));
        string path = Path.Combine(_folder, "cut.bin");
        for (int i = 0; i < good.Length; i++)
        {
            File.WriteAllBytes(path, good[..i]);
            Assert.Throws<ModelFileException>(() => TorchPickle.Open(path));
        }
    }

    [Fact]
    public void No_flipped_byte_does_more_than_refuse()
    {
        byte[] good = File.ReadAllBytes(Write(Dictionary(("a", 8, [2, 4], 0, [4, 1]), ("t", 8, [4, 2], 0, [1, 4]))));
        string path = Path.Combine(_folder, "flipped.bin");
        for (int i = 0; i < good.Length; i++)
            foreach (byte mask in (byte[])[1, 128, 255])
            {
                byte[] bytes = [.. good];
                bytes[i] ^= mask;
                File.WriteAllBytes(path, bytes);
                try
                {
                    TorchPickle.Open(path).Dispose();
                }
                catch (ModelFileException)
                {
                }
            }
    }

    private static byte[] Dictionary(params (string Name, int Elements, int[] Shape, int Offset, int[] Strides)[] tensors)
    {
        MemoryStream pickle = new();
        BinaryWriter writer = new(pickle);
        Code("\u0080\u0002}");
        foreach ((string name, int elements, int[] shape, int offset, int[] strides) in tensors)
        {
            Text(name);
            Code("ctorch._utils\n_rebuild_tensor_v2\n((");
            Text("storage");
            Code("ctorch\nFloatStorage\n");
            Text("0");
            Text("cpu");
            Number(elements);
            Code("tQ");
            Number(offset);
            Tuple(shape);
            Tuple(strides);
            Code("\u0089ccollections\nOrderedDict\n)RtRs");
        }
        Code(".");
        return pickle.ToArray();

        void Code(string latin) => writer.Write(Encoding.Latin1.GetBytes(latin));

        void Number(int number)
        {
            Code("J");
            writer.Write(number);
        }

        void Text(string text)
        {
            Code("X");
            writer.Write(Encoding.UTF8.GetByteCount(text));
            writer.Write(Encoding.UTF8.GetBytes(text));
        }

        void Tuple(int[] numbers)
        {
            Code("(");
            foreach (int n in numbers)
                Number(n);
            Code("t");
        }
    }

    private string Write(byte[] pickle, float[]? storage = null, int elements = 8, CompressionLevel level = CompressionLevel.NoCompression)
    {
        storage ??= [.. Enumerable.Range(0, elements).Select(i => (float)i)];
        string path = Path.Combine(_folder, Guid.NewGuid().ToString("N") + ".bin");
        using ZipArchive zip = ZipFile.Open(path, ZipArchiveMode.Create);
        Put("archive/data.pkl", pickle);
        Put("archive/byteorder", "little"u8);
        Put("archive/data/0", MemoryMarshal.AsBytes(storage.AsSpan()));
        return path;

        void Put(string name, ReadOnlySpan<byte> bytes)
        {
            using Stream stream = zip.CreateEntry(name, level).Open();
            stream.Write(bytes);
        }
    }
}
