using System.Buffers.Binary;
using System.IO.Compression;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Fuzz;

/// <summary>model.safetensors beside a config.json: a base.</summary>
internal sealed class SafetensorsFuzz : FuzzFormat
{
    public override string Name => "safetensors";

    public override string FileName => "model.safetensors";

    public override IReadOnlyList<string> Tokens => ["\"dtype\":\"F8_E4M3\"", "\"BF16\"", "\"I64\"", "\"shape\":[]", "\"data_offsets\":[0,0]", "__metadata__", "model.embed_tokens.weight", "18446744073709551615", "\\ud800", "\\u0000"];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/safetensors/*.safetensors", "quants/*/*.safetensors"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return TinyBase.Bytes(FileName, TinyBase.Write);
        yield return SafetensorsBytes("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[8,10]},"__metadata__":{"format":"pt"}}""", new byte[10]);
    }

    public override void Prepare(string folder) => File.WriteAllText(Path.Combine(folder, "config.json"), TinyBase.Config);

    public override void Open(string folder)
    {
        BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
        using DecoderModel model = DecoderModel.Load(checkpoint, new ReferenceBackend());
    }

    public override byte[]? Repair(byte[] input) => RepairHeader(input);

    internal static byte[] SafetensorsBytes(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header), file = new byte[8 + json.Length + data.Length];
        BinaryPrimitives.WriteInt64LittleEndian(file, json.Length);
        json.CopyTo(file, 8);
        data.CopyTo(file, 8 + json.Length);
        return file;
    }

    // The header ends where its braces close.
    internal static byte[]? RepairHeader(byte[] input)
    {
        if (input.Length < 10)
            return null;
        int depth = 0;
        bool text = false;
        for (int i = 8; i < input.Length; i++)
        {
            if (text)
            {
                if (input[i] == '\\')
                    i++;
                else if (input[i] == '"')
                    text = false;
                continue;
            }
            if (input[i] == '"')
                text = true;
            else if (input[i] == '{')
                depth++;
            else if (input[i] == '}' && --depth == 0)
            {
                byte[] repaired = [.. input];
                BinaryPrimitives.WriteInt64LittleEndian(repaired, i - 7);
                return repaired;
            }
        }
        return null;
    }
}

/// <summary>model.safetensors.index.json beside two shards.</summary>
internal sealed class SafetensorsIndexFuzz : FuzzFormat
{
    public override string Name => "safetensors-index";

    public override string FileName => "model.safetensors.index.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens => ["\"weight_map\":{", "\"metadata\":{\"total_size\":8}", "shard-1.safetensors", "shard-2.safetensors", "../", "/etc/passwd", "model.safetensors", "\\u0000", "CON"];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/index/*/model.safetensors.index.json"];

    public override IEnumerable<byte[]> Seeds() => [Encoding.UTF8.GetBytes("""{"metadata":{"total_size":12},"weight_map":{"a":"shard-1.safetensors","b":"shard-2.safetensors"}}""")];

    public override void Prepare(string folder)
    {
        File.WriteAllBytes(Path.Combine(folder, "shard-1.safetensors"), SafetensorsFuzz.SafetensorsBytes("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", new byte[8]));
        File.WriteAllBytes(Path.Combine(folder, "shard-2.safetensors"), SafetensorsFuzz.SafetensorsBytes("""{"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}""", new byte[4]));
    }

    public override void Open(string folder) => Safetensors.Open(folder).Dispose();
}

/// <summary>config.json beside the weights that it describes.</summary>
internal sealed class ConfigFuzz : FuzzFormat
{
    public override string Name => "config";

    public override string FileName => "config.json";

    public override bool IsText => true;

    public override IReadOnlyList<string> Tokens =>
    [
        "\"model_type\":\"qwen2\"", "\"gpt2\"", "\"mixtral\"", "\"gemma3_text\"", "\"bert\"", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}", "\"llama3\"", "\"dynamic\"", "\"longrope\"", "\"sliding_window\":4",
        "\"layer_types\":[\"full_attention\"]", "\"num_hidden_layers\":", "\"hidden_size\":", "\"vocab_size\":", "\"head_dim\":", "\"num_experts\":8", "\"attention_bias\":true", "\"rope_theta\":1e308", "\"eos_token_id\":[1,2]",
        "\"quantization_config\":{\"quant_method\":\"gptq\"}", "\"auto_map\"", "2147483647", "1048576",
    ];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/config/*.json", "models/*/config.json"];

    public override IEnumerable<byte[]> Seeds() => [Encoding.UTF8.GetBytes(TinyBase.Config)];

    public override void Prepare(string folder)
    {
        TinyBase.Write(folder);
        File.Delete(Path.Combine(folder, FileName));
    }

    public override void Open(string folder)
    {
        BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
        using DecoderModel model = DecoderModel.Load(checkpoint, new ReferenceBackend());
    }
}

