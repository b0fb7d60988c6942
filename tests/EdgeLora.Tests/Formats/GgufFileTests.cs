using System.Text.Json;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Reference data: fixtures/gguf, made by fixtures/scripts/gguf_files.py; fixtures/malformed by malformed.py.</summary>
public sealed class GgufFileTests : IDisposable
{
    private const string Meta = "fixtures/gguf/meta/";
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-gguf-").FullName;

    public static TheoryData<string> MetaFiles => new(MetaCases().Select(c => c.GetProperty("file").GetString()!));

    public static TheoryData<string> BrokenFiles => MalformedCases.Files("gguf");

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory(SkipTestWithoutData = true), MemberData(nameof(BrokenFiles))]
    public void Broken_files_are_refused_by_name(string file)
    {
        string path = MalformedCases.PathOf(file);
        MalformedCases.Judge(MalformedCases.Find("gguf", file), path, Path.GetFileName(file), () =>
        {
            using GgufFile opened = GgufFile.Open(path);
            if (file.Contains("architecture", StringComparison.Ordinal))
                Assert.NotEmpty(opened.Architecture);
            opened.ToTensorFile().Tensors.Values.Sum(t => t.Bytes.Length);
        });
    }

    [Theory(SkipTestWithoutData = true), MemberData(nameof(MetaFiles))]
    public void Metadata_and_tensors_are_those_of_the_reference(string file)
    {
        JsonElement row = MetaCases().Single(c => c.GetProperty("file").GetString() == file);
        string path = SharedFolder.Require("fixtures/gguf/" + file);
        GgufFile opened;
        try
        {
            opened = GgufFile.Open(path);
        }
        catch (ModelFileException e) when (row.GetProperty("must").GetString() != "accept")
        {
            Assert.Contains(row.GetProperty("keyword").GetString()!, e.Message, StringComparison.Ordinal);
            return;
        }
        using (opened)
        {
            Assert.NotEqual("refuse", row.GetProperty("must").GetString());
            Assert.Equal(file.Contains("big_endian", StringComparison.Ordinal), opened.BigEndian);
            Assert.Equal(file.Contains("v2", StringComparison.Ordinal) ? 2u : 3u, opened.Version);
            if (row.TryGetProperty("metadata", out JsonElement metadata))
            {
                Assert.Equal(metadata.EnumerateObject().Select(p => p.Name), opened.Metadata.Keys);
                foreach (JsonProperty expected in metadata.EnumerateObject())
                    AssertValue(TypeNumber(expected.Value.GetProperty("type").GetString()!), expected.Value.GetProperty("value"), opened.Metadata[expected.Name]);
            }
            using TensorFile tensors = Safetensors.Open(SharedFolder.Require(Meta + "expected_tensors.safetensors"));
            foreach (GgufTensorInfo info in opened.TensorInfos)
                if (tensors.Tensors.TryGetValue(info.Name, out Tensor? expected))
                    AssertSame(expected, opened.Tensor(info.Name));
        }
    }

    [Fact]
    public void Every_type_of_value_and_tensor_makes_the_round_trip()
    {
        Dictionary<string, object> metadata = new()
        {
            ["general.architecture"] = "test",
            ["u8"] = (byte)255,
            ["i8"] = (sbyte)-1,
            ["u16"] = ushort.MaxValue,
            ["i16"] = short.MinValue,
            ["u32"] = uint.MaxValue,
            ["i32"] = int.MinValue,
            ["u64"] = ulong.MaxValue,
            ["i64"] = long.MinValue,
            ["f32"] = 1.5f,
            ["f64"] = -2.5e-300,
            ["yes"] = true,
            ["no"] = false,
            ["empty"] = "",
            ["text"] = "é 😀\0",
            ["a.u8"] = new byte[] { 1, 255 },
            ["a.i8"] = new sbyte[] { -1 },
            ["a.u16"] = new ushort[] { 7 },
            ["a.i16"] = new short[] { -7 },
            ["a.u32"] = new uint[] { 1, 2 },
            ["a.i32"] = new[] { -1 },
            ["a.u64"] = new[] { ulong.MaxValue },
            ["a.i64"] = new long[] { -5 },
            ["a.f32"] = new[] { 0.5f },
            ["a.f64"] = new[] { 1e300 },
            ["a.bool"] = new[] { true, false },
            ["a.text"] = new[] { "a", "", "ü" },
            ["a.none"] = Array.Empty<string>(),
            ["a.nested"] = new object[] { new[] { 1, 2 }, Array.Empty<int>(), new object[] { new[] { "x" } } },
        };
        List<Tensor> tensors = [];
        foreach (DType type in Enum.GetValues<DType>().Where(t => GgufTensorType.Of(t) is not null))
        {
            ArrayStorage storage = new((int)type.Bytes(3 * 256));
            new Random((int)type).NextBytes(storage.Writable);
            tensors.Add(new("t." + type, type, new Shape(3, 256), storage));
        }
        tensors.Add(Tensor.FromFloats("scalar", new Shape(), [1.5f]));
        tensors.Add(Tensor.FromFloats("four", new Shape(1, 2, 1, 3), [1, 2, 3, 4, 5, 6]));
        string path = Path.Combine(_folder, "all.gguf");
        GgufFile.Write(path, metadata, tensors);
        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(metadata, file.Metadata);
        Assert.All(metadata, p => Assert.Equal(p.Value.GetType(), file.Metadata[p.Key].GetType()));
        Assert.Equal(tensors.Select(t => t.Name), file.TensorInfos.Select(t => t.Name));
        foreach (Tensor expected in tensors)
            AssertSame(expected, file.Tensor(expected.Name));
        Assert.Single(Directory.GetFiles(_folder));
    }

    [Fact]
    public void A_refused_write_leaves_the_old_file()
    {
        string path = Path.Combine(_folder, "old.gguf");
        GgufFile.Write(path, [], []);
        byte[] old = File.ReadAllBytes(path);
        Assert.Throws<ArgumentException>(() => GgufFile.Write(path, [new("k", DateTime.MinValue)], []));
        Assert.Throws<ArgumentException>(() => GgufFile.Write(path, [], [new("b", DType.Bool, new Shape(1), new ArrayStorage(1))]));
        Assert.Equal(old, File.ReadAllBytes(path));
        Assert.Single(Directory.GetFiles(_folder));
    }

    [Fact]
    public void A_wrong_type_names_file_key_expected_and_found()
    {
        string path = Path.Combine(_folder, "typed.gguf");
        GgufFile.Write(path, new Dictionary<string, object> { ["a.text"] = "four", ["a.number"] = 4u, ["a.list"] = new[] { 1, 2 } }, []);
        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(4, file.GetInt("a.number"));
        Assert.Equal(4.0, file.GetFloat("a.number"));
        Assert.Equal([1L, 2L], file.GetInts("a.list"));
        Assert.Equal(9, file.GetInt("a.absent", 9));
        foreach (Action wrong in new Action[] { () => file.GetInt("a.text"), () => file.GetString("a.number"), () => file.GetStrings("a.list"), () => file.GetFloats("a.text"), () => file.GetBool("a.absent") })
        {
            string message = Assert.Throws<ModelFileException>(wrong).Message;
            Assert.Contains("typed.gguf", message, StringComparison.Ordinal);
            Assert.Contains("'a.", message, StringComparison.Ordinal);
            Assert.Contains("expected", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Tensors_of_types_that_are_not_read_are_listed_and_refused_when_asked_for()
    {
        string path = Path.Combine(_folder, "odd.gguf");
        RetypedGguf.Write(SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf"), path, ("blk.1.ffn_down.weight", 42), ("blk.0.attn_k.weight", 42));
        using GgufFile file = GgufFile.Open(path);
        Assert.True(file.TryGetInfo("blk.1.ffn_down.weight", out GgufTensorInfo? info));
        Assert.Equal(("Q2_0", new Shape(64, 256), 64L * 4 * 18), (info.TypeName, info.Shape, info.ByteLength));
        Assert.Equal(DType.F32, file.Tensor("blk.0.attn_q.weight").Type);
        string one = Assert.Throws<ModelFileException>(() => file.Tensor("blk.1.ffn_down.weight")).Message;
        Assert.Contains("odd.gguf", one, StringComparison.Ordinal);
        Assert.Contains("blk.1.ffn_down.weight", one, StringComparison.Ordinal);
        Assert.Contains("Q2_0", one, StringComparison.Ordinal);
        IReadOnlyList<string> all = Assert.Throws<ModelFileException>(() => file.ToTensorFile()).Faults;
        Assert.Equal(2, all.Count);
    }

    [Fact]
    public void Tensors_of_every_quantised_type_are_views_of_the_file()
    {
        using GgufFile file = GgufFile.Open(SharedFolder.Require("fixtures/gguf/llama/llama-mixed.gguf"));
        (string Part, DType Type)[] expected =
            [("0.attn_q", DType.Q4_0), ("0.attn_k", DType.Q5_1), ("0.attn_output", DType.Q5_0), ("0.ffn_gate", DType.Q4_1), ("0.ffn_up", DType.MXFP4), ("0.ffn_down", DType.Q6_K), ("1.ffn_down", DType.Q4_K)];
        foreach ((string part, DType type) in expected)
        {
            Tensor tensor = file.Tensor($"blk.{part}.weight");
            Assert.Equal((type, true), (tensor.Type, tensor.IsMapped));
        }
    }

    [Fact]
    public void A_row_that_is_no_whole_blocks_is_named_with_its_type()
    {
        string path = Path.Combine(_folder, "cut.gguf");
        RetypedGguf.Write(SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf"), path, ("blk.0.attn_q.weight", 12));
        string message = Assert.Throws<ModelFileException>(() => GgufFile.Open(path).Dispose()).Message;
        foreach (string part in new[] { "cut.gguf", "blk.0.attn_q.weight", "rows of 64", "Q4_K", "256" })
            Assert.Contains(part, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Blocks_of_a_big_endian_file_are_read_where_their_order_is_known_and_else_refused()
    {
        string source = SharedFolder.Require("fixtures/gguf/llama/llama-F32-big-endian.gguf"), path = Path.Combine(_folder, "big.gguf");
        RetypedGguf.Write(source, path, ("blk.1.ffn_down.weight", 14), ("blk.0.attn_k.weight", 7));
        using GgufFile whole = GgufFile.Open(source), file = GgufFile.Open(path);
        Tensor found = file.Tensor("blk.1.ffn_down.weight");
        byte[] expected = whole.Tensor(found.Name).Bytes[..(int)found.ByteLength].ToArray();
        // Back to the file's bytes; then a block's only number of two bytes, its last ones.
        for (int i = 0; i < expected.Length; i += 4)
            expected.AsSpan(i, 4).Reverse();
        for (int i = 208; i < expected.Length; i += 210)
            expected.AsSpan(i, 2).Reverse();
        Assert.Equal(DType.Q6_K, found.Type);
        Assert.Equal(expected, found.Bytes.ToArray());
        string message = Assert.Throws<ModelFileException>(() => file.Tensor("blk.0.attn_k.weight")).Message;
        foreach (string part in new[] { "big.gguf", "blk.0.attn_k.weight", "Q5_1", "big-endian" })
            Assert.Contains(part, message, StringComparison.Ordinal);
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void A_split_model_equals_the_whole_one_from_whichever_piece(int piece)
    {
        using GgufFile whole = GgufFile.Open(SharedFolder.Require("fixtures/gguf/llama/llama-F16.gguf"));
        using GgufFile split = GgufFile.Open(SharedFolder.Require($"fixtures/gguf/split/llama-F16-0000{piece}-of-00003.gguf"));
        Assert.Equal(3, split.Pieces);
        Assert.Equal(whole.TensorInfos.Select(t => t.Name), split.TensorInfos.Select(t => t.Name));
        foreach (GgufTensorInfo info in whole.TensorInfos)
            AssertSame(whole.Tensor(info.Name), split.Tensor(info.Name));
        Assert.Equal(whole.Metadata, split.Metadata.Where(p => !p.Key.StartsWith("split.", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_split_model_with_a_fault_between_its_pieces_is_refused()
    {
        string Piece(int number) => Path.Combine(_folder, $"m-0000{number}-of-00002.gguf");
        void Put(int number, int no, int tensors, params string[] names) => GgufFile.Write(Piece(number), [new("split.no", (ushort)no), new("split.count", (ushort)2), new("split.tensors.count", tensors)],
            [.. names.Select(n => Tensor.FromFloats(n, new Shape(1), [1]))]);
        void Refused(string keyword) => Assert.Contains(keyword, Assert.Throws<ModelFileException>(() => GgufFile.Open(Piece(1)).Dispose()).Message, StringComparison.Ordinal);
        Put(1, 0, 2, "a");
        Refused("m-00002-of-00002.gguf");
        Put(2, 0, 2, "b");
        Refused("split.no");
        Put(2, 1, 2, "a");
        Refused("'a'");
        Put(2, 1, 2, "b", "c");
        Refused("split.tensors.count");
        Put(2, 1, 2, "b");
        GgufFile.Open(Piece(2)).Dispose();
        File.Move(Piece(1), Path.Combine(_folder, "renamed.gguf"));
        Assert.Contains("split.count", Assert.Throws<ModelFileException>(() => GgufFile.Open(Path.Combine(_folder, "renamed.gguf")).Dispose()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_big_endian_file_holds_the_same_numbers()
    {
        using GgufFile little = GgufFile.Open(SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf")), big = GgufFile.Open(SharedFolder.Require("fixtures/gguf/llama/llama-F32-big-endian.gguf"));
        Assert.True(big.BigEndian);
        foreach (GgufTensorInfo info in little.TensorInfos)
            AssertSame(little.Tensor(info.Name), big.Tensor(info.Name));
    }

    [Fact]
    public void Every_file_cut_anywhere_in_its_header_is_refused_and_any_flipped_byte_is_survived()
    {
        string path = Path.Combine(_folder, "cut.gguf");
        GgufFile.Write(path, new Dictionary<string, object> { ["general.architecture"] = "test", ["list"] = new[] { "a", "bc" }, ["deep"] = new object[] { new[] { 1 } } },
            [Tensor.FromFloats("w", new Shape(2, 4), new float[8]), Tensor.FromFloats("v", new Shape(3), new float[3])]);
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length - 20; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Throws<ModelFileException>(() => GgufFile.Open(path).Dispose());
        }
        Random random = new(7);
        for (int i = 0; i < 3000; i++)
        {
            byte[] broken = [.. whole];
            for (int flips = random.Next(1, 4); flips > 0; flips--)
                broken[random.Next(4, broken.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, broken);
            try
            {
                using GgufFile file = GgufFile.Open(path);
                file.ToTensorFile();
            }
            catch (ModelFileException)
            {
            }
        }
    }

    [Fact]
    public void Opening_copies_no_tensor()
    {
        string path = Path.Combine(_folder, "large.gguf");
        GgufFile.Write(path, [], [Tensor.FromFloats("w", new Shape(1024, 1024), new float[1 << 20])]);
        GgufFile.Open(path).Dispose();
        long before = GC.GetAllocatedBytesForCurrentThread();
        using GgufFile file = GgufFile.Open(path);
        Assert.Equal(1 << 20, file.Tensor("w").Floats.Length);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 64 << 10);
    }

    private static void AssertSame(Tensor expected, Tensor found)
    {
        Assert.Equal((expected.Name, expected.Type, expected.Shape), (found.Name, found.Type, found.Shape));
        Assert.True(expected.Bytes.SequenceEqual(found.Bytes), expected.Name);
    }

    private static int TypeNumber(string name) =>
        Array.IndexOf(["UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "BOOL", "STRING", "ARRAY", "UINT64", "INT64", "FLOAT64"], name);

    private static void AssertValue(int type, JsonElement expected, object found)
    {
        object value = type switch
        {
            0 => expected.GetByte(),
            1 => expected.GetSByte(),
            2 => expected.GetUInt16(),
            3 => expected.GetInt16(),
            4 => expected.GetUInt32(),
            5 => expected.GetInt32(),
            6 => expected.GetSingle(),
            7 => expected.GetBoolean(),
            8 => expected.GetString()!,
            10 => expected.GetUInt64(),
            11 => expected.GetInt64(),
            12 => expected.GetDouble(),
            _ => found,
        };
        Assert.Equal(value, found);
        if (type != 9)
            return;
        Array list = Assert.IsType<Array>(found, exactMatch: false);
        Assert.Equal(expected[1].GetArrayLength(), list.Length);
        for (int i = 0; i < list.Length; i++)
            AssertValue(expected[0].GetInt32(), expected[1][i], list.GetValue(i)!);
    }

    private static List<JsonElement> MetaCases()
    {
        string path = Path.Combine(SharedFolder.Repository, "..", "shared", Meta, "cases.json");
        return File.Exists(path) ? [.. JsonDocument.Parse(File.ReadAllBytes(path)).RootElement.EnumerateArray()] : [];
    }
}
