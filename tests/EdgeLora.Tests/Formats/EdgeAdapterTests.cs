using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using EdgeLora.Core;
using MessagePack;
using Xunit;

namespace EdgeLora.Tests.Formats;

public sealed class EdgeAdapterTests : IDisposable
{
    private static readonly string Print = new('a', 32);

    private static readonly EdgeAdapterHeader Header = new()
    {
        Name = "alice",
        ParentFingerprint = Print,
        BaseFingerprint = Print,
        Rank = 8,
        Alpha = 16.5,
        Targets = ["q_proj", "v_proj"],
        ConfigJson = """{"peft_type":"LORA","note":"ü"}""",
        Metadata = new Dictionary<string, string> { ["format"] = "pt" },
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-elora-").FullName;

    private string PathOfFile => Path.Combine(_folder, "adapter.elora");

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void Nothing_is_lost_on_the_way_to_disk_and_back()
    {
        Tensor[] tensors =
        [
            Tensor.FromFloats("z.lora_A", new Shape(2, 3), [1, 2, 3, 4, 5, 6]),
            new("a.quantised", DType.Q8_0, new Shape(2, 32), Random(68)),
            new("a.flag", DType.Bool, new Shape(3), Random(3)),
            Tensor.FromFloats("none", new Shape(0, 7), []),
            Tensor.FromFloats("scalar", new Shape(), [7]),
        ];
        EdgeAdapter.Write(PathOfFile, Header, tensors);
        using EdgeAdapter adapter = EdgeAdapter.Read(PathOfFile);
        Assert.Equal(Header with { Targets = [], Metadata = Header.Metadata }, adapter.Header with { Targets = [], Metadata = Header.Metadata });
        Assert.Equal(Header.Targets, adapter.Header.Targets);
        Assert.Equal(Header.Metadata, adapter.File.Metadata);
        Assert.Equal(tensors.Select(t => t.Name), adapter.File.Tensors.Keys);
        Assert.Equal(Fingerprint.Of(tensors), Fingerprint.Of(adapter.File));
    }

    [Fact]
    public void The_same_adapter_gives_the_same_bytes()
    {
        Tensor[] tensors = [Tensor.FromFloats("w", new Shape(5), [1, 2, 3, 4, 5])];
        EdgeAdapter.Write(PathOfFile, Header, tensors);
        byte[] first = File.ReadAllBytes(PathOfFile);
        EdgeAdapter.Write(PathOfFile, Header, tensors);
        Assert.Equal(first, File.ReadAllBytes(PathOfFile));
    }

    [Fact]
    public void An_adapter_may_hold_no_tensor()
    {
        EdgeAdapter.Write(PathOfFile, Header, []);
        using EdgeAdapter adapter = EdgeAdapter.Read(PathOfFile);
        Assert.Empty(adapter.File.Tensors);
    }

    [Fact]
    public void Every_flipped_byte_and_every_cut_is_noticed()
    {
        EdgeAdapter.Write(PathOfFile, Header, [Tensor.FromFloats("w", new Shape(5), [1, 2, 3, 4, 5]), Tensor.FromFloats("v", new Shape(1), [9])]);
        byte[] good = File.ReadAllBytes(PathOfFile);
        string broken = Path.Combine(_folder, "broken.elora");
        for (int i = 0; i < good.Length; i++)
        {
            byte[] bytes = [.. good];
            bytes[i] ^= 1;
            File.WriteAllBytes(broken, bytes);
            Assert.Throws<ModelFileException>(() => EdgeAdapter.Read(broken));
            File.WriteAllBytes(broken, good[..i]);
            Assert.Throws<ModelFileException>(() => EdgeAdapter.Read(broken));
        }
        File.WriteAllBytes(broken, [.. good, 0]);
        Assert.Contains("end", Assert.Throws<ModelFileException>(() => EdgeAdapter.Read(broken)).Faults[0]);
    }

    [Fact]
    public void A_damaged_tensor_is_named()
    {
        EdgeAdapter.Write(PathOfFile, Header, [Tensor.FromFloats("layers.0.lora_A", new Shape(1), [1])]);
        byte[] bytes = File.ReadAllBytes(PathOfFile);
        bytes[^1] ^= 1;
        File.WriteAllBytes(PathOfFile, bytes);
        Assert.StartsWith("layers.0.lora_A: the checksum", Assert.Throws<ModelFileException>(() => EdgeAdapter.Read(PathOfFile)).Faults[0]);
        EdgeAdapter.Read(PathOfFile, verify: false).Dispose();
    }

    [Fact]
    public void Opening_without_verifying_copies_no_tensor()
    {
        EdgeAdapter.Write(PathOfFile, Header, [Tensor.FromFloats("w", new Shape(1 << 20), new float[1 << 20])]);
        EdgeAdapter.Read(PathOfFile).Dispose();
        long before = GC.GetAllocatedBytesForCurrentThread();
        EdgeAdapter.Read(PathOfFile).Dispose();
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 64 << 10);
    }