/// <summary>A GGUF base.</summary>
internal sealed class GgufFuzz : FuzzFormat
{
    public override string Name => "gguf";

    public override string FileName => "model.gguf";

    public override IReadOnlyList<string> Tokens => ["general.alignment", "general.architecture", "llama.block_count", "llama.rope.scaling.type", "qwen2", "gpt2", "split.count", "token_embd.weight", "blk.0.attn_q.weight", "tokenizer.ggml.model"];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/gguf/*.gguf", "gguf/meta/*.gguf"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return TinyBase.Bytes("m.gguf", f => RandomModel.WriteGguf(Path.Combine(f, "m.gguf"), TinyBase.Shape, DType.Q8_0));
        yield return TinyBase.Bytes("m.gguf", f => RandomModel.WriteGguf(Path.Combine(f, "m.gguf"), TinyBase.Shape, DType.F16));
        yield return TinyBase.Bytes("m.gguf", f => GgufFile.Write(Path.Combine(f, "m.gguf"), new Dictionary<string, object>
        {
            ["general.architecture"] = "llama",
            ["u8"] = (byte)1,
            ["i16"] = (short)-1,
            ["f64"] = 1.5,
            ["yes"] = true,
            ["list"] = new[] { 1, 2, 3 },
            ["texts"] = new[] { "a", "b" },
        }, []));
    }

    public override void Open(string folder)
    {
        string path = Path.Combine(folder, FileName);
        GgufFile.Open(path).Dispose();
        BaseCheckpoint checkpoint = BaseCheckpoint.Open(path);
        using DecoderModel model = DecoderModel.Load(checkpoint, new ReferenceBackend());
    }
}

/// <summary>A torch zip: adapter_model.bin of a PEFT folder.</summary>
internal sealed class TorchFuzz : FuzzFormat
{
    public override string Name => "torch";

    public override string FileName => PeftAdapter.BinaryName;

    public override IReadOnlyList<string> Tokens => ["ctorch._utils\n_rebuild_tensor_v2\n", "ctorch\nHalfStorage\n", "ctorch\nBFloat16Storage\n", "cposix\nsystem\n", "ccollections\nOrderedDict\n)R", "storage", "archive/data.pkl", "\u0080\u0002}", "\u0080\u0004\u0095", "q\u0000", "h\u0000", "tRQ."];

    public override IReadOnlyList<string> SharedSeeds => ["malformed/pickle/*/adapter_model.bin"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Zip([("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [1, 32], 0), ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", [32, 1], 32)], 64);
        yield return Zip([("a", [2, 2], 0)], 4);
    }

    public override void Prepare(string folder)
    {
        TinyBase.WriteAdapter(folder);
        File.Delete(Path.Combine(folder, PeftAdapter.WeightsName));
        string config = Path.Combine(folder, "adapter_config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"v_proj\"", "\"q_proj\""));
    }

    public override void Open(string folder)
    {
        TorchPickle.Open(Path.Combine(folder, FileName)).Dispose();
        LoraAdapter.Load(folder, "fuzz", TinyBase.Sites).Dispose();
    }

    // Every stored entry's CRC, in the directory.
    public override byte[]? Repair(byte[] input)
    {
        byte[]? repaired = null;
        for (int at = 0; at + 46 <= input.Length; at++)
        {
            ReadOnlySpan<byte> entry = input.AsSpan(at);
            if (BinaryPrimitives.ReadUInt32LittleEndian(entry) != 0x02014b50)
                continue;
            long length = BinaryPrimitives.ReadUInt32LittleEndian(entry[20..]), local = BinaryPrimitives.ReadUInt32LittleEndian(entry[42..]);
            if (local + 30 > input.Length)
                continue;
            long start = local + 30 + BinaryPrimitives.ReadUInt16LittleEndian(input.AsSpan((int)local + 26)) + BinaryPrimitives.ReadUInt16LittleEndian(input.AsSpan((int)local + 28));
            if (start + length > input.Length)
                continue;
            repaired ??= [.. input];
            BinaryPrimitives.WriteUInt32LittleEndian(repaired.AsSpan(at + 16), System.IO.Hashing.Crc32.HashToUInt32(input.AsSpan((int)start, (int)length)));
        }
        return repaired;
    }

    private static byte[] Zip((string Name, int[] Shape, int Offset)[] tensors, int elements)
    {
        using MemoryStream file = new();
        using (ZipArchive zip = new(file, ZipArchiveMode.Create, leaveOpen: true))
        {
            Put("archive/data.pkl", Pickle(tensors, elements));
            Put("archive/byteorder", "little"u8.ToArray());
            Put("archive/data/0", new byte[elements * 4]);

            void Put(string name, byte[] bytes)
            {
                using Stream stream = zip.CreateEntry(name, CompressionLevel.NoCompression).Open();
                stream.Write(bytes);
            }
        }
        return file.ToArray();
    }

    private static byte[] Pickle((string Name, int[] Shape, int Offset)[] tensors, int elements)
    {
        using MemoryStream pickle = new();
        using BinaryWriter writer = new(pickle);
        Code("\u0080\u0002}");
        foreach ((string name, int[] shape, int offset) in tensors)
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
            Tuple([shape[1], 1]);
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
}

/// <summary>A llama2.c checkpoint.</summary>
internal sealed class Llama2cFuzz : FuzzFormat
{
    public override string Name => "llama2c";

    public override string FileName => "model.bin";

    public override IEnumerable<byte[]> Seeds() => [Version0(), Header(1), Header(2)];

    public override void Open(string folder)
    {
        using Llama2c file = Llama2c.Open(Path.Combine(folder, FileName));
        using TensorFile tensors = file.ToTensorFile();
    }

    // Sizes 8, 8, 1, 2, 1, 4, 4 and as many zeros as they ask for.
    private static byte[] Version0() => [.. Sizes(), .. new byte[4 * (4 * 8 + 8 + 8 * 8 * 2 + 8 * 4 * 2 + 8 + 8 * 8 * 3 + 8 + 2 * 4 * 2)]];

    private static byte[] Header(int version)
    {
        byte[] header = new byte[256];
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0x616B3432);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), version);
        Sizes().CopyTo(header, 8);
        header[36] = 1;
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(37), 8);
        return [.. header, .. new byte[4096]];
    }

    private static byte[] Sizes()
    {
        byte[] sizes = new byte[28];
        int[] numbers = [8, 8, 1, 2, 1, 4, 4];
        for (int i = 0; i < 7; i++)
            BinaryPrimitives.WriteInt32LittleEndian(sizes.AsSpan(4 * i), numbers[i]);
        return sizes;
    }
}

/// <summary>llama2.c's tokenizer.bin.</summary>
internal sealed class Llama2cVocabularyFuzz : FuzzFormat
{
    public override string Name => "llama2c-vocabulary";

    public override string FileName => "tokenizer.bin";

    public override IEnumerable<byte[]> Seeds()
    {
        List<byte> file = [.. BitConverter.GetBytes(6)];
        foreach (string piece in (string[])["<unk>", "\n<s>\n", "\n</s>\n", "a", "b", "ab", "<0x41>"])
            file.AddRange([.. BitConverter.GetBytes(-1f), .. BitConverter.GetBytes(piece.Length), .. Encoding.UTF8.GetBytes(piece)]);
        yield return [.. file];
    }

    public override void Open(string folder) => Llama2cVocabulary.Read(Path.Combine(folder, FileName));
}