    [Fact]
    public void The_writer_refuses_what_the_reader_would()
    {
        Tensor w = Tensor.FromFloats("w", new Shape(1), [1]);
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header with { Name = "../evil" }, [w]));
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header with { Alpha = double.NaN }, [w]));
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header with { Rank = -1 }, [w]));
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header with { ConfigJson = "[]" }, [w]));
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header with { BaseFingerprint = "short" }, [w]));
        Assert.Throws<ArgumentException>(() => EdgeAdapter.Write(PathOfFile, Header, [w, w]));
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [Theory]
    [InlineData("version", 2, "version: expected 1")]
    [InlineData("rank", -1, "rank")]
    [InlineData("rank", 1 << 20, "rank")]
    [InlineData("rank", "8", "rank")]
    [InlineData("alpha", double.PositiveInfinity, "alpha")]
    [InlineData("alpha", "1", "alpha")]
    [InlineData("name", 7, "name")]
    [InlineData("name", "a/b", "name")]
    [InlineData("parent", "ABC", "parent")]
    [InlineData("config", "{", "config")]
    [InlineData("config", "3", "config")]
    [InlineData("config", """{"r":1,"r":2}""", "config")]
    [InlineData("surprise", 1, "surprise")]
    public void A_wrong_value_is_refused_by_its_key(string key, object value, string word)
    {
        ArrayBufferWriter<byte> body = new();
        MessagePackWriter writer = new(body);
        writer.WriteMapHeader(key == "version" ? 1 : 2);
        writer.Write("version");
        if (key != "version")
        {
            writer.Write(1);
            writer.Write(key);
        }
        switch (value)
        {
            case int number:
                writer.Write(number);
                break;
            case double number:
                writer.Write(number);
                break;
            default:
                writer.Write((string)value);
                break;
        }
        writer.Flush();
        Wrap(PathOfFile, body.WrittenSpan);
        Assert.Contains(Assert.Throws<ModelFileException>(() => EdgeAdapter.Read(PathOfFile)).Faults, f => f.Contains(word, StringComparison.Ordinal));
    }

    /// <summary>A file whose header is <paramref name="body"/>, with everything around it right and no tensor data.</summary>
    internal static void Wrap(string path, ReadOnlySpan<byte> body)
    {
        byte[] bytes = new byte[(32 + body.Length + 63) / 64 * 64];
        "EdgeLoRA"u8.CopyTo(bytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), body.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), XxHash64.HashToUInt64(body));
        body.CopyTo(bytes.AsSpan(32));
        File.WriteAllBytes(path, bytes);
    }

    private static ArrayStorage Random(int bytes)
    {
        ArrayStorage storage = new(bytes);
        new Random(bytes).NextBytes(storage.Writable);
        return storage;
    }
}
